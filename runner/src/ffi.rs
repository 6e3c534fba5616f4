//! The crate's one corner of `unsafe`: what the operating system offers and the libraries do not wrap safely.
//! Each function says why it is sound, and hands out a safe value. Never holds any logic.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::MmapRaw;

/// 64-bit words of a file, shared with every process that maps or reads it. They outlive the process: a page written
/// through a shared mapping is the kernel's, however its writer ended (short of the machine itself).
pub(crate) struct SharedWords {
    map: MmapRaw,
}

impl SharedWords {
    /// Maps the whole of `file`, whose length must be a multiple of eight and above zero.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let map = MmapRaw::map_raw(file)?;
        if map.len() < size_of::<u64>() || !map.len().is_multiple_of(size_of::<u64>()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its length is no whole number of words"));
        }
        Ok(Self { map })
    }

    /// The word at `index`; panics beyond the end.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!((index + 1) * size_of::<u64>() <= self.map.len(), "word {index} lies beyond the mapping");
        #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        // SAFETY: the mapping is page-aligned, so the word is aligned; it lies inside the mapping (checked above),
        // which lives as long as `self`; every access of this process goes through the atomic.
        unsafe {
            AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index))
        }
    }
}

/// What the kernel knows of the other end of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpState {
    /// How many bytes of what was written its kernel has acknowledged.
    pub(crate) acknowledged: u64,
    /// It has closed, or reset, the connection.
    pub(crate) closed_by_peer: bool,
}

/// States in which the peer's FIN or RST has come in (`include/net/tcp_states.h`): CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING.
const CLOSED_BY_PEER: [u8; 4] = [7, 8, 9, 11];

/// How far a TCP connection has got; `None` where the kernel does not tell. Linux counts the handshake as one
/// acknowledged byte, which is taken off.
pub(crate) fn tcp_state(socket: &OwnedFd) -> Option<TcpState> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes at most `length` bytes to `info`,
    // which is that large.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let told = std::mem::offset_of!(libc::tcp_info, tcpi_bytes_acked) + size_of::<u64>();
    if result != 0 || (length as usize) < told {
        return None;
    }
    // SAFETY: plain numbers, zeroed before the kernel wrote to them.
    let info = unsafe { info.assume_init() };
    let acknowledged = info.tcpi_bytes_acked.saturating_sub(1);
    Some(TcpState { acknowledged, closed_by_peer: CLOSED_BY_PEER.contains(&info.tcpi_state) })
}

/// Has a socket take its local port from `first` to `last`; 0 and 0 takes that limit off. False where the kernel does not
/// know the option (before Linux 6.3).
pub(crate) fn limit_local_ports(socket: &OwnedFd, first: u16, last: u16) -> bool {
    const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
    let range = (u32::from(last) << 16) | u32::from(first);
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads the four bytes of `range`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            IP_LOCAL_PORT_RANGE,
            (&raw const range).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    result == 0
}
