//! The crate's one corner of `unsafe`: what the operating system offers and the libraries do not wrap safely.
//! Each function says why it is sound, and hands out a safe value. Never holds any logic.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use memmap2::MmapRaw;
use tokio::io::unix::AsyncFd;

/// A descriptor that tokio watches. To be called where tokio runs.
pub(crate) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and the same for as long as it lives, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)
}

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

/// States in which the peer's FIN or RST has come in (`include/net/tcp_states.h`): `CLOSE`, `CLOSE_WAIT`, `LAST_ACK`, `CLOSING`.
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

/// What handles a signal in this process, as a number to compare: an address, or the default (0) or ignoring (1). `None`
/// where it is no signal.
pub(crate) fn signal_handler(signal: i32) -> Option<usize> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, as no new action is given; the present one is written to `action`, which is that large.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: plain numbers, zeroed before the system wrote to them.
    (result == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
}

/// Sends a signal to a thread of this very process; false where there is no such thread.
pub(crate) fn signal_thread(thread: i32, signal: i32) -> bool {
    // SAFETY: takes numbers only. A thread's number is looked up within this process, so no other is ever meant.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) == 0 }
}

/// The clock of the CPU time that the calling thread has had, for `cpu_time` in any thread.
pub(crate) fn cpu_clock() -> i32 {
    let mut clock = 0;
    // SAFETY: the calling thread exists; the number is written to `clock`. It fails for threads that are gone only.
    unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    clock
}

/// What a thread's clock shows; `None` where there is no such thread any more.
pub(crate) fn cpu_time(clock: i32) -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: takes a number, which the kernel looks up; it writes `time` where it succeeds.
    let result = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    // SAFETY: read where it was written only.
    let time = (result == 0).then(|| unsafe { time.assume_init() })?;
    Some(Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).ok()?))
}

/// Ends the process at once: no handler runs, no lock and no thread is waited for.
#[cfg(feature = "python")]
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: takes a number and does not return; the system frees whatever the process held.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LookupError {
    /// The answer came, and it was that there is no such name, or none with an address.
    pub(crate) no_such_name: bool,
    /// In the system's words.
    pub(crate) text: String,
}

/// The stream addresses of a name, by the system's resolver, which may take as long as it likes.
pub(crate) fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
    let nobody = |text: &str| LookupError { no_such_name: true, text: text.to_owned() };
    let host = CString::new(host).map_err(|_| nobody("a name has no zero byte"))?;
    // SAFETY: plain numbers and null pointers, of which zero is a valid value.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list: *mut libc::addrinfo = std::ptr::null_mut();
    // SAFETY: the name ends with a zero byte, and name and hints outlive the call; `list` is written on success only.
    let code = unsafe { libc::getaddrinfo(host.as_ptr(), std::ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(lookup_error(code));
    }
    let (mut found, mut next) = (Vec::new(), list);
    // SAFETY: each entry of the list is valid until it is freed below; its address is as long as its family says, which is
    // copied unaligned.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ai_next;
        match entry.ai_family {
            libc::AF_INET => {
                // SAFETY: as above.
                let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
                let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                found.push(SocketAddr::new(ip.into(), port));
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
                let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
                found.push(SocketAddrV6::new(ip, port, 0, address.sin6_scope_id).into());
            }
            _ => {}
        }
    }
    // SAFETY: the list came from the system, and nothing of it is used any more.
    unsafe { libc::freeaddrinfo(list) };
    if found.is_empty() { Err(nobody("no address")) } else { Ok(found) }
}

/// Only an answer that there is no such name is about the name; a resolver that is silent, broken or out of memory is this
/// machine's own.
fn lookup_error(code: i32) -> LookupError {
    if code == libc::EAI_SYSTEM {
        return LookupError { no_such_name: false, text: io::Error::last_os_error().to_string() };
    }
    // SAFETY: the text is the library's own, ends with a zero byte and is never changed.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    let no_such_name = [libc::EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY].contains(&code);
    LookupError { no_such_name, text: text.to_string_lossy().into_owned() }
}

/// The name exists, without an address. glibc's number.
const EAI_NODATA: i32 = -5;
/// The name exists, without an address of the families that this machine has. glibc's number.
const EAI_ADDRFAMILY: i32 = -9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_there_is_no_such_name_is_about_the_name() {
        for (code, about_the_name) in [
            (libc::EAI_NONAME, true),
            (EAI_NODATA, true),
            (EAI_ADDRFAMILY, true),
            (libc::EAI_AGAIN, false),
            (libc::EAI_FAIL, false),
            (libc::EAI_MEMORY, false),
            (libc::EAI_SYSTEM, false),
        ] {
            let error = lookup_error(code);
            assert_eq!(error.no_such_name, about_the_name, "{error:?}");
            assert!(!error.text.is_empty());
        }
        assert!(addresses("a\0b", 80).unwrap_err().no_such_name);
    }

    #[test]
    fn a_name_of_this_machine_has_its_addresses() {
        let found = addresses("localhost", 81).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 81), "{found:?}");
    }

    #[test]
    fn a_threads_clock_shows_its_cpu_time_and_no_others() {
        let mine = cpu_time(cpu_clock()).unwrap();
        let others = std::thread::spawn(|| cpu_time(cpu_clock()).unwrap()).join().unwrap();
        let until = std::time::Instant::now() + Duration::from_millis(20);
        while std::time::Instant::now() < until {}
        let later = cpu_time(cpu_clock()).unwrap();
        assert!(mine < later && others < later, "{mine:?} {later:?} {others:?}");
    }

    #[test]
    fn a_signal_that_nobody_handles_has_the_default_handler() {
        assert_eq!(signal_handler(libc::SIGSTKFLT), Some(libc::SIG_DFL));
        assert_eq!(signal_handler(-1), None);
    }
}
