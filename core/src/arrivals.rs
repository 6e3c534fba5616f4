//! The open model: when each iteration of the whole run is to begin.
//!
//! One line of the rate after the other. Iterations are numbered through the run, each has one instant and one class, and
//! every process works them out for itself to the same microsecond: whose an iteration is follows from its number and
//! from the [`Share`] in force at its instant. Instants come from the numbers, never from one another, so they cannot drift.
//! Never begins an iteration. Start at [`Arrivals::instant`] and [`Arrivals::of_share`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::share::{Share, ShareRow};
use crate::tick::{Tick, micros, micros_of};

/// Rates are in millionths of an iteration, so that a line may be left anywhere.
pub(crate) const RATE: u64 = 1_000_000;
/// Counts are in parts of an iteration, so that one that is under way at the end of a line goes on with the next.
const PART: f64 = (1_u64 << 24) as f64;
/// The most iterations per second.
pub const MAX_RATE: u64 = 1_000_000;
/// The most iterations of a run: up to some more they are counted to the [`PART`].
pub const MAX_ITERATIONS: u64 = 100_000_000_000;
/// Instants beyond it have no meaning, infinity least of all: some 300 years.
const END: Tick = Tick::from_micros(10_000_000_000_000_000);
/// The golden ratio's fraction of 2⁶⁴: its multiples are spread evenly, however far one looks.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// When iterations begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Of the scenario's classes, in their order.
    pub weights: Vec<u32>,
    /// Rising in `at` and in `before`; from the start on, as what was planned is told at the end.
    pub lines: Vec<Line>,
}

/// A straight line from one rate to another, which then holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// In force from here on.
    pub at: Tick,
    /// The time that rates are per; above 0.
    #[serde(with = "micros")]
    pub per: Duration,
    /// Until the rate is `to`.
    #[serde(with = "micros")]
    pub length: Duration,
    /// The rate at `at`, in millionths of an iteration.
    pub from: u64,
    /// The rate at the line's end.
    pub to: u64,
    /// Iterations before `at`, in 2⁻²⁴ of one.
    pub before: u64,
}

/// An iteration that is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its place among all iterations of the run, from 0.
    pub number: u64,
    /// The place of its class in the list.
    pub class: usize,
    /// Its instant.
    pub at: Tick,
}

impl Line {
    /// Iterations per microsecond at the begin, at the end, and the length in microseconds.
    fn slope(&self) -> (f64, f64, f64) {
        let scale = RATE as f64 * micros_of(self.per) as f64;
        (self.from as f64 / scale, self.to as f64 / scale, micros_of(self.length) as f64)
    }

    /// From an instant on there are none.
    pub(crate) fn still(at: Tick) -> Self {
        Self { at, per: Duration::from_secs(1), length: Duration::ZERO, from: 0, to: 0, before: 0 }
    }

    /// Iterations from its begin on until an instant, in fractions.
    fn count(&self, until: Tick) -> f64 {
        let (from, to, length) = self.slope();
        let time = micros_of(until - self.at) as f64;
        let inside = time.min(length);
        let ramp = if length <= 0.0 { 0.0 } else { (to - from) * inside / length / 2.0 };
        (from + ramp) * inside + to * (time - inside)
    }

    /// When so many iterations have begun; `None` if never.
    fn instant(&self, count: f64) -> Option<Tick> {
        let (from, to, length) = self.slope();
        let whole = f64::midpoint(from, to) * length;
        let time = if count <= 0.0 && 0.0 < from.max(to) {
            0.0
        } else if count < whole {
            // The root of rate · t + slope · t² / 2 = count, in the form that loses no digits.
            let slope = (to - from) / length;
            2.0 * count / (from + (from * from + 2.0 * slope * count).max(0.0).sqrt())
        } else {
            length + (count - whole) / to
        };
        (time < END.as_micros() as f64).then(|| self.at + Duration::from_micros(time.round() as u64))
    }

    /// The rate at an instant, in millionths of an iteration.
    fn rate(&self, at: Tick) -> u64 {
        between(self.from, self.to, at - self.at, self.length)
    }

    fn rate_per(&self, per: Duration, at: Tick) -> u64 {
        let rate =
            u128::from(self.rate(at)) * u128::from(micros_of(per)) / u128::from(micros_of(self.per)).max(1);
        rate as u64
    }

    /// The number of its first iteration.
    fn first(&self) -> u64 {
        (self.before as f64 / PART).ceil() as u64
    }
}

/// The rate on a line after some of its length.
pub(crate) fn between(from: u64, to: u64, time: Duration, length: Duration) -> u64 {
    let (time, length) = (u128::from(micros_of(time)), u128::from(micros_of(length)));
    if length <= time {
        return to;
    }
    let moved = u128::from(from.abs_diff(to)) * time / length;
    if from <= to { from + moved as u64 } else { from - moved as u64 }
}

impl Arrivals {
    /// Iterations of the whole run before an instant, in fractions.
    pub fn count(&self, until: Tick) -> f64 {
        let line = self.lines.iter().rfind(|line| line.at <= until);
        line.map_or(0.0, |line| line.before as f64 / PART + line.count(until))
    }

    /// The rate at an instant, in iterations per second.
    pub fn rate(&self, at: Tick) -> f64 {
        let line = self.lines.iter().rfind(|line| line.at <= at);
        line.map_or(0.0, |line| line.rate(at) as f64 / RATE as f64 / line.per.as_secs_f64())
    }

    /// The same in millionths of an iteration per another time.
    pub(crate) fn rate_per(&self, per: Duration, at: Tick) -> u64 {
        self.lines.iter().rfind(|line| line.at <= at).map_or(0, |line| line.rate_per(per, at))
    }

    /// Goes on with another line, whose `before` is worked out here; lines that would begin later are dropped.
    pub(crate) fn lay(&mut self, line: Line) {
        self.lines.retain(|known| known.at < line.at);
        let before = (self.count(line.at) * PART).round() as u64;
        self.lines.push(Line { before, ..line });
    }

    /// When an iteration begins; `None` if that is not known, or no more.
    pub fn instant(&self, number: u64) -> Option<Tick> {
        let index = self.lines.iter().rposition(|line| line.first() <= number)?;
        let line = &self.lines[index];
        let instant = line.instant(number as f64 - line.before as f64 / PART);
        match self.lines.get(index + 1) {
            // Whatever was rounded, it is before the next line's.
            Some(next) => Some(instant.map_or(next.at, |instant| instant.min(next.at))),
            None => instant,
        }
    }

    /// The number of the first iteration that begins at an instant or later.
    pub(crate) fn first_at(&self, at: Tick) -> u64 {
        let Some(least) = self.lines.first().map(Line::first) else { return 0 };
        let at = at.min(END);
        let is_before = |number: u64| self.instant(number).is_some_and(|instant| instant < at);
        // What is counted is right but for what was rounded, which is next to nothing unless somebody plans for centuries: so
        // it is looked further and further away.
        let mut low = (self.count(at) as u64).max(least);
        let mut high = low;
        for step in (0..64).map(|power| 1_u64 << power) {
            if low == least || is_before(low - 1) {
                break;
            }
            (low, high) = (low.saturating_sub(step).max(least), low - 1);
        }
        for step in (0..64).map(|power| 1_u64 << power) {
            if !is_before(high) {
                break;
            }
            (low, high) = (high + 1, high.saturating_add(step));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The iterations of one share from an instant on, in their order. Ends where nothing more is planned.
    pub fn of_share<'a>(
        &'a self,
        plan: &'a Plan,
        share: &'a Share,
        from: Tick,
    ) -> impl Iterator<Item = Arrival> + 'a {
        let mut next = self.first_at(from);
        std::iter::from_fn(move || {
            loop {
                let at = self.instant(next)?;
                let in_force = plan.in_force(at);
                let index = in_force.map_or(0, |(index, _)| index + 1);
                let until = plan.ramps.get(index).map(|ramp| ramp.at).filter(|until| at < *until);
                let row = in_force.and_then(|(index, _)| share.rows.get(index)).filter(|row| has_part(row));
                let mine = row.and_then(|row| {
                    let of = u64::from(row.of);
                    let number = next + (u64::from(row.position) + of - next % of) % of;
                    let at = self.instant(number)?;
                    until.is_none_or(|until| at < until).then_some((number, at))
                });
                if let Some((number, at)) = mine {
                    next = number + 1;
                    return Some(Arrival { number, class: self.class(number), at });
                }
                next = self.first_at(until?).max(next + 1);
            }
        })
    }

    /// The class of an iteration: in any stretch of iterations, of all or of one process, classes are as their weights say,
    /// but for a few.
    fn class(&self, number: u64) -> usize {
        let whole: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let point = (u128::from(number.wrapping_mul(GOLDEN)) * u128::from(whole)) >> 64;
        let mut passed = 0_u128;
        let reached = |weight: &u32| {
            passed += u128::from(*weight);
            point < passed
        };
        self.weights.iter().position(reached).unwrap_or_default()
    }

    /// Whether what came over the wire can be a plan of this scenario's.
    pub(crate) fn is_sane(&self, classes: usize) -> bool {
        let possible = |line: &Line| {
            let most = u128::from(MAX_RATE * RATE / 1_000_000) * u128::from(micros_of(line.per));
            !line.per.is_zero()
                && u128::from(line.from.max(line.to)) <= most
                && (line.at + line.length).as_micros() < END.as_micros()
                && line.before < 1 << 62
        };
        let follows = |pair: &[Line]| {
            let counted = pair[0].before as f64 / PART + pair[0].count(pair[1].at);
            pair[0].at <= pair[1].at && (counted - pair[1].before as f64 / PART).abs() < 1.0
        };
        self.weights.len() == classes && self.lines.iter().all(possible) && self.lines.windows(2).all(follows)
    }
}

fn has_part(row: &ShareRow) -> bool {
    row.of != 0 && !row.held
}

#[cfg(test)]
mod tests;
