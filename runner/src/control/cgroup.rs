//! How long this process' cgroup was kept from the CPU by its limit: from `cpu.stat`, of version 1 or 2. A limit of a
//! cgroup above it is seen by nobody inside. Start at [`Throttle::parse`] and [`candidates`].

use std::path::PathBuf;
use std::time::Duration;

/// Totals since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Throttle {
    /// Periods of the limit in which its CPU time was used up.
    pub(super) periods: u64,
    /// How long its threads waited for the next period, over all CPUs.
    pub(super) time: Duration,
}

impl Throttle {
    /// From the text of a `cpu.stat`; `None` where it says nothing of throttling, as a version 2 group without the
    /// controller does.
    pub(super) fn parse(stat: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
        };
        let time = match (field("throttled_usec"), field("throttled_time")) {
            (Some(microseconds), _) => Duration::from_micros(microseconds),
            (None, nanoseconds) => Duration::from_nanos(nanoseconds?),
        };
        Some(Self { periods: field("nr_throttled")?, time })
    }

    /// What was added since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            periods: self.periods.saturating_sub(before.periods),
            time: self.time.saturating_sub(before.time),
        }
    }
}

/// Where the `cpu.stat` of a process may lie, best first, by the text of its `/proc/self/cgroup`. In a container the path
/// is often the host's, while what is mounted is the container's own group: so the mount itself is tried after it.
pub(super) fn candidates(cgroup: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mounts: &[&str] = match controllers {
            "" => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            some if some.split(',').any(|controller| controller == "cpu") => {
                &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
            }
            _ => continue,
        };
        for mount in mounts {
            let path = path.trim_start_matches('/');
            found.push(PathBuf::from(mount).join(path).join("cpu.stat"));
            found.push(PathBuf::from(mount).join("cpu.stat"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_the_same() {
        let one = Throttle::parse(include_str!("cgroup/v1.stat")).unwrap();
        let two = Throttle::parse(include_str!("cgroup/v2.stat")).unwrap();
        assert_eq!((one.periods, two.periods), (173, 173));
        assert_eq!(
            (one.time, two.time),
            (Duration::from_nanos(9_345_678_901), Duration::from_micros(9_345_678))
        );
        assert_eq!(two.since(one), Throttle::default());
        let later = Throttle { periods: 180, time: two.time + Duration::from_secs(1) };
        assert_eq!(later.since(two), Throttle { periods: 7, time: Duration::from_secs(1) });
    }

    #[test]
    fn a_group_without_a_limit_says_nothing() {
        assert_eq!(Throttle::parse("usage_usec 5\nuser_usec 4\nsystem_usec 1\n"), None);
        assert_eq!(Throttle::parse(""), None);
        assert_eq!(Throttle::parse("nr_throttled many\nthrottled_usec few\n"), None);
    }

    #[test]
    fn the_group_is_looked_for_where_it_is_mounted() {
        let two: Vec<_> = candidates("0::/kubepods.slice/pod1/box\n");
        assert_eq!(two[0], PathBuf::from("/sys/fs/cgroup/kubepods.slice/pod1/box/cpu.stat"));
        assert_eq!(two[1], PathBuf::from("/sys/fs/cgroup/cpu.stat"));
        let one = candidates("9:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:cpuset:/\n");
        assert_eq!(one[0], PathBuf::from("/sys/fs/cgroup/cpu/docker/a/cpu.stat"));
        assert_eq!(one.len(), 4);
        assert!(candidates("nonsense").is_empty());
    }
}
