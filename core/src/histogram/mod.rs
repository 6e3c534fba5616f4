//! Latency histograms that merge exactly, over any number of processes.
//!
//! Values are microseconds from 1 µs to 1 h in HDR buckets; sum, minimum and maximum are kept beside them and are
//! exact. A histogram that came over the wire stays packed until something is recorded into it, so that holding the
//! reports of many processes costs little, for as long as they run; and one into which few times are recorded is a list
//! of them, so that a thousand names in a second cost what their calls do. Never grows beyond its range. Start at
//! [`Histogram`].

mod grid;
mod packed;
mod wire;

use std::iter::Map;

use hdrhistogram::Histogram as Hdr;

use grid::Grid;
use packed::Packed;

/// The longest time that is told apart: one hour, in microseconds. Longer ones count as this in the buckets.
pub const MAX_MICROS: u64 = 3_600_000_000;
/// The dense form is added to in place, but in tens of times the room: what is packed stays so up to this many buckets, as
/// it is written anew quickly, and beyond where so few are added at a time that it is hardly in use.
const DENSE_ABOVE: usize = 128;
/// Of the latter kind is what has more than this many buckets for each that is added.
const IDLE_ABOVE: usize = 16;
/// Up to so many recorded times are a list. The dense form has room for every bucket up to the longest of them.
const LISTED: usize = 256;

/// Recorded times in microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    digits: u8,
    buckets: Buckets,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

#[derive(Clone, Debug)]
enum Buckets {
    Packed(Packed),
    /// Times in the order in which they were recorded, within the range.
    Listed(Vec<u32>),
    Dense(Box<Hdr<u64>>),
}

impl Histogram {
    /// Three significant digits: 0.1 %. For what thresholds and tables are made of.
    pub const LATENCY: u8 = 3;
    /// Two significant digits: 1 %, in a tenth of the room. For the phases of a call.
    pub const PHASE: u8 = 2;

    /// An empty histogram; takes no room until something is recorded. `digits` outside 1 to 3 are taken as 3.
    pub fn new(digits: u8) -> Self {
        let digits = if (1..=3).contains(&digits) { digits } else { Self::LATENCY };
        Self { digits, buckets: Buckets::Packed(Packed::default()), count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Adds one time. Zero counts as 1 µs, and more than an hour as an hour, in the quantiles; never in the sum and
    /// the maximum.
    pub fn record(&mut self, microseconds: u64) {
        match &mut self.buckets {
            Buckets::Listed(times) if times.len() < LISTED => times.push(in_range(microseconds) as u32),
            Buckets::Packed(none) if none.len() == 0 => {
                self.buckets = Buckets::Listed(vec![in_range(microseconds) as u32]);
            }
            _ => add(self.dense(), microseconds, 1),
        }
        self.note(microseconds, microseconds, 1, microseconds);
    }

    /// Adds all of `other`, exactly: the order of merges makes no difference.
    pub fn merge(&mut self, other: &Self) {
        self.merge_as(other, |mine| {
            mine.len() <= DENSE_ABOVE || other.buckets.len().saturating_mul(IDLE_ABOVE) < mine.len()
        });
    }

    /// As [`Self::merge`], in the least room: for what is held by the thousand and looked at seldom.
    pub fn hold(&mut self, other: &Self) {
        self.merge_as(other, |_| true);
    }

    /// Stays packed if `may_stay` says so of what is there.
    fn merge_as(&mut self, other: &Self, may_stay: impl FnOnce(&Packed) -> bool) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() && self.digits == other.digits {
            *self = other.clone();
            return;
        }
        self.note(other.min, other.max, other.count, other.sum);
        if let Buckets::Listed(_) = self.buckets {
            self.buckets = Buckets::Packed(indexed(self.digits, self.pairs()).collect());
        }
        if let Buckets::Packed(mine) = &mut self.buckets
            && self.digits == other.digits
            && may_stay(mine)
        {
            return match &other.buckets {
                Buckets::Packed(theirs) => mine.add(theirs.iter()),
                _ => mine.add(indexed(self.digits, other.pairs())),
            };
        }
        let dense = self.dense();
        other.pairs().for_each(|(value, count)| add(dense, value, count));
    }

    /// The time that the share `quantile` (0 to 1) of all recorded times does not exceed, within the digits and never
    /// outside the exact minimum and maximum. `None` if nothing was recorded.
    pub fn value_at(&self, quantile: f64) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let wanted = (quantile.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let value = match &self.buckets {
            Buckets::Dense(dense) => dense.value_at_quantile(quantile.clamp(0.0, 1.0)),
            Buckets::Packed(_) | Buckets::Listed(_) => {
                let mut seen = 0_u64;
                let mut reached = self.pairs().skip_while(|(_, count)| {
                    seen = seen.saturating_add(*count);
                    seen < wanted
                });
                reached.next().map_or(self.max, |(value, _)| value)
            }
        };
        Some(value.min(self.max).max(self.min))
    }

    /// How many times were recorded.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// True until something is recorded.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sum of all recorded times in microseconds, exact.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The shortest recorded time, exact.
    pub fn min(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.min)
    }

    /// The longest recorded time, exact.
    pub fn max(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max)
    }

    /// The mean of all recorded times, exact.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum as f64 / self.count as f64)
    }

    /// Bucket values (the highest of each bucket) with their counts, rising: for exporters that have buckets of their
    /// own.
    pub fn pairs(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        let grid = Grid::of(self.digits);
        match &self.buckets {
            Buckets::Packed(packed) => {
                Box::new(packed.iter().map(move |(index, count)| (grid.highest(index), count)))
            }
            Buckets::Listed(times) => {
                let mut pairs: Vec<(u64, u64)> =
                    times.iter().map(|time| (grid.highest(grid.index(u64::from(*time))), 1)).collect();
                pairs.sort_unstable();
                pairs.dedup_by(|(later, _), (kept, count)| {
                    later == kept && {
                        *count += 1;
                        true
                    }
                });
                Box::new(pairs.into_iter())
            }
            Buckets::Dense(dense) => {
                Box::new(dense.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())))
            }
        }
    }

    fn note(&mut self, min: u64, max: u64, count: u64, sum: u64) {
        self.count = self.count.saturating_add(count);
        self.sum = self.sum.saturating_add(sum);
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }

    /// The dense form, made on first use.
    fn dense(&mut self) -> &mut Hdr<u64> {
        if !matches!(self.buckets, Buckets::Dense(_)) {
            let mut dense = empty_hdr(self.digits);
            self.pairs().for_each(|(value, count)| add(&mut dense, value, count));
            self.buckets = Buckets::Dense(Box::new(dense));
        }
        match &mut self.buckets {
            Buckets::Dense(dense) => dense,
            Buckets::Packed(_) | Buckets::Listed(_) => unreachable!("made dense above"),
        }
    }
}

impl Buckets {
    /// How many there are, at most.
    fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Listed(times) => times.len(),
            Self::Dense(dense) => dense.distinct_values(),
        }
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let figures = |one: &Self| (one.digits, one.count, one.sum, one.min, one.max);
        figures(self) == figures(other) && self.pairs().eq(other.pairs())
    }
}

/// Values with their counts, as indices of buckets with them.
fn indexed<P: Iterator<Item = (u64, u64)>>(
    digits: u8,
    pairs: P,
) -> Map<P, impl FnMut((u64, u64)) -> (u64, u64)> {
    let grid = Grid::of(digits);
    pairs.map(move |(value, count)| (grid.index(in_range(value)), count))
}

const fn in_range(microseconds: u64) -> u64 {
    if microseconds == 0 {
        1
    } else if MAX_MICROS < microseconds {
        MAX_MICROS
    } else {
        microseconds
    }
}

/// An HDR histogram that grows by range. The bounds are constants, so making one cannot fail.
fn empty_hdr(digits: u8) -> Hdr<u64> {
    let mut hdr = Hdr::new(digits).expect("one to three digits");
    hdr.auto(true);
    hdr
}

fn add(hdr: &mut Hdr<u64>, microseconds: u64, count: u64) {
    hdr.record_n(in_range(microseconds), count).expect("it grows up to an hour");
}

#[cfg(test)]
mod tests;
