//! When the kernel received what a socket gives, so that a reply's time is its own, however late the engine reads it.
//!
//! The kernel stamps with the time of day, which may be set at any moment; [`Clocks`] brings a stamp to the monotonic
//! clock, or refuses to. Where there is no stamp, bytes arrived when they were read. Start at [`receive`].

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SetSockOpt, recvmsg, sockopt};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

/// A time of day, since 1970.
pub(super) type Stamp = Duration;

/// Readings of both clocks count as made at once if they were made within this: nobody took the CPU in between.
const AT_ONCE: Duration = Duration::from_micros(20);
const ATTEMPTS: usize = 3;
/// What the time of day may run ahead or behind by, as it is kept in step (500 millionths at most), and a bit.
const DRIFT: f64 = 0.001;
const SLACK: Duration = Duration::from_micros(100);

/// Has the kernel stamp what this socket receives; where it knows no stamps there are none.
pub(super) fn ask(socket: &OwnedFd) {
    let _ = sockopt::ReceiveTimestampns.set(socket, &true);
}

/// A socket that has the kernel stamp whatever arrives while it is open.
pub(super) fn keep() -> rustix::io::Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    ask(&socket);
    Ok(socket)
}

/// Room for what the kernel tells beside the bytes: a header of 16 bytes and a time of 16.
#[repr(align(8))]
struct Room([u8; 64]);

/// Reads what there is; 0 bytes at the other side's close. The stamp is that of the last byte.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<(usize, Option<Stamp>), Errno> {
    let mut room = Room([0; 64]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room.0), MsgFlags::empty())
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    let stamp = message.cmsgs().ok().and_then(|mut extras| {
        extras.find_map(|extra| match extra {
            ControlMessageOwned::ScmTimestampns(time) => Some(Stamp::from(time)),
            _ => None,
        })
    });
    Ok((message.bytes, stamp))
}

/// The monotonic clock and the time of day, as they were at one moment.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    read: Option<(Instant, Stamp)>,
    /// Nobody has set the time of day since the reading before.
    steady: bool,
}

impl Clocks {
    /// Reads both. Before stamps are converted: at each turn, as the two don't run at quite the same speed.
    pub(super) fn look(&mut self) {
        for _ in 0..ATTEMPTS {
            let before = Instant::now();
            let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if self.learn(before, day, Instant::now()) {
                return;
            }
        }
        self.steady = false;
    }

    /// A reading of the one between two of the other; false if they were too far apart to tell.
    fn learn(&mut self, before: Instant, day: Stamp, after: Instant) -> bool {
        if AT_ONCE < after - before {
            return false;
        }
        self.steady = self.read.is_some_and(|(then, day_then)| {
            let passed = before - then;
            let expected = day_then + passed;
            expected.abs_diff(day) <= passed.mul_f64(DRIFT) + SLACK
        });
        self.read = Some((before, day));
        true
    }

    /// The instant of a stamp; `None` where it cannot be told.
    pub(super) fn instant(&self, stamp: Stamp) -> Option<Instant> {
        let (instant, day) = self.read.filter(|_| self.steady)?;
        let apart = day.abs_diff(stamp);
        if stamp <= day { instant.checked_sub(apart) } else { instant.checked_add(apart) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread::sleep;

    use super::*;

    const DAY: Stamp = Duration::from_secs(1_800_000_000);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_stamp_is_as_old_on_both_clocks() {
        let start = Instant::now();
        let mut clocks = Clocks::default();
        assert!(clocks.learn(start, DAY, start));
        assert_eq!(clocks.instant(DAY), None, "one reading does not tell whether the day was set");
        assert!(clocks.learn(start + ms(10), DAY + ms(10), start + ms(10)));
        assert_eq!(clocks.instant(DAY + ms(7)), Some(start + ms(7)));
        assert_eq!(clocks.instant(DAY + ms(12)), Some(start + ms(12)), "it came after the reading");
        assert_eq!(clocks.instant(Duration::ZERO).map(drop), start.checked_sub(DAY).map(drop), "no panic");
    }

    #[test]
    fn a_day_that_was_set_tells_nothing_until_it_runs_on() {
        for set_to in [DAY + ms(3_600_000), Duration::from_secs(1_700_000_000), DAY + ms(9)] {
            let start = Instant::now();
            let mut clocks = Clocks::default();
            clocks.learn(start, DAY, start);
            clocks.learn(start + ms(10), DAY + ms(10), start + ms(10));
            clocks.learn(start + ms(20), set_to, start + ms(20));
            assert_eq!(clocks.instant(DAY + ms(19)), None);
            clocks.learn(start + ms(30), set_to + ms(10), start + ms(30));
            assert_eq!(clocks.instant(set_to + ms(9)), Some(start + ms(29)));
        }
    }

    #[test]
    fn a_day_that_is_kept_in_step_is_believed_and_a_slow_reading_is_not() {
        let start = Instant::now();
        let mut clocks = Clocks::default();
        clocks.learn(start, DAY, start);
        let second = start + ms(1000);
        assert!(!clocks.learn(second, DAY + ms(1000), second + ms(5)));
        assert!(clocks.learn(second, DAY + Duration::from_micros(1_000_500), second));
        assert_eq!(clocks.instant(DAY + Duration::from_micros(1_000_500)), Some(second));
    }

    #[test]
    fn bytes_that_are_read_late_have_arrived_when_they_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reader: OwnedFd = listener.accept().unwrap().0.into();
        ask(&reader);
        let mut clocks = Clocks::default();
        clocks.look();
        let mut buffer = [0_u8; 100];
        // The kernel begins to stamp soon after the first socket that asked for it.
        for attempt in 0.. {
            let before = Instant::now();
            writer.write_all(b"a reply").unwrap();
            let after = Instant::now();
            sleep(ms(30));
            clocks.look();
            let (count, stamp) = receive(&reader, &mut buffer).unwrap();
            assert_eq!(count, 7);
            let Some(arrived) = stamp.and_then(|stamp| clocks.instant(stamp)) else {
                assert!(attempt < 20, "the kernel never stamps");
                continue;
            };
            assert!(before <= arrived + SLACK && arrived <= after + ms(10), "{:?}", arrived - before);
            break;
        }
        drop(writer);
        assert_eq!(receive(&reader, &mut buffer).unwrap(), (0, None));
    }
}
