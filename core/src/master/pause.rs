//! Pausing a load: its users go, and its time stands still until they come again.
//!
//! The time of a load is that of the run without its pauses; a duration, stages, a shape's `get_run_time`, a warm-up and the
//! `after` of a threshold are counted in it, deadlines are not. Start at [`Master::desire`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LEAD, Master};
use crate::message::{RunState, StopReason};
use crate::plan::AT_ONCE;
use crate::run::{Desired, Load};
use crate::tick::Tick;

/// When the load was paused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pauses {
    /// Rising; only the last may have no end yet.
    spans: Vec<(Tick, Option<Tick>)>,
}

impl Pauses {
    /// Whether one has no end yet.
    pub(super) fn is_on(&self) -> bool {
        self.spans.last().is_some_and(|(_, to)| to.is_none())
    }

    /// How long the ended ones were together.
    pub(super) fn ended(&self) -> Duration {
        self.spans.iter().map(|(from, to)| to.map_or(Duration::ZERO, |to| to.since(*from))).sum()
    }

    /// How much of a time was paused.
    pub(super) fn within(&self, from: Tick, to: Tick) -> Duration {
        let overlap = |span: &(Tick, Option<Tick>)| {
            let (begin, end) = (span.0.max(from), span.1.unwrap_or(to).min(to));
            end.since(begin)
        };
        self.spans.iter().map(overlap).sum()
    }

    /// A sentence on how much of a load was paused.
    pub(super) fn note(&self, start: Tick, stop: Tick) -> Option<String> {
        let paused = self.within(start, stop).as_secs();
        (!self.spans.is_empty())
            .then(|| format!("the load was paused for {paused} s, in which nothing is measured"))
    }

    /// The instant at which a load that began at `start` has been on for so long; `None` while it is paused before that.
    pub(super) fn instant(&self, start: Tick, on_for: Duration) -> Option<Tick> {
        self.spans.iter().try_fold(start + on_for, |instant, (from, to)| {
            if instant <= *from { Some(instant) } else { Some(instant + (*to)?.since(*from)) }
        })
    }

    fn begin(&mut self, at: Tick) {
        self.spans.push((at, None));
    }

    fn end(&mut self, at: Tick) {
        if let Some((from, to)) = self.spans.last_mut() {
            *to = Some(at.max(*from));
        }
    }
}

impl Master {
    /// Brings about what is wanted of the run: that it goes on, pauses or stops.
    pub(super) fn desire(&mut self, now: Tick) {
        if self.spec.desired == Desired::Stopped {
            return self.handle_stop(now, StopReason::Stopped);
        }
        let Some(start) = self.start.filter(|_| self.state == RunState::Running && self.adopting.is_none())
        else {
            return;
        };
        let at = start.max(now + LEAD);
        match (self.spec.desired, self.pauses.is_on()) {
            (Desired::Paused, false) => self.pause(now, at),
            (Desired::Running, true) => self.resume(now, at),
            _ => {}
        }
    }

    fn pause(&mut self, now: Tick, at: Tick) {
        self.pauses.begin(at);
        self.layout.retarget(at, 0, AT_ONCE);
        self.hold_arrivals(at);
        if self.start_complete.is_none() && self.first_ramp_end.is_some_and(|end| at < end) {
            // Users never came that far.
            self.first_ramp_end = None;
        }
        self.move_stop(now);
        self.set_marks(now);
    }

    fn resume(&mut self, now: Tick, at: Tick) {
        self.pauses.end(at);
        match &self.spec.load {
            Load::Constant(load) => self.retarget(now, load.users, load.spawn_rate),
            Load::Stages(_) => self.rejoin_stages(now, at),
            Load::Arrivals(_) => self.rejoin_arrivals(now, at),
            Load::Shape => self.shape.ask_again(now),
        }
        self.move_stop(now);
        self.set_marks(now);
    }

    /// When a load that is on would have begun without its pauses; `None` while it is paused, or it is not known who has what.
    pub(super) fn on_since(&self) -> Option<Tick> {
        let on = self.state == RunState::Running && self.adopting.is_none() && !self.pauses.is_on();
        self.start.filter(|_| on).map(|start| start + self.pauses.ended())
    }

    /// The instant at which the load has been on for so long.
    pub(super) fn instant(&self, on_for: Duration) -> Option<Tick> {
        self.pauses.instant(self.start?, on_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Tick {
        Tick::from_micros(seconds * 1_000_000)
    }

    const fn long(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_time_of_the_load_stands_still_while_it_is_paused() {
        let mut pauses = Pauses::default();
        pauses.begin(at(20));
        assert_eq!((pauses.is_on(), pauses.ended()), (true, long(0)));
        assert_eq!(
            [5, 10, 11].map(|seconds| pauses.instant(at(10), long(seconds))),
            [Some(at(15)), Some(at(20)), None]
        );
        pauses.end(at(50));
        pauses.begin(at(60));
        pauses.end(at(61));
        assert_eq!((pauses.is_on(), pauses.ended()), (false, long(31)));
        let instants = [10, 11, 20, 21].map(|seconds| pauses.instant(at(10), long(seconds)).unwrap());
        assert_eq!(instants, [at(20), at(51), at(60), at(62)]);
        assert_eq!(pauses.within(at(0), at(100)), long(31));
        assert_eq!(pauses.within(at(30), at(60)), long(20));
        assert_eq!(pauses.within(at(50), at(60)), long(0));
    }
}
