//! Takes note of the end of processes that nobody waits for: what a scenario started and left behind becomes the first
//! process' own, and stays a zombie until then. Leaves the children of [`crate::parent`] to whoever holds them.
//! Start at [`adopt_orphans`].

use std::{fs, io};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::parent::child;

/// From now on orphans below this process become its own, also where it isn't the first one of its container, and their
/// end is taken note of. Needs a tokio runtime, and that all other children of this process are [`child`]'s.
pub(super) fn adopt_orphans() -> io::Result<JoinHandle<()>> {
    let mut ends = signal(SignalKind::child())?;
    set_child_subreaper(Some(getpid()))?;
    Ok(tokio::spawn(async move {
        while ends.recv().await.is_some() {
            for orphan in dead_children(getpid()).into_iter().filter(|pid| !child::is_waited_for(*pid)) {
                // Gone already, perhaps: then there is nothing to take note of.
                let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
            }
        }
    }))
}

/// The zombies whose parent is `parent`. Empty where there is no `/proc`.
fn dead_children(parent: Pid) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            (state_and_parent(&stat)? == ("Z", parent.as_raw_pid())).then_some(pid)
        })
        .collect()
}

/// The name before them is in brackets, and may hold anything.
fn state_and_parent(stat: &str) -> Option<(&str, i32)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_hides_neither_state_nor_parent() {
        assert_eq!(state_and_parent("12 (a) Z 7 (b) S 3) Z 5 12 0\n"), Some(("Z", 5)));
        assert_eq!(state_and_parent("12 (sh) S 1 12 0"), Some(("S", 1)));
        assert_eq!(state_and_parent(""), None);
    }

    #[test]
    fn a_dead_child_is_seen_until_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !dead_children(getpid()).contains(&pid) {
            assert!(std::time::Instant::now() < limit, "it does not end");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!dead_children(getpid()).contains(&pid));
    }
}
