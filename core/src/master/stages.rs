//! Which line of a load in stages is in force, and laying it out in time.
//!
//! A stage begins where the one before it ended, and its line leads to its users in its duration. Each is laid out shortly before
//! it begins, so that an edit of the stages to come changes what is to come. Start at [`Master::check_stages`].

use std::time::Duration;

use super::{LEAD, Master};
use crate::plan::{AT_ONCE, Ramp};
use crate::run::{Load, Stage, is_rate};
use crate::tick::Tick;

/// How long before it begins a stage is laid out: in time for every process, though a poll be late.
const AHEAD: Duration = Duration::from_millis(2500);

/// A stage with its place in the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) begin: Tick,
    pub(super) end: Tick,
    /// Users at its begin, as planned.
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The stage that is in force at an instant; of several that begin at one, the last. The last stage of all goes on.
fn in_force(stages: &[Stage], start: Tick, at: Tick) -> Option<Placed> {
    placed(stages, start).take_while(|stage| stage.begin <= at).last()
}

/// All stages, one behind the other.
pub(super) fn placed(stages: &[Stage], start: Tick) -> impl Iterator<Item = Placed> {
    stages.iter().scan((start, 0), |(begin, from), stage| {
        let placed = Placed { begin: *begin, end: *begin + stage.duration, from: *from, to: stage.users };
        (*begin, *from) = (placed.end, placed.to);
        Some(placed)
    })
}

/// When the first stage after an instant begins.
fn next_begin(stages: &[Stage], start: Tick, after: Tick) -> Option<Tick> {
    placed(stages, start).map(|stage| stage.begin).find(|begin| after < *begin)
}

/// Users per second of a line over so long; without a length, whatever reaches its end at once.
fn rate(from: u32, to: u32, length: Duration) -> f64 {
    let rate = f64::from(from.abs_diff(to)) / length.as_secs_f64();
    if is_rate(rate) { rate } else { AT_ONCE }
}

impl Master {
    /// Lays the stage out that begins soon.
    pub(super) fn check_stages(&mut self, now: Tick) {
        let (Load::Stages(stages), Some(start)) = (&self.spec.load, self.on_since()) else { return };
        let Some(stage) = in_force(stages, start, now + AHEAD) else { return };
        // Shares may have changed since, which goes on with the line.
        let known = self.layout.plan().ramps.last().is_some_and(|line| stage.begin <= line.since);
        if !known {
            self.lay(now, stage);
        }
    }

    /// Goes on with other stages.
    pub(super) fn restage(&mut self, now: Tick, before: &[Stage]) {
        let (Load::Stages(stages), Some(start)) = (&self.spec.load, self.on_since()) else { return };
        let at = start.max(now + AHEAD);
        let stage = in_force(stages, start, at);
        if let Some(stage) = stage.filter(|stage| in_force(before, start, at) != Some(*stage)) {
            self.lay(now, stage);
        }
    }

    /// Back to where the line is, after a pause.
    pub(super) fn rejoin_stages(&mut self, now: Tick, at: Tick) {
        let (Load::Stages(stages), Some(start)) = (&self.spec.load, self.on_since()) else { return };
        if let Some(Placed { begin, end, from, to }) = in_force(stages, start, at) {
            self.layout.lay(Ramp {
                version: 0,
                at,
                since: begin,
                from,
                to,
                rate: rate(from, to, end.since(begin)),
            });
            self.targeted(now, to);
        }
    }

    /// When the next stage has to be laid out.
    pub(super) fn next_stage(&self) -> Option<Tick> {
        let (Load::Stages(stages), Some(start)) = (&self.spec.load, self.on_since()) else { return None };
        let laid = self.layout.plan().ramps.last()?.since;
        next_begin(stages, start, laid).map(|begin| begin.before(AHEAD))
    }

    /// From where users are on to where the stage leads, by its end.
    fn lay(&mut self, now: Tick, stage: Placed) {
        let soonest = self.start.map_or(now, |start| start.max(now + LEAD));
        let at = stage.begin.max(soonest);
        // In time it begins where it should, even where users jump to that; late, where they are.
        let from = (at == stage.begin).then_some(stage.from);
        let from = from.unwrap_or_else(|| self.layout.plan().ramps.last().map_or(0, |line| line.users(at)));
        let rate = rate(from, stage.to, stage.end.since(at));
        self.layout.lay(Ramp { version: 0, at, since: at, from, to: stage.to, rate });
        self.targeted(now, stage.to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Tick {
        Tick::from_micros(seconds * 1_000_000)
    }

    fn stages(of: &[(u64, u32)]) -> Vec<Stage> {
        let stage =
            |(seconds, users): &(u64, u32)| Stage { duration: Duration::from_secs(*seconds), users: *users };
        of.iter().map(stage).collect()
    }

    #[test]
    fn each_stage_begins_where_the_one_before_it_ended() {
        let stages = stages(&[(10, 100), (20, 100), (0, 50), (10, 0)]);
        let seen = [0, 9, 10, 29, 30, 39, 99].map(|second| {
            let placed = in_force(&stages, at(5), at(5 + second)).unwrap();
            (placed.begin.as_micros() / 1_000_000 - 5, placed.from, placed.to)
        });
        assert_eq!(seen[..2], [(0, 0, 100); 2]);
        assert_eq!(seen[2..4], [(10, 100, 100); 2]);
        assert_eq!(seen[4..], [(30, 50, 0); 3], "the jump is where the next line begins");
        assert_eq!(in_force(&stages, at(5), at(4)), None);
        assert_eq!(next_begin(&stages, at(5), at(5)), Some(at(15)));
        assert_eq!(next_begin(&stages, at(5), at(35)), None);
    }

    #[test]
    fn a_line_of_no_length_is_as_steep_as_can_be() {
        assert_eq!(rate(0, 100, Duration::from_secs(10)).to_bits(), 10_f64.to_bits());
        assert!(rate(0, 100, Duration::ZERO) > 1e9);
        assert!(rate(7, 7, Duration::from_secs(10)) > 1e9);
    }
}
