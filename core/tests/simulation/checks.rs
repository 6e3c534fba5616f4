//! What must be so after every event, and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use aiotest_core::message::RunState;
use aiotest_core::plan::Plan;
use aiotest_core::run::Load;
use aiotest_core::stats::{Row, Statistics};
use aiotest_core::tick::Tick;
use aiotest_core::wall::WallClock;

use crate::process::Process;
use crate::world::World;

/// After this long without a death, a join or a lost message, everything must be in its place.
const CALM: Duration = Duration::from_secs(10);
/// A lower target may be heard of so late (a process may be cut off for the dead-man time), and users take so long to
/// end.
const SLOW: Duration = Duration::from_secs(19);

impl World {
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let state = self.master.state();
        let target = self.master.target(self.master_now());
        if state == RunState::Running {
            self.targets.insert(self.now, target);
            self.targets = self.targets.split_off(&self.now.before(SLOW));
            // Whoever has not heard of an edit is on the line of before, and on that only.
            self.plans.retain(|_, (told, _)| self.now.before(SLOW) <= *told);
            // Processes may still go by the clock of a master that is gone, which was a little ahead.
            let until = self.master_now().max(self.now);
            let lines = self.plans.values().map(|(_, plan)| most(plan, self.now.before(SLOW), until));
            let allowed = self.targets.values().copied().chain(lines).max().unwrap_or_default();
            // In the open model a joiner has its part at once, and whoever gave it up may still be in an iteration.
            let allowed = if self.is_closed_model() { allowed } else { 2 * allowed };
            let live: u32 = self.processes.iter().map(Process::users).sum();
            if allowed < live {
                return Err(format!("{live} users are live, the plan has {allowed}"));
            }
            self.check_calm(target, live)?;
            self.check_nobody_waits_in_vain(target, live)?;
        }
        self.check_rounds()?;
        self.check_rows()
    }

    /// Nothing is ever held twice.
    pub(crate) fn check_held(&self) -> Result<(), String> {
        for process in &self.processes {
            let (held, recorded) = (self.held(process), count(&process.recorded));
            if recorded < held {
                return Err(format!("{held} of the {recorded} calls that {} recorded are held", process.id));
            }
        }
        Ok(())
    }

    /// On a good network nothing has happened for long that moves users; in the open model they always come and go.
    pub(crate) fn is_calm(&self) -> bool {
        let mut recent = self.targets.range(self.now.before(CALM)..).map(|(_, known)| *known);
        let target = recent.next();
        let old = self.targets.first_key_value().is_some_and(|(first, _)| CALM <= self.now.since(*first));
        let settled = recent.all(|known| Some(known) == target);
        // Processes may still go by the clock of a master that is gone, which was a little ahead.
        let ahead = self.master.target(self.master_now().max(self.now));
        self.scenario.faults.loss == 0.0
            && self.is_closed_model()
            && old
            && settled
            && Some(ahead) == target
            && CALM <= self.now.since(self.unrest)
    }

    /// On a good network the plan is carried out to the user, evenly.
    fn check_calm(&self, target: u32, live: u32) -> Result<(), String> {
        if !self.is_calm() {
            return Ok(());
        }
        let parts = self
            .processes
            .iter()
            .filter(|process| process.alive && process.ended.is_none())
            .map(Process::users);
        let (most, least) = (parts.clone().max().unwrap_or(0), parts.min().unwrap_or(0));
        if live != target || 1 < most - least {
            // A master that took its time from a process is that much behind the others: they stop before it does.
            let status = self.master.status(self.master_now());
            if status.time_left.is_some_and(|left| left < Duration::from_millis(100)) {
                return Ok(());
            }
            return Err(format!(
                "{live} users of {target} are live, {least} to {most} in a process, although nothing has happened for long"
            ));
        }
        Ok(())
    }

    fn held(&self, process: &Process) -> u64 {
        self.row(process).map_or(0, |row| row.requests)
    }

    fn row(&self, process: &Process) -> Option<Row> {
        let name = process.id.to_string();
        self.master.statistics().rows().into_iter().find(|row| row.name == name).cloned()
    }

    pub(crate) fn check_end(&self) -> Result<(), String> {
        let Some(report) = self.master.report(WallClock::default()) else {
            return Err(format!("the run has not ended at {:?}", self.now));
        };
        let spec = &self.scenario.spec;
        let limit =
            Duration::from_secs_f64(report.run.duration_s) + spec.deadlines.stop + Duration::from_secs(60);
        let start = self.targets.first_key_value().map_or(Tick::ZERO, |(first, _)| *first);
        // A restarted master gives everybody the dead-man time.
        let limit = limit + Duration::from_secs(45) * self.crashes;
        if start + limit + SLOW < self.now {
            return Err(format!("the run ended only at {:?}", self.now));
        }
        self.check_held()?;
        let told = |process: &&Process| process.ended == Some(0) && process.users() == 0;
        for process in self.processes.iter().filter(told).filter(|_| self.scenario.faults.cut_off == 0.0) {
            let (held, recorded) = (self.held(process), count(&process.recorded));
            // One whose last words did not arrive in time is told of the end too, and said to be missing.
            let unbounded = |gap: &aiotest_core::report::Gap| {
                gap.runner == process.id.runner && gap.lost_at_most.is_none()
            };
            if self.row(process).as_ref() != process.recorded.rows().into_iter().next()
                && !report.gaps.iter().any(unbounded)
            {
                return Err(format!(
                    "{held} of the {recorded} calls that {} recorded are held at the end",
                    process.id
                ));
            }
        }
        self.check_iterations(&report)?;
        self.check_used()?;
        self.check_gaps(&report)
    }

    fn is_closed_model(&self) -> bool {
        !matches!(self.scenario.spec.load, Load::Arrivals(_))
    }

    /// In the open model each iteration begins at most once, and at its instant; all of them, where nobody died.
    fn check_iterations(&self, report: &aiotest_core::report::Report) -> Result<(), String> {
        let Some(counted) = report.iterations else { return Ok(()) };
        let faults = self.scenario.faults;
        let mut begun: BTreeMap<u64, u32> = BTreeMap::new();
        for (number, _) in self.processes.iter().flat_map(|process| &process.begun) {
            *begun.entry(*number).or_default() += 1;
        }
        // Whoever does not hear in time that the load was shared anew goes by the shares of before: a joiner's part is its
        // own at once. That happens without a death, too: to one of whom nothing is heard for the dead-man time.
        let everybody_hears = faults.loss == 0.0 && faults.cut_off == 0.0 && faults.crash == 0.0;
        if faults.edit == 0.0
            && (everybody_hears || self.versions.len() <= 1)
            && let Some((number, times)) = begun.iter().find(|(_, times)| 1 < **times)
        {
            return Err(format!("iteration {number} began {times} times: {faults:?}"));
        }
        if self.processes.iter().all(|process| process.alive)
            && everybody_hears
            && counted.started + counted.shed != counted.planned
        {
            return Err(format!(
                "of {} iterations began {} and were shed {}",
                counted.planned, counted.started, counted.shed
            ));
        }
        Ok(())
    }

    /// The bound that the report states for a death is what was really lost.
    fn check_gaps(&self, report: &aiotest_core::report::Report) -> Result<(), String> {
        let faults = self.scenario.faults;
        if 0.0 < faults.unseen || 0.0 < faults.cut_off || 0.0 < faults.amnesia {
            return Ok(());
        }
        let really = |process: &Process| process.sent - self.row(process).map_or(0, |row| row.sent);
        let gone: u64 = self.processes.iter().filter(|process| !process.alive).map(really).sum();
        let stated: Option<u64> = report.gaps.iter().map(|gap| gap.lost_at_most).sum();
        if report.gaps.iter().any(|gap| gap.lost_at_most.is_none()) {
            // Some process' last words did not arrive in time.
            return Ok(());
        }
        if stated != Some(gone) {
            return Err(format!("{gone} requests are lost, the report says {stated:?}"));
        }
        Ok(())
    }
}

/// The most users that a plan has in a time.
fn most(plan: &Plan, from: Tick, until: Tick) -> u32 {
    let just_before = |at: Tick| at.before(Duration::from_micros(1));
    let bends = plan.ramps.iter().flat_map(|ramp| [ramp.at, just_before(ramp.at), ramp.end()]);
    let within = bends.filter(|at| from <= *at && *at <= until).chain([from, until]);
    within.map(|at| plan.users(at)).max().unwrap_or_default()
}

fn count(statistics: &Statistics) -> u64 {
    statistics.rows().iter().map(|row| row.requests).sum()
}
