//! Which local port a new connection gets. Never opens one.
//!
//! Left alone, the kernel looks for a free port through half of its range before it tries the other half: once a target
//! has fourteen thousand connections from this machine, each further one costs milliseconds. So every socket is told a
//! few neighbouring ports to choose from, and the next socket the next few.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net;

use crate::ffi;

/// Ports that one socket chooses from: enough that a few taken ones don't matter, few enough to be looked through.
const WINDOW: u16 = 8;

/// Windows to try before the kernel may look through all of its range.
const TRIES: usize = 4;

/// Goes round and round through the range that the kernel takes local ports from.
#[derive(Debug)]
pub(super) struct Ports {
    /// `None`: the kernel does not tell, and chooses alone.
    range: Option<RangeInclusive<u16>>,
    next: u16,
}

impl Ports {
    /// This machine's range, begun at another place in every process.
    pub(super) fn of_this_machine() -> Self {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Self::new(parse(&text), std::process::id())
    }

    fn new(range: Option<RangeInclusive<u16>>, seed: u32) -> Self {
        let range = range.filter(|range| WINDOW <= range.len() as u16);
        let next = range.as_ref().map_or(0, |range| {
            let windows = range.len() as u32 / u32::from(WINDOW);
            // Process ids that follow one another begin far from one another.
            range.start() + (seed.wrapping_mul(0x9e37_79b9) >> 8).rem_euclid(windows) as u16 * WINDOW
        });
        Self { range, next }
    }

    /// Begins to connect `socket`, as `connect(2)`.
    pub(super) fn connect(&mut self, socket: &OwnedFd, address: &SocketAddr) -> Result<(), Errno> {
        for _ in 0..TRIES {
            let Some(window) = self.window() else { break };
            if !ffi::limit_local_ports(socket, *window.start(), *window.end()) {
                // An older kernel: it chooses alone, from now on.
                self.range = None;
                break;
            }
            match net::connect(socket, address) {
                Err(Errno::ADDRNOTAVAIL) => {}
                outcome => return outcome,
            }
        }
        ffi::limit_local_ports(socket, 0, 0);
        net::connect(socket, address)
    }

    /// The ports for the next socket.
    fn window(&mut self) -> Option<RangeInclusive<u16>> {
        let range = self.range.as_ref()?;
        let first = self.next;
        let last = first.saturating_add(WINDOW - 1).min(*range.end());
        self.next = if last < *range.end() { last + 1 } else { *range.start() };
        Some(first..=last)
    }
}

/// Two numbers with white space between them.
fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    Some(first.parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    #[test]
    fn a_round_of_windows_holds_every_port_once() {
        let mut ports = Ports::new(Some(1000..=1029), 7);
        let round: Vec<u16> = (0..4).flat_map(|_| ports.window().unwrap()).collect();
        assert_eq!(round.len(), 30);
        assert_eq!(round.iter().copied().collect::<HashSet<_>>(), (1000..=1029).collect());
        let again: Vec<u16> = (0..4).flat_map(|_| ports.window().unwrap()).collect();
        assert_eq!(again, round);
    }

    #[test]
    fn a_range_that_nobody_can_read_leaves_it_to_the_kernel() {
        assert_eq!(parse("32768\t60999\n"), Some(32768..=60999));
        for unreadable in ["", "32768", "a b", "1 70000", "60999 32768"] {
            assert_eq!(Ports::new(parse(unreadable), 1).window(), None, "{unreadable}");
        }
    }

    #[test]
    fn connections_beyond_a_full_window_go_to_the_next_ones_and_then_anywhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Two windows, somewhere in the kernel's range.
        let mut ports = Ports::of_this_machine();
        let first = ports.window().unwrap();
        ports = Ports::new(Some(*first.start()..=first.start() + 15), 0);
        let mut sockets = Vec::new();
        let mut local = Vec::new();
        for _ in 0..20 {
            let flags = SocketFlags::CLOEXEC;
            let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
            ports.connect(&socket, &address).unwrap();
            local.push(SocketAddr::try_from(net::getsockname(&socket).unwrap()).unwrap().port());
            sockets.push(socket);
        }
        assert_eq!(local.iter().copied().collect::<HashSet<_>>().len(), 20);
        // Whoever listens on one of them takes it away.
        let inside = local.iter().filter(|port| (*first.start()..=first.start() + 15).contains(port)).count();
        assert!((8..=16).contains(&inside), "{local:?}");
    }
}
