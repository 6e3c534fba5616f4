//! Which address `/metrics` gets. Start at [`address`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use crate::parent::output::{Output, Stream};

/// Where `/metrics` is served if nothing else is asked for.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8089);

/// A port that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("--metrics-address: failed to listen on {address}: {source}")]
pub(crate) struct Error {
    address: SocketAddr,
    source: io::Error,
}

/// The address that was asked for, or the usual one, or any free port beside it.
pub(crate) fn address(asked: Option<SocketAddr>, output: &Output) -> Result<SocketAddr, Error> {
    let address = asked.unwrap_or(USUAL);
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(source) if asked.is_some() => Err(Error { address, source }),
        Err(_) => {
            output.line(Stream::Err, &format!("aiotest: {address} is taken: /metrics gets a free port"));
            Ok(SocketAddr::new(address.ip(), 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_only_if_nobody_asked_for_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refusal = super::address(Some(address), &Output::captured()).unwrap_err().to_string();
        assert!(
            refusal.starts_with(&format!("--metrics-address: failed to listen on {address}: ")),
            "{refusal}"
        );
        drop(taken);
        assert_eq!(super::address(Some(address), &Output::captured()).unwrap(), address);
    }
}
