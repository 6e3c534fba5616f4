//! What the machine lets this process do: CPU spent, withheld and waited for, descriptors open. Read from `/proc` and
//! `/sys`, and absent figures are zero (another system than Linux): health informs the verdict, it never stops a run.
//! Every file is opened once, so that a process without a free descriptor is still measured. Start at [`Meter::sample`].

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use aiotest_core::health::Usage;
use aiotest_core::verdict::generator::SATURATED_PERCENT;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::cgroup::{self, Throttle};

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

/// Remembers the last sample and its totals, and what has come together since the load began.
#[derive(Debug)]
pub(super) struct Meter {
    sources: Sources,
    before: Totals,
    last: Sample,
    usage: Usage,
}

/// The files that are read again and again; `None` where there is no such file.
#[derive(Debug)]
struct Sources {
    machine: Option<File>,
    throttle: Option<File>,
    /// Of the interpreter's thread, once it is known which one that is.
    interpreter: Option<File>,
}

/// Everything that only ever grows.
#[derive(Clone, Copy, Debug)]
struct Totals {
    at: Instant,
    cpu: Duration,
    machine: Machine,
    throttle: Throttle,
    interpreter: Scheduled,
}

/// The machine's totals, in its own unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Machine {
    steal: u64,
    total: u64,
}

/// What the scheduler says of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Scheduled {
    ran: Duration,
    /// Ready to run, on a queue for a CPU.
    waited: Duration,
}

impl Meter {
    /// Starts measuring now.
    pub(super) fn start() -> Self {
        let throttle = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
            let of_this = |path| Some(File::open(path).ok()?).filter(|file| throttle(Some(file)).is_some());
            cgroup::candidates(&text).into_iter().find_map(of_this)
        });
        let sources = Sources { machine: File::open("/proc/stat").ok(), throttle, interpreter: None };
        let before = sources.totals();
        Self { sources, before, last: Sample::default(), usage: Usage::default() }
    }

    /// The load begins: what is summed up is summed up from here on. `interpreter` is its thread, where it is known.
    pub(super) fn begin(&mut self, interpreter: Option<i32>) {
        let path = interpreter.map(|thread| format!("/proc/self/task/{thread}/schedstat"));
        self.sources.interpreter = path.and_then(|path| File::open(path).ok());
        self.before = self.sources.totals();
        self.usage = Usage::default();
    }

    /// The figures since the last sample, or since the start; the last ones again if that was a moment ago.
    pub(super) fn sample(&mut self) -> Sample {
        if SHORTEST <= self.before.at.elapsed() {
            let now = self.sources.totals();
            let before = std::mem::replace(&mut self.before, now);
            self.last = self.add(before, now);
        }
        self.last
    }

    /// What was used since the load began.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    fn add(&mut self, before: Totals, now: Totals) -> Sample {
        let elapsed = now.at.duration_since(before.at);
        let percent = |part: Duration| part.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        let cpu = now.cpu.saturating_sub(before.cpu);
        let steal_percent = steal_percent(before.machine, now.machine);
        let throttle = now.throttle.since(before.throttle);
        let ran = now.interpreter.ran.saturating_sub(before.interpreter.ran);
        let waited = now.interpreter.waited.saturating_sub(before.interpreter.waited);
        let usage = &mut self.usage;
        usage.wall += elapsed;
        usage.cpu += cpu;
        usage.waited += waited;
        usage.stolen += elapsed.mul_f64(steal_percent / 100.0);
        usage.throttled += throttle.time;
        usage.throttled_periods = usage.throttled_periods.saturating_add(throttle.periods);
        if SATURATED_PERCENT <= percent(ran + waited) {
            usage.saturated += elapsed;
        }
        let open_files = open_files();
        usage.open_files = usage.open_files.max(open_files);
        usage.open_files_limit = getrlimit(Resource::Nofile).current.unwrap_or(0);
        Sample { cpu_percent: percent(cpu), steal_percent, open_files }
    }
}

impl Sources {
    fn totals(&self) -> Totals {
        Totals {
            at: Instant::now(),
            cpu: own_cpu(),
            machine: read(self.machine.as_ref()).and_then(|stat| parse_stat(&stat)).unwrap_or_default(),
            throttle: throttle(self.throttle.as_ref()).unwrap_or_default(),
            interpreter: read(self.interpreter.as_ref())
                .and_then(|text| parse_schedstat(&text))
                .unwrap_or_default(),
        }
    }
}

fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

fn throttle(file: Option<&File>) -> Option<Throttle> {
    Throttle::parse(&read(file)?)
}

/// The beginning of a file that is made anew at each reading.
fn read(file: Option<&File>) -> Option<String> {
    let mut text = [0; 4096];
    let length = file?.read_at(&mut text, 0).ok()?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// The first line holds user, nice, system, idle, iowait, irq, softirq, steal; guest time is inside user.
fn parse_stat(stat: &str) -> Option<Machine> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let times: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    Some(Machine { steal: *times.get(7)?, total: times.iter().sum() })
}

/// Nanoseconds that a thread ran, nanoseconds that it waited for a CPU, and how often it ran.
fn parse_schedstat(text: &str) -> Option<Scheduled> {
    let mut fields = text.split_whitespace().map(|field| field.parse().ok().map(Duration::from_nanos));
    Some(Scheduled { ran: fields.next()??, waited: fields.next()?? })
}

fn steal_percent(last: Machine, now: Machine) -> f64 {
    let total = now.total.saturating_sub(last.total);
    if total == 0 || last.total == 0 {
        0.0
    } else {
        now.steal.saturating_sub(last.steal) as f64 / total as f64 * 100.0
    }
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

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steal_is_the_share_of_all_time_between_two_samples() {
        let first = parse_stat("cpu  100 0 50 800 40 5 5 0 0 0\ncpu0 1 2 3\n").unwrap();
        let second = parse_stat("cpu  150 0 60 850 40 5 5 90 7 0\n").unwrap();
        assert!((steal_percent(first, second) - 45.0).abs() < 1e-9);
        assert!(steal_percent(second, second).abs() < 1e-9);
        assert!(steal_percent(Machine::default(), second).abs() < 1e-9, "what was not read is not zero");
        assert!(parse_stat("cpu  1 2 3\n").is_none() && parse_stat("").is_none());
    }

    #[test]
    fn a_busy_thread_is_seen_once_there_is_enough_of_it() {
        let mut meter = Meter::start();
        let thread = fs::read_link("/proc/thread-self").unwrap();
        let thread = thread.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        meter.begin(thread);
        let before = own_cpu();
        assert_eq!(meter.sample(), Sample::default(), "nothing is said about a moment");
        let busy = Instant::now();
        while busy.elapsed() < SHORTEST || own_cpu().saturating_sub(before) < Duration::from_millis(20) {
            assert!(busy.elapsed() < Duration::from_secs(20), "no CPU time passes");
        }
        let sample = meter.sample();
        assert!(0.0 < sample.cpu_percent && 0 < sample.open_files, "{sample:?}");
        assert_eq!(meter.sample(), sample, "and again a moment later");
        let usage = meter.usage();
        assert!(SHORTEST <= usage.wall && Duration::ZERO < usage.cpu, "{usage:?}");
        assert!(sample.open_files <= usage.open_files_limit, "{usage:?}");
        meter.begin(None);
        assert_eq!(meter.usage(), &Usage::default());
    }

    #[test]
    fn what_grows_between_two_samples_is_summed_up() {
        let mut meter = Meter::start();
        let before = Totals {
            at: meter.before.at,
            cpu: SECOND,
            machine: Machine { steal: 10, total: 1_000 },
            throttle: Throttle { periods: 5, time: SECOND },
            interpreter: Scheduled { ran: SECOND, waited: SECOND },
        };
        let now = Totals {
            at: before.at + 2 * SECOND,
            cpu: 3 * SECOND,
            machine: Machine { steal: 60, total: 1_200 },
            throttle: Throttle { periods: 9, time: SECOND + SECOND / 2 },
            interpreter: parse_schedstat("2500000000 1450000000 77\n").unwrap(),
        };
        let sample = meter.add(before, now);
        assert!((sample.cpu_percent - 100.0).abs() < 1e-9 && (sample.steal_percent - 25.0).abs() < 1e-9);
        let usage = meter.usage();
        assert_eq!((usage.wall, usage.cpu, usage.waited), (2 * SECOND, 2 * SECOND, SECOND * 45 / 100));
        assert_eq!((usage.throttled, usage.throttled_periods), (SECOND / 2, 4));
        assert_eq!((usage.stolen, usage.saturated), (SECOND / 2, 2 * SECOND));
        assert!(parse_schedstat("").is_none() && parse_schedstat("7").is_none());
    }
}
