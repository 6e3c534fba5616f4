//! Latency histograms that merge exactly, over any number of processes.
//!
//! Values are microseconds from 1 µs to 1 h in HDR buckets; sum, minimum and maximum are kept beside them and are
//! exact. A histogram that came over the wire stays a sorted list of pairs until something is recorded into it, so
//! that holding the reports of many processes costs little. Never grows beyond its range. Start at [`Histogram`].

use hdrhistogram::Histogram as Hdr;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest time that is told apart: one hour, in microseconds. Longer ones count as this in the buckets.
pub const MAX_MICROS: u64 = 3_600_000_000;
/// Pairs above which a list turns into dense buckets: adding to the list would cost more.
const DENSE_ABOVE: usize = 512;
/// The most pairs that are accepted from the wire; the dense form has fewer buckets than this.
const MAX_PAIRS: usize = 65_536;
/// The most times that a histogram from the wire may hold: far above any run, far below where sums overflow.
const MAX_COUNT: u64 = 1 << 48;

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
    /// Bucket value (the highest of its bucket) and count, rising.
    Sparse(Vec<(u64, u64)>),
    Dense(Box<Hdr<u64>>),
}

impl Histogram {
    /// Three significant digits: 0.1 %. For what thresholds and tables are made of.
    pub const LATENCY: u8 = 3;
    /// Two significant digits: 1 %, in a tenth of the room. For the phases of a call.
    pub const PHASE: u8 = 2;

    /// An empty histogram; takes no room until something is recorded. `digits` outside 1 to 3 are taken as 3.
    pub const fn new(digits: u8) -> Self {
        let digits = if 1 <= digits && digits <= 3 { digits } else { Self::LATENCY };
        Self { digits, buckets: Buckets::Sparse(Vec::new()), count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Adds one time. Zero counts as 1 µs, and more than an hour as an hour, in the quantiles; never in the sum and
    /// the maximum.
    pub fn record(&mut self, microseconds: u64) {
        add(self.dense(), microseconds, 1);
        self.note(microseconds, microseconds, 1, microseconds);
    }

    /// Adds all of `other`, exactly: the order of merges makes no difference.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            let digits = self.digits;
            *self = other.clone();
            if digits == other.digits {
                return;
            }
            let pairs = self.pairs();
            *self = Self { digits, buckets: Buckets::Sparse(Vec::new()), ..self.clone() };
            self.add_pairs(&pairs);
            return;
        }
        self.note(other.min, other.max, other.count, other.sum);
        match &other.buckets {
            Buckets::Sparse(pairs) if other.digits == self.digits => self.add_pairs(pairs),
            _ => self.add_pairs(&other.pairs()),
        }
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
            Buckets::Sparse(pairs) => {
                let mut seen = 0_u64;
                pairs
                    .iter()
                    .find(|(_, count)| {
                        seen = seen.saturating_add(*count);
                        wanted <= seen
                    })
                    .map_or(self.max, |(value, _)| *value)
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
    pub fn pairs(&self) -> Vec<(u64, u64)> {
        match &self.buckets {
            Buckets::Sparse(pairs) => pairs.clone(),
            Buckets::Dense(dense) => {
                dense.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
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
        if let Buckets::Sparse(pairs) = &self.buckets {
            let mut dense = empty_hdr(self.digits);
            for (value, count) in pairs {
                add(&mut dense, *value, *count);
            }
            self.buckets = Buckets::Dense(Box::new(dense));
        }
        match &mut self.buckets {
            Buckets::Dense(dense) => dense,
            Buckets::Sparse(_) => unreachable!("made dense above"),
        }
    }

    fn add_pairs(&mut self, added: &[(u64, u64)]) {
        if let Buckets::Sparse(pairs) = &mut self.buckets
            && pairs.len().saturating_add(added.len()) <= DENSE_ABOVE
        {
            *pairs = merge_sorted(pairs, added);
            return;
        }
        let dense = self.dense();
        for (value, count) in added {
            add(dense, *value, *count);
        }
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let figures = |one: &Self| (one.digits, one.count, one.sum, one.min, one.max);
        figures(self) == figures(other) && self.pairs() == other.pairs()
    }
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

fn merge_sorted(left: &[(u64, u64)], right: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(left.len().saturating_add(right.len()));
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 <= b.0 => left.next(),
            (Some(_), None) => left.next(),
            (_, Some(_)) => right.next(),
            (None, None) => return merged,
        };
        let Some(&(value, count)) = next else { return merged };
        match merged.last_mut() {
            Some(last) if last.0 == value => last.1 = last.1.saturating_add(count),
            _ => merged.push((value, count)),
        }
    }
}

/// The form on the wire.
#[derive(Serialize, Deserialize)]
struct Wire {
    digits: u8,
    sum: u64,
    min: u64,
    max: u64,
    pairs: Vec<(u64, u64)>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (min, max) = (self.min().unwrap_or(0), self.max);
        Wire { digits: self.digits, sum: self.sum, min, max, pairs: self.pairs() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.digits < 1 || 3 < wire.digits {
            return Err(D::Error::custom(format!("a histogram has 1 to 3 digits, not {}", wire.digits)));
        }
        if MAX_PAIRS < wire.pairs.len() {
            return Err(D::Error::custom(format!(
                "a histogram has at most {MAX_PAIRS} pairs, not {}",
                wire.pairs.len()
            )));
        }
        if wire.max < wire.min {
            return Err(D::Error::custom("a histogram's `max` is below its `min`"));
        }
        // Recorded once here, so that whatever another writer sent becomes buckets of ours.
        let grid = empty_hdr(wire.digits);
        let mut pairs: Vec<(u64, u64)> = Vec::with_capacity(wire.pairs.len());
        for (value, count) in wire.pairs {
            let value = grid.highest_equivalent(in_range(value));
            match pairs.last_mut() {
                _ if count == 0 => {}
                Some(last) if last.0 == value => last.1 = last.1.saturating_add(count),
                Some(last) if value < last.0 => {
                    return Err(D::Error::custom("a histogram's pairs must rise"));
                }
                _ => pairs.push((value, count)),
            }
        }
        let count = pairs.iter().fold(0_u64, |total, pair| total.saturating_add(pair.1));
        if MAX_COUNT < count {
            return Err(D::Error::custom(format!(
                "a histogram holds at most {MAX_COUNT} times, not {count}"
            )));
        }
        if count == 0 {
            return Ok(Self::new(wire.digits));
        }
        let (digits, sum, min, max) = (wire.digits, wire.sum, wire.min, wire.max);
        Ok(Self { digits, buckets: Buckets::Sparse(pairs), count, sum, min, max })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new(Histogram::LATENCY);
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    fn over_the_wire(histogram: &Histogram) -> Histogram {
        serde_json::from_str(&serde_json::to_string(histogram).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        let empty = Histogram::new(Histogram::PHASE);
        assert_eq!((empty.value_at(0.5), empty.min(), empty.max(), empty.count()), (None, None, None, 0));
        assert_eq!(over_the_wire(&empty), empty);
    }

    #[test]
    fn figures_beside_the_buckets_are_exact() {
        let histogram = of(&[0, 123_457, 7_200_000_000]);
        assert_eq!((histogram.min(), histogram.max()), (Some(0), Some(7_200_000_000)));
        assert_eq!(histogram.sum(), 7_200_123_457);
        assert_eq!(
            histogram.value_at(1.0),
            Some(histogram.value_at(0.999).unwrap()),
            "an hour is the last bucket"
        );
    }

    #[test]
    fn pairs_from_elsewhere_become_buckets_of_ours() {
        let text =
            r#"{"digits": 2, "sum": 0, "min": 5, "max": 9, "pairs": [[0, 2], [100000, 1], [100001, 1]]}"#;
        let histogram: Histogram = serde_json::from_str(text).unwrap();
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.pairs().len(), 2);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        for (text, said) in [
            (r#"{"digits": 9, "sum": 0, "min": 0, "max": 0, "pairs": []}"#, "1 to 3 digits"),
            (r#"{"digits": 3, "sum": 0, "min": 0, "max": 9, "pairs": [[9, 1], [2, 1]]}"#, "must rise"),
            (r#"{"digits": 3, "sum": 0, "min": 3, "max": 2, "pairs": [[3, 1]]}"#, "below its `min`"),
        ] {
            let error = serde_json::from_str::<Histogram>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_split_over_the_wire_merges_to_the_same(
            parts in prop::collection::vec(prop::collection::vec(0..10_000_000_u64, 0..300), 1..6),
            order in any::<prop::sample::Index>(),
        ) {
            let whole = of(&parts.concat());
            let mut merged = Histogram::new(Histogram::LATENCY);
            let first = order.index(parts.len());
            for part in parts[first..].iter().chain(&parts[..first]) {
                merged.merge(&over_the_wire(&of(part)));
            }
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(over_the_wire(&merged), merged);
        }

        #[test]
        fn quantiles_are_within_a_thousandth(mut values in prop::collection::vec(1..MAX_MICROS, 1..400), q in 0.0..1.0_f64) {
            let (dense, sparse) = (of(&values), over_the_wire(&of(&values)));
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64;
            for histogram in [dense, sparse] {
                let got = histogram.value_at(q).unwrap() as f64;
                prop_assert!((got - exact).abs() <= exact / 1000.0 + 1.0, "{got} for {exact}");
            }
        }

        #[test]
        fn absurd_numbers_break_nothing(
            pairs in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20), sum: u64, min: u64, max: u64, digits in 0..5_u8,
        ) {
            let text = serde_json::json!({"digits": digits, "sum": sum, "min": min, "max": max, "pairs": pairs});
            if let Ok(mut histogram) = serde_json::from_value::<Histogram>(text) {
                histogram.merge(&histogram.clone());
                histogram.record(u64::MAX);
                histogram.value_at(0.5);
                histogram.mean();
            }
        }
    }
}
