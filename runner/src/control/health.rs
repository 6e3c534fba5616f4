//! What the machine lets this process do: CPU spent, CPU stolen by the host, descriptors open. Read from `/proc`, and
//! absent figures are zero (another system than Linux): health informs the verdict, it never stops a run.
//! Start at [`Meter::sample`].

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Figures of the time between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// CPU that this process used, in percent of one CPU; above 100 where several threads ran.
    pub(super) cpu_percent: f64,
    /// CPU that the host withheld from this machine, in percent of all its CPUs.
    pub(super) steal_percent: f64,
    /// Descriptors open at this moment.
    pub(super) open_files: u64,
}

/// The shortest time that says anything about CPU: the machine's totals are counted in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(900);

/// Remembers the last sample and its totals.
#[derive(Debug)]
pub(super) struct Meter {
    at: Instant,
    cpu: Duration,
    machine: Machine,
    last: Sample,
}

/// The machine's totals, in its own unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Machine {
    steal: u64,
    total: u64,
}

impl Meter {
    /// Starts measuring now.
    pub(super) fn start() -> Self {
        Self { at: Instant::now(), cpu: own_cpu(), machine: machine(), last: Sample::default() }
    }

    /// The figures since the last sample, or since the start; the last ones again if that was a moment ago.
    pub(super) fn sample(&mut self) -> Sample {
        if SHORTEST <= self.at.elapsed() {
            let before = std::mem::replace(self, Self::start());
            let elapsed = self.at.duration_since(before.at).as_secs_f64();
            let cpu = self.cpu.saturating_sub(before.cpu).as_secs_f64();
            self.last.cpu_percent = cpu / elapsed * 100.0;
            self.last.steal_percent = steal_percent(before.machine, self.machine);
            self.last.open_files = open_files();
        }
        self.last
    }
}

fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

fn machine() -> Machine {
    fs::read_to_string("/proc/stat").ok().and_then(|stat| parse_stat(&stat)).unwrap_or_default()
}

/// The first line holds user, nice, system, idle, iowait, irq, softirq, steal; guest time is inside user.
fn parse_stat(stat: &str) -> Option<Machine> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let times: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    Some(Machine { steal: *times.get(7)?, total: times.iter().sum() })
}

fn steal_percent(last: Machine, now: Machine) -> f64 {
    let total = now.total.saturating_sub(last.total);
    if total == 0 { 0.0 } else { now.steal.saturating_sub(last.steal) as f64 / total as f64 * 100.0 }
}

/// Since Linux 6.2 the folder's size is the count; before, its entries are counted, less the one that counts them.
fn open_files() -> u64 {
    let size = fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
    if 0 < size {
        return size;
    }
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_share_of_all_time_between_two_samples() {
        let first = parse_stat("cpu  100 0 50 800 40 5 5 0 0 0\ncpu0 1 2 3\n").unwrap();
        let second = parse_stat("cpu  150 0 60 850 40 5 5 90 7 0\n").unwrap();
        assert!((steal_percent(first, second) - 45.0).abs() < 1e-9);
        assert!(steal_percent(second, second).abs() < 1e-9);
        assert!(parse_stat("cpu  1 2 3\n").is_none() && parse_stat("").is_none());
    }

    #[test]
    fn a_busy_thread_is_seen_once_there_is_enough_of_it() {
        let mut meter = Meter::start();
        assert_eq!(meter.sample(), Sample::default(), "nothing is said about a moment");
        let busy = Instant::now();
        while busy.elapsed() < SHORTEST || own_cpu().saturating_sub(meter.cpu) < Duration::from_millis(20) {
            assert!(busy.elapsed() < Duration::from_secs(20), "no CPU time passes");
        }
        let sample = meter.sample();
        assert!(0.0 < sample.cpu_percent && 0 < sample.open_files, "{sample:?}");
        assert_eq!(meter.sample(), sample, "and again a moment later");
    }
}
