//! What the load generator's own health means for a verdict: what falsifies a run, and what only marks a runner.
//!
//! A load is false when users came too late, when a part of it was missing, or when clocks stood still (a cgroup's limit
//! or the machine's host took the CPU from every thread at once, those that stamp replies included). A loop that was
//! blocked, a busy core and a crowded machine are no fault in themselves: replies are stamped beside the loop, and a
//! scenario without a wait always takes a whole core. They mark the runner, and where they cost users their time, their
//! lateness makes the run Invalid. The one figure that a busy core falsifies by itself is the rate: a bound on it that
//! was missed while a runner was saturated says nothing about the target. Start at [`weigh`].

use std::time::Duration;

use super::{MISSING_ALLOWED, seconds};
use crate::health::{Blocked, Usage};

/// A loop that was late by more than this marks its runner.
pub const LAG_MARKED: Duration = Duration::from_millis(200);
/// Steps of users may start so late...
pub const LATE_ALLOWED: Duration = Duration::from_secs(1);
/// ...and of a hundred steps so many later than that, before the run is Invalid.
pub const LATE_ALLOWED_PERCENT: u64 = 1;
/// From this share of the time on, in percent, in which an interpreter's thread ran or waited for a CPU, it is saturated.
pub const SATURATED_PERCENT: f64 = 95.0;
/// An interpreter that was saturated for longer than this, altogether, marks its runner.
pub const SATURATED_MARKED: Duration = Duration::from_secs(10);
/// An interpreter that was ready to run and had no CPU for more than this share of the time marks its runner.
pub const WAITED_MARKED_PERCENT: f64 = 10.0;
/// A process may have been throttled by its cgroup for this share of the time before the run is Invalid; any throttling
/// marks the runner.
pub const THROTTLED_ALLOWED_PERCENT: f64 = 1.0;
/// The machine's host may have taken this share of its CPU time before the run is Invalid.
pub const STOLEN_ALLOWED_PERCENT: f64 = 10.0;
/// From this share on the runner is marked.
pub const STOLEN_MARKED_PERCENT: f64 = 2.0;
/// The most texts of faults that a verdict has a sentence for; the report has them all.
const MOST_FAULTS: usize = 5;

/// A runner as its generator's health is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generator {
    /// Such as `runner-0`.
    pub(crate) runner: String,
    /// The longest that a loop was late.
    pub(crate) lag: Duration,
    /// The latest that a user's step was started.
    pub(crate) late: Duration,
    /// Of all its processes.
    pub(crate) usage: Usage,
    /// Calls that failed by its own fault, by text.
    pub(crate) faults: Vec<(String, u64)>,
}

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Fault,
    Stuck,
    Late,
    LongBlock,
    Throttled,
    Stolen,
    Lag,
    Saturated,
    Waited,
}

/// Something found about one runner.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    kind: Kind,
    /// Whether it makes the run Invalid.
    falsifies: bool,
    /// The higher, the worse; compared within a kind.
    weight: f64,
    /// A sentence without the runner's name: the figure, its bound, the place.
    text: String,
    /// Of a fault its own text: other faults are other findings.
    fault: Option<String>,
}

/// Sentences of a verdict: at most one of each kind, about the worst runner.
#[derive(Debug, Default)]
pub(super) struct Weighed {
    /// Each makes the run Invalid.
    pub(super) invalid: Vec<String>,
    /// Each is only worth knowing.
    pub(super) marks: Vec<String>,
}

/// Everything that was found about a runner, as its mark in the report; empty if all was well.
pub(crate) fn marks(generator: &Generator) -> Vec<String> {
    findings(generator).into_iter().map(|finding| finding.text).collect()
}

/// What is wrong while the run is on: without figures, so that a sentence is the same each time it is asked for.
pub(crate) fn warnings(generator: &Generator) -> Vec<String> {
    let Generator { runner, usage, faults, .. } = generator;
    let stuck = usage.stuck.iter().map(|stuck| {
        format!("{runner}: a process was ended because its loop did not turn any more: {}", stuck.place)
    });
    let blocked = usage.blocked.iter().filter(|blocked| LAG_MARKED < blocked.longest);
    let blocked = blocked.map(|blocked| {
        format!("{runner}: its loop was blocked for longer than {}: {}", seconds(LAG_MARKED), blocked.place)
    });
    let faults = faults.iter().take(MOST_FAULTS);
    let faults =
        faults.map(|(text, _)| format!("{runner}: calls fail by the load generator's own fault: {text}"));
    stuck.chain(faults).chain(blocked).collect()
}

/// What was found about all of them.
pub(super) fn weigh(generators: &[Generator]) -> Weighed {
    let mut groups: Vec<(Finding, &str, usize)> = Vec::new();
    for generator in generators {
        for finding in findings(generator) {
            let alike = |(known, _, _): &&mut (Finding, &str, usize)| {
                let same = (known.kind, known.falsifies) == (finding.kind, finding.falsifies);
                same && known.fault == finding.fault
            };
            match groups.iter_mut().find(alike) {
                Some((worst, runner, others)) => {
                    *others += 1;
                    if worst.weight < finding.weight {
                        (*worst, *runner) = (finding, &generator.runner);
                    }
                }
                None => groups.push((finding, &generator.runner, 0)),
            }
        }
    }
    groups.sort_by(|(one, ..), (other, ..)| {
        one.kind.cmp(&other.kind).then_with(|| other.weight.total_cmp(&one.weight))
    });
    let mut weighed = Weighed::default();
    let mut room = MOST_FAULTS;
    groups.retain(|(finding, ..)| {
        let fits = finding.kind != Kind::Fault || 0 < room;
        room -= usize::from(fits && finding.kind == Kind::Fault);
        fits
    });
    for (finding, runner, others) in groups {
        let more = match others {
            0 => String::new(),
            1 => " (and another runner)".to_owned(),
            some => format!(" (and {some} other runners)"),
        };
        let into = if finding.falsifies { &mut weighed.invalid } else { &mut weighed.marks };
        into.push(format!("{runner}{more}: {}", finding.text));
    }
    weighed
}

/// The runner that may have been what limited the rate: its interpreter was saturated for longer than is marked.
pub(super) fn saturated(generators: &[Generator]) -> Option<&Generator> {
    let saturated = generators.iter().filter(|generator| SATURATED_MARKED < generator.usage.saturated);
    saturated.max_by_key(|generator| generator.usage.saturated)
}

/// A figure for people, with so many digits as say something.
fn percent(value: f64) -> f64 {
    if value < 10.0 { (value * 10.0).round() / 10.0 } else { value.round() }
}

fn at(blocked: Option<&Blocked>) -> String {
    blocked.map(|blocked| format!(": {}", blocked.place)).unwrap_or_default()
}

fn findings(generator: &Generator) -> Vec<Finding> {
    let usage = &generator.usage;
    let mut found = faults(&generator.faults);
    let mut find =
        |kind, falsifies, weight, text| found.push(Finding { kind, falsifies, weight, text, fault: None });
    if let Some(stuck) = &usage.stuck {
        let text = format!(
            "a process was ended because its loop had not turned for {}: {}",
            seconds(stuck.longest),
            stuck.place
        );
        find(Kind::Stuck, true, stuck.longest.as_secs_f64(), text);
    }
    if LATE_ALLOWED < usage.late_p99 {
        let text = format!(
            "more than {LATE_ALLOWED_PERCENT} % of its users' steps started later than {}: the 99th percentile is {}, \
             the latest {}",
            seconds(LATE_ALLOWED),
            seconds(usage.late_p99),
            seconds(generator.late)
        );
        find(Kind::Late, true, usage.late_p99.as_secs_f64(), text);
    }
    let worst = usage.worst_block().filter(|worst| generator.lag <= 2 * worst.longest);
    if MISSING_ALLOWED < generator.lag {
        let text = format!(
            "its loop was blocked for {} at one time, longer than {}{}",
            seconds(generator.lag),
            seconds(MISSING_ALLOWED),
            at(worst)
        );
        find(Kind::LongBlock, true, generator.lag.as_secs_f64(), text);
    } else if LAG_MARKED < generator.lag {
        let text = format!(
            "its loop was blocked for up to {}, longer than {}{}",
            seconds(generator.lag),
            seconds(LAG_MARKED),
            at(worst)
        );
        find(Kind::Lag, false, generator.lag.as_secs_f64(), text);
    }
    shares(usage, &mut find);
    found
}

/// Calls that failed by the generator's own fault: none is allowed.
fn faults(faults: &[(String, u64)]) -> Vec<Finding> {
    let mut faults: Vec<&(String, u64)> = faults.iter().collect();
    faults.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let finding = |(text, count): &&(String, u64)| Finding {
        kind: Kind::Fault,
        falsifies: true,
        weight: *count as f64,
        text: format!("{count} calls failed by the load generator's own fault, more than 0: {text}"),
        fault: Some(text.clone()),
    };
    faults.iter().take(MOST_FAULTS).map(finding).collect()
}

/// What was used and withheld of the CPU.
fn shares(usage: &Usage, find: &mut impl FnMut(Kind, bool, f64, String)) {
    let share = |part: Duration| part.as_secs_f64() / usage.wall.as_secs_f64().max(1e-6) * 100.0;
    let (throttled, stolen, waited) = (share(usage.throttled), share(usage.stolen), share(usage.waited));
    if THROTTLED_ALLOWED_PERCENT < throttled {
        let text = format!(
            "its cgroup's CPU limit throttled it for {} % of the time, more than {THROTTLED_ALLOWED_PERCENT} %: {} in \
             {} periods",
            percent(throttled),
            seconds(usage.throttled),
            usage.throttled_periods
        );
        find(Kind::Throttled, true, throttled, text);
    } else if 0 < usage.throttled_periods {
        let text = format!(
            "its cgroup's CPU limit throttled it for {} in {} periods",
            seconds(usage.throttled),
            usage.throttled_periods
        );
        find(Kind::Throttled, false, throttled, text);
    }
    if STOLEN_ALLOWED_PERCENT < stolen {
        let text = format!(
            "{} % of its machine's CPU time was stolen by the host, more than {STOLEN_ALLOWED_PERCENT} %",
            percent(stolen)
        );
        find(Kind::Stolen, true, stolen, text);
    } else if STOLEN_MARKED_PERCENT < stolen {
        let text = format!(
            "{} % of its machine's CPU time was stolen by the host, more than {STOLEN_MARKED_PERCENT} %",
            percent(stolen)
        );
        find(Kind::Stolen, false, stolen, text);
    }
    if SATURATED_MARKED < usage.saturated {
        let text = format!(
            "its interpreter was saturated for {}, longer than {}: it may have been what limited the rate",
            seconds(usage.saturated),
            seconds(SATURATED_MARKED)
        );
        find(Kind::Saturated, false, usage.saturated.as_secs_f64(), text);
    }
    if WAITED_MARKED_PERCENT < waited {
        let text = format!(
            "its interpreter was ready to run and had no CPU for {} % of the time, more than {WAITED_MARKED_PERCENT} %",
            percent(waited)
        );
        find(Kind::Waited, false, waited, text);
    }
}

#[cfg(test)]
mod tests;
