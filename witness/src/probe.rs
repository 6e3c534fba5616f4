//! How punctual the machine is: a thread on each core asks to be woken again and again, and notes when it was late. While
//! it is late, nothing that is due on its core happens either: what a generator or the witness stamps there is the
//! machine's doing. It knows nothing of requests. Start it at a priority that no program it watches has.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::clock::{self, Nanoseconds};

const EVERY: Nanoseconds = 500_000;
/// Below this it is the cost of waking up.
const LATE: Nanoseconds = 100_000;

/// When a core was late, from when it was due to when it came.
#[derive(Debug, Default)]
pub(crate) struct Lapses(Mutex<Vec<(Nanoseconds, Nanoseconds)>>);

impl Lapses {
    /// One line of JSON for each: `[from, to]`.
    pub(crate) fn lines(&self) -> String {
        let lapses = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let line = |(from, to): &(Nanoseconds, Nanoseconds)| serde_json::json!([from, to]).to_string() + "\n";
        lapses.iter().map(line).collect()
    }

    fn note(&self, due: Nanoseconds, came: Nanoseconds) {
        if due + LATE < came {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((due, came));
        }
    }
}

/// Watches every core that this process may use, for ever.
pub(crate) fn start(lapses: &Arc<Lapses>) -> io::Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    for core in (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)) {
        let mut only = CpuSet::new();
        only.set(core)?;
        let lapses = Arc::clone(lapses);
        thread::Builder::new().spawn(move || {
            if sched_setaffinity(Pid::from_raw(0), &only).is_err() {
                return; // the core was taken away
            }
            let mut due = clock::now() + EVERY;
            loop {
                clock::sleep_until(due);
                let came = clock::now();
                lapses.note(due, came);
                due = came + EVERY;
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_late_is_a_lapse() {
        let lapses = Lapses::default();
        lapses.note(0, LATE);
        lapses.note(1_000_000, 1_000_001 + LATE);
        assert_eq!(lapses.lines(), format!("[1000000,{}]\n", 1_000_001 + LATE));
    }
}
