//! Binds what an address means. An empty host is every address of the machine, of IPv6 and IPv4 where there are both.
//! Start at [`bind`].

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen, socket_with, sockopt,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listener that never blocks, on `host:port` or `:port`.
pub(super) fn bind(address: &str) -> io::Result<TcpListener> {
    let listener = match address.strip_prefix(':').map(str::parse) {
        Some(Ok(port)) => everywhere(port)?,
        _ => TcpListener::bind(&address.to_socket_addrs()?.collect::<Vec<SocketAddr>>()[..])?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One socket for both families; for IPv4 alone where the machine has no IPv6.
fn everywhere(port: u16) -> io::Result<TcpListener> {
    match both(port) {
        Ok(listener) => Ok(listener),
        // Taken is taken: another family's port would be half a master.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
    }
}

fn both(port: u16) -> io::Result<TcpListener> {
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    // As the standard library does: a restarted master takes its port at once.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_empty_host_is_every_address() {
        let listener = bind(":0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_unspecified() && 0 < address.port(), "{address}");
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
        }
        let taken = bind(&format!(":{}", address.port())).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_that_is_none_is_an_error() {
        for address in [":", ":port", ":65536", "", "127.0.0.1", "localhost:"] {
            assert!(bind(address).is_err(), "{address}");
        }
        assert_eq!(bind("127.0.0.1:0").unwrap().local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
    }
}
