//! What a master knows of its runners as load generators: their highest figures, what they used and missed, their faults.
//!
//! Never decides what it means; see [`crate::verdict::generator`]. Start at [`Master::note_peaks`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Master;
use crate::health::{Health, Usage};
use crate::message::ProcessId;
use crate::report::{BlockedLoop, GeneratorFault, Runner};
use crate::stats::Statistics;
use crate::tick::{micros, micros_of};
use crate::verdict::generator::{Generator, marks, warnings};

/// The figures of a runner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RunnerPeaks {
    processes: BTreeSet<u32>,
    users: u32,
    cpu_percent: f64,
    steal_percent: f64,
    #[serde(with = "micros")]
    loop_lag: Duration,
    #[serde(with = "micros")]
    lateness: Duration,
    /// Of each process its present life.
    #[serde(default)]
    lives: BTreeMap<u32, Life>,
    /// Of the lives before.
    #[serde(default)]
    past: Usage,
}

/// What one life of a process used, as it last said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Life {
    incarnation: u64,
    usage: Usage,
}

impl RunnerPeaks {
    fn note(&mut self, id: &ProcessId, health: &Health) {
        self.processes.insert(id.process);
        self.cpu_percent = self.cpu_percent.max(health.cpu_percent);
        self.steal_percent = self.steal_percent.max(health.steal_percent);
        self.loop_lag = self.loop_lag.max(health.loop_lag);
        self.lateness = self.lateness.max(health.lateness);
        let life = self.lives.entry(id.process).or_default();
        if life.incarnation < id.incarnation {
            self.past.merge(&life.usage);
            *life = Life { incarnation: id.incarnation, usage: Usage::default() };
        }
        // What is summed up never falls: a report that comes late says less.
        if life.incarnation == id.incarnation && life.usage.wall <= health.so_far.wall {
            life.usage = health.so_far.bounded();
        }
    }

    fn usage(&self) -> Usage {
        let mut usage = self.past.clone();
        self.lives.values().for_each(|life| usage.merge(&life.usage));
        usage
    }
}

impl Master {
    /// Keeps the figures of the process that has just reported, and the most users at one time.
    pub(super) fn note_peaks(&mut self, reported: &ProcessId) {
        self.peak = self.peak.max(self.users());
        // No other runner's users have changed: with a thousand of them, looking at all is most of what a report costs.
        let first = ProcessId { process: 0, incarnation: 0, ..reported.clone() };
        let of_it = self.members.range(first..).take_while(|(id, _)| id.runner == reported.runner);
        let present = of_it.filter(|(_, member)| member.departed.is_none());
        let users = present.fold(0, |sum: u32, (_, member)| sum.saturating_add(member.live()));
        let Some(member) = self.members.get(reported).filter(|member| member.departed.is_none()) else {
            return;
        };
        let peaks = self.runners.entry(reported.runner.clone()).or_default();
        peaks.note(reported, &member.health);
        peaks.users = peaks.users.max(users);
    }

    /// Every runner as its own health is judged.
    pub(super) fn generators(&self) -> Vec<Generator> {
        let mut faults: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        for fault in self.generator_faults() {
            faults.entry(fault.runner).or_default().push((fault.error, fault.count));
        }
        let generator = |(id, peaks): (&String, &RunnerPeaks)| Generator {
            runner: id.clone(),
            lag: peaks.loop_lag,
            late: peaks.lateness,
            usage: peaks.usage(),
            faults: faults.remove(id).unwrap_or_default(),
        };
        let mut generators: Vec<Generator> = self.runners.iter().map(generator).collect();
        generators.extend(faults.into_iter().map(|(runner, faults)| Generator {
            runner,
            faults,
            ..Generator::default()
        }));
        // So that runner-2 stands before runner-10.
        generators.sort_by(|a, b| (a.runner.len(), &a.runner).cmp(&(b.runner.len(), &b.runner)));
        generators
    }

    /// Calls that failed by a runner's own fault.
    pub(super) fn generator_faults(&self) -> Vec<GeneratorFault> {
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let any = self.statistics().rows().iter().any(|row| 0 < row.generator_faults);
        for (id, member) in self.members.iter().filter(|_| any) {
            for row in member.windows.values().flat_map(Statistics::rows) {
                for (text, count) in row.faults() {
                    let known = counts.entry((&id.runner, text)).or_default();
                    *known = known.saturating_add(count);
                }
            }
        }
        let fault = |((runner, error), count): ((&str, &str), u64)| GeneratorFault {
            runner: runner.to_owned(),
            error: error.to_owned(),
            count,
        };
        counts.into_iter().map(fault).collect()
    }

    /// What is wrong with the runners, in sentences that stay as they are while it goes on.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.generators().iter().flat_map(warnings).collect()
    }

    pub(super) fn runner_entries(&self) -> Vec<Runner> {
        self.generators().iter().map(|generator| self.entry(generator)).collect()
    }

    fn entry(&self, generator: &Generator) -> Runner {
        let default = RunnerPeaks::default();
        let peaks = self.runners.get(&generator.runner).unwrap_or(&default);
        let usage = &generator.usage;
        let percent = |part: Duration| ratio(part.as_secs_f64() * 100.0, usage.wall.as_secs_f64());
        let mut blocked: Vec<BlockedLoop> = usage
            .blocked
            .iter()
            .map(|blocked| BlockedLoop {
                place: blocked.place.clone(),
                seconds: blocked.time.as_secs_f64(),
                longest_ms: milliseconds(blocked.longest),
            })
            .collect();
        blocked.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        Runner {
            id: generator.runner.clone(),
            processes: peaks.processes.len() as u32,
            users_peak: peaks.users,
            cpu_percent_max: peaks.cpu_percent,
            cpu_percent_mean: percent(usage.cpu),
            saturated_s: usage.saturated.as_secs_f64(),
            waited_percent_mean: percent(usage.waited),
            steal_percent_max: peaks.steal_percent,
            steal_percent_mean: percent(usage.stolen),
            throttled_ms: milliseconds(usage.throttled),
            throttled_periods: usage.throttled_periods,
            loop_lag_ms_max: milliseconds(peaks.loop_lag),
            loop_lag_ms_mean: ratio(milliseconds(usage.lag), usage.looks as f64),
            lateness_ms: milliseconds(peaks.lateness),
            lateness_ms_mean: ratio(milliseconds(usage.late), usage.steps as f64),
            lateness_ms_p99: milliseconds(usage.late_p99),
            open_files_max: usage.open_files,
            open_files_limit: usage.open_files_limit,
            blocked,
            marks: marks(generator),
        }
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    micros_of(duration) as f64 / 1000.0
}

/// 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if 0.0 < whole { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health::Blocked;
    use crate::master::tests::{at, constant, finish, report, restarted};
    use crate::message::{Report, Window};
    use crate::stats::{Outcome, Sample};
    use crate::tick::Tick;

    const SECOND: Duration = Duration::from_secs(1);

    fn with(report: Report, seconds: u32) -> Report {
        let mut so_far = Usage { wall: seconds * SECOND, cpu: seconds * SECOND / 2, ..Usage::default() };
        so_far.block("a.py:7 in f", seconds * SECOND / 4, SECOND / 2);
        Report { health: Health { loop_lag: SECOND / 2, so_far, ..Health::default() }, ..report }
    }

    #[test]
    fn what_was_used_is_counted_once_over_lost_messages_lives_and_restarts_of_the_master() {
        let mut master = constant(&json!([]));
        for (sequence, seconds) in [(1, 0), (2, 1), (3, 4), (3, 4), (2, 1)] {
            master.handle_report(at(100 + sequence), &with(report(0, sequence), seconds)).unwrap();
        }
        let mut master = restarted(&master, at(4000));
        master.handle_report(at(5000), &with(report(1, 1), 8)).unwrap();
        let usage = master.generators()[0].usage.clone();
        assert_eq!((usage.wall, usage.cpu), (12 * SECOND, 6 * SECOND));
        let blocked = Blocked { place: "a.py:7 in f".into(), time: 3 * SECOND, longest: SECOND / 2 };
        assert_eq!(usage.blocked, [blocked]);
        let warned = ["runner-0: its loop was blocked for longer than 0.2 s: a.py:7 in f"];
        assert_eq!(master.status(at(5000)).warnings, warned);

        let told = finish(&mut master);
        let runner = &told.runners[0];
        assert!(
            (runner.cpu_percent_mean - 50.0).abs() < 1e-9 && runner.loop_lag_ms_max > 499.0,
            "{runner:?}"
        );
        assert_eq!(runner.blocked[0].place, "a.py:7 in f");
        assert_eq!(runner.marks.len(), 1);
        let said = &format!("runner-0: {}", runner.marks[0]);
        assert!(told.verdict.reasons.contains(said), "{:?}", told.verdict);
    }

    #[test]
    fn faults_are_told_by_runner_and_are_no_failures() {
        let mut master = constant(&json!([]));
        let mut statistics = Statistics::default();
        statistics.record(&Sample {
            name: "/",
            method: "GET",
            latency: SECOND,
            phases: &[],
            status: None,
            bytes_received: 0,
            outcome: Outcome::GeneratorFault("no ports"),
            sent: 0,
            retried: 0,
            truncated: false,
            late: None,
        });
        let windows = vec![Window { since: Tick::ZERO, statistics }];
        master.handle_report(at(100), &Report { windows, ..report(0, 1) }).unwrap();
        let status = master.status(at(200));
        assert_eq!((status.generator_faults, status.failures, status.requests), (1, 0, 0));
        assert_eq!(status.warnings, ["runner-0: calls fail by the load generator's own fault: no ports"]);
        let told = finish(&mut master);
        let fault = GeneratorFault { runner: "runner-0".into(), error: "no ports".into(), count: 1 };
        assert_eq!((told.generator_faults, told.errors.len()), (vec![fault], 0));
        assert_eq!(told.verdict.result, crate::report::Outcome::Invalid);
    }
}
