//! What a master tells of its run: the live status, the verdict, the report.
//!
//! Reads, never changes what the run does. Start at [`Master::status`] and [`Master::report`].

use std::borrow::Cow;
use std::time::Duration;

use super::Master;
use super::machines::milliseconds;
use crate::message::{Began, RunState, Status, StopReason, VERSION};
use crate::report::figures::{failures, user_errors};
use crate::report::{self, Figures, Report, Request, Users};
use crate::stats::Statistics;
use crate::tick::Tick;
use crate::verdict::{Evidence, Judged, Measured, Missing, Verdict, judge};
use crate::wall::WallClock;

impl Master {
    /// The live figures.
    pub fn status(&self, now: Tick) -> Status {
        let until = self.stop.filter(|stop| stop.at <= now).map_or(now, |stop| stop.at);
        let elapsed = self.start.filter(|start| *start <= now).map(|start| until.since(start));
        let live = self.live.figures(now, self.start.unwrap_or_default());
        let quantile = |quantile| live.latency.value_at(quantile);
        let statistics = self.statistics();
        let total = statistics.rows();
        let sum = |of: fn(&crate::stats::Row) -> u64| {
            total.iter().fold(0_u64, |sum, row| sum.saturating_add(of(row)))
        };
        let stopping = matches!(self.state, RunState::Draining | RunState::Ended);
        let runs = self.state == RunState::Running;
        Status {
            version: VERSION,
            run: self.spec.run.clone(),
            state: self.state,
            generation: self.generation,
            users: self.users(),
            target: self.target(now),
            paused: self.state == RunState::Running && self.pauses.is_on(),
            dead_users: self.dead_users(),
            iterations: self.iterations_so_far(now, statistics.iterations),
            requests: sum(|row| row.requests),
            failures: sum(|row| row.failures),
            sent: sum(|row| row.sent),
            generator_faults: sum(|row| row.generator_faults),
            rps: live.rps,
            failures_per_second: live.failures_per_second,
            p50_us: quantile(0.5),
            p95_us: quantile(0.95),
            p99_us: quantile(0.99),
            elapsed,
            time_left: self
                .stop
                .filter(|stop| runs && stop.reason == StopReason::Completed)
                .map(|stop| stop.at - now),
            expected: self.spec.processes().unwrap_or(u32::MAX),
            joined: self.joined(),
            stop: self.stop.filter(|_| stopping).map(|stop| stop.reason),
            notes: self.notes(),
            warnings: self.warnings(),
            exit_code: (self.state == RunState::Ended).then(|| self.verdict().result.exit_code()),
        }
    }

    /// The report; `None` until the run is over. `wall` says when tick zero was.
    pub fn report(&self, wall: WallClock) -> Option<Report> {
        if self.state != RunState::Ended {
            return None;
        }
        let load_on = self.load_on();
        let (statistics, measured) = (self.measured(), self.measured_for().unwrap_or_default());
        let seconds = measured.as_secs_f64();
        Some(Report {
            version: report::VERSION,
            run: report::Run {
                id: self.spec.run.id.clone(),
                start_time: load_on.and(self.start).map(|start| wall.rfc3339(start)),
                completion_time: self.stop.map(|stop| wall.rfc3339(stop.at)),
                duration_s: load_on.unwrap_or_default().as_secs_f64(),
            },
            users: Users { target: self.target, peak: self.peak },
            start: self.start_of_all(),
            verdict: self.verdict(),
            total: Figures::of(&statistics.total(), seconds),
            iterations: self.iterations(statistics.iterations),
            warm_up: self.warm_up(),
            requests: statistics.rows().into_iter().map(|row| Request::of(row, seconds)).collect(),
            errors: failures(&statistics),
            generator_faults: self.generator_faults(),
            user_errors: user_errors(&self.statistics()),
            gaps: self.gaps.iter().map(|gap| self.gap(gap, wall)).collect(),
            runners: self.runner_entries(),
        })
    }

    pub(super) fn verdict(&self) -> Verdict {
        let (mut notes, generators) = (self.notes(), self.generators());
        let Some(stop) = self.stop else { return Verdict::default() };
        // Only now it is known for how long.
        notes.extend(self.start.and_then(|start| self.pauses.note(start, stop.at)));
        let measured = self.measured();
        judge(&Evidence {
            stop: stop.reason,
            load_on: self.load_on(),
            startup: self.spec.deadlines.startup,
            not_set_up: self.why_not_set_up(),
            expected: self.spec.processes().unwrap_or(u32::MAX),
            joined: self.joined(),
            target: self.target,
            dead_users: self.dead_users(),
            measured_for: self.measured_for(),
            statistics: &measured,
            iterations: self.iterations(measured.iterations),
            thresholds: self.judged(stop.at),
            missing: self.missing(stop.at),
            generators: &generators,
            notes: &notes,
        })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.shape.notes();
        if let (Some(at), Some(start)) = (self.forgotten_at, self.start) {
            notes.push(format!(
                "the master was replaced {} s after the start and its memory was lost: what runner processes that \
                 had ended by then measured is missing, and is in no gap",
                at.since(start).as_secs()
            ));
        }
        if self.generation < self.heard_generation {
            notes.push(format!(
                "the master that took over was not told generation {} of the specification: thresholds and deadlines \
                 are those with which the run began",
                self.heard_generation
            ));
        }
        notes.extend(self.rendezvous.notes());
        notes.extend(self.hook_notes());
        notes.extend(self.stock.notes());
        notes
    }

    /// How long the load was on; `None` if it never was.
    fn load_on(&self) -> Option<Duration> {
        let (start, stop) = (self.start?, self.stop?);
        (start < stop.at).then(|| stop.at - start)
    }

    /// The same without warm-up and pauses.
    fn measured_for(&self) -> Option<Duration> {
        let (warm, stop) = (self.warm_at()?, self.stop?);
        (warm < stop.at).then(|| self.on_between(warm, stop.at))
    }

    /// How much of a time was not paused.
    fn on_between(&self, from: Tick, to: Tick) -> Duration {
        to.since(from).saturating_sub(self.pauses.within(from, to))
    }

    /// Everything measured but in the warm-up.
    fn measured(&self) -> Cow<'_, Statistics> {
        if self.spec.warm_up.is_zero() {
            return self.statistics();
        }
        let Some(warm) = self.measured_from(Some(self.spec.warm_up)) else { return Cow::default() };
        Cow::Owned(merged(self.windows().range(warm..)))
    }

    /// What the warm-up had.
    fn warm_up(&self) -> Option<report::WarmUp> {
        if self.spec.warm_up.is_zero() {
            return None;
        }
        let (start, stop) = (self.start?, self.stop?.at);
        let length = self.on_between(start, self.warm_at().map_or(stop, |warm| warm.min(stop))).as_secs_f64();
        let end = self.measured_from(Some(self.spec.warm_up)).unwrap_or(Tick::from_micros(u64::MAX));
        let total = Figures::of(&merged(self.windows().range(..end)).total(), length);
        Some(report::WarmUp { duration_s: length, total })
    }

    /// How far apart the processes began.
    fn start_of_all(&self) -> Option<report::Start> {
        let began: Vec<Began> = self.members.values().filter_map(|member| member.began).collect();
        let late = began.iter().map(|began| began.at - began.due);
        let (earliest, latest) = (late.clone().min()?, late.max()?);
        let uncertainty = began.iter().map(|began| began.uncertainty).max()?;
        Some(report::Start {
            processes: began.len() as u32,
            skew_ms: milliseconds(latest.saturating_sub(earliest)),
            latest_ms: milliseconds(latest),
            uncertainty_ms: milliseconds(uncertainty),
        })
    }

    /// Users that ended with an error, those of departed processes included.
    fn dead_users(&self) -> u64 {
        self.members.values().fold(0, |sum, member| sum.saturating_add(u64::from(member.dead())))
    }

    fn judged(&self, stop: Tick) -> Vec<Judged<'_>> {
        let measured = |after: Option<Duration>| -> Option<Measured> {
            let (start, from) = (self.start?, self.measured_from(after)?);
            if stop <= from {
                return None;
            }
            let statistics = merged(self.windows().range(from..));
            Some(Measured { from: from - start, length: self.on_between(from, stop), statistics })
        };
        let judged = |threshold| -> Judged<'_> {
            let threshold: &aiotest_api::threshold::Threshold = threshold;
            Judged { threshold, measured: measured(threshold.after.map(Duration::from)) }
        };
        self.spec.thresholds.iter().map(judged).collect()
    }

    fn missing(&self, stop: Tick) -> Vec<Missing<'_>> {
        let length = |gap: &super::gap::Gap| gap.to.unwrap_or(stop).min(stop).since(gap.from);
        self.gaps.iter().map(|gap| Missing { runner: &gap.process.runner, length: length(gap) }).collect()
    }

    fn gap(&self, gap: &super::gap::Gap, wall: WallClock) -> report::Gap {
        let lost = match self.members.get(&gap.process) {
            // What a process took with it is counted once, with its last gap.
            Some(member) if self.gaps.is_last_of_its_process(gap) => member.lost_at_most(),
            _ => Some(0),
        };
        report::Gap {
            runner: gap.process.runner.clone(),
            from: wall.rfc3339(gap.from),
            to: wall.rfc3339(gap.to.unwrap_or(gap.from)),
            lost_at_most: lost,
        }
    }
}

fn merged<'a>(windows: impl Iterator<Item = (&'a Tick, &'a Statistics)>) -> Statistics {
    let mut all = Statistics::default();
    windows.for_each(|(_, window)| all.merge(window));
    all
}

#[cfg(test)]
mod tests;
