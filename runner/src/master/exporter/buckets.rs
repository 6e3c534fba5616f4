//! A histogram's fine buckets gathered into the few that Prometheus gets. Counts are exact at every bound that lies
//! between two fine buckets, and within a thousandth of the bound's value elsewhere. Start at [`Bounds::gather`].

use aiotest_core::histogram::Histogram;

/// Upper bounds in a metric's own unit, rising; an infinite one is always added.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    bounds: Vec<f64>,
    /// Microseconds in one unit.
    unit: f64,
}

impl Bounds {
    /// Bounds in units of `unit` microseconds. Whatever is no finite number above zero is left out.
    pub(super) fn new(bounds: &[f64], unit: f64) -> Self {
        let mut bounds: Vec<f64> =
            bounds.iter().copied().filter(|bound| bound.is_finite() && 0.0 < *bound).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        Self { bounds, unit }
    }

    /// `(upper bound, count of this bucket alone)`, as the encoder wants them; the last bound is infinite.
    pub(super) fn gather(&self, histogram: &Histogram) -> Vec<(f64, u64)> {
        let mut buckets: Vec<(f64, u64)> = self.bounds.iter().map(|bound| (*bound, 0)).collect();
        buckets.push((f64::INFINITY, 0));
        let mut at = 0;
        for (micros, count) in histogram.pairs() {
            // The pairs rise, so the bucket only moves on; the last one takes everything.
            while buckets[at].0 * self.unit < micros as f64 {
                at += 1;
            }
            buckets[at].1 += count;
        }
        buckets
    }

    /// The sum of all values, in the metric's unit.
    pub(super) fn sum(&self, histogram: &Histogram) -> f64 {
        histogram.sum() as f64 / self.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bounds: &[f64], micros: &[u64], wanted: &[u64]) {
        let mut histogram = Histogram::new(Histogram::LATENCY);
        for micros in micros {
            histogram.record(*micros);
        }
        let buckets = Bounds::new(bounds, 1e3).gather(&histogram);
        assert_eq!(buckets.iter().map(|(_, count)| *count).collect::<Vec<_>>(), wanted);
        assert!(buckets.last().unwrap().0.is_infinite());
    }

    #[test]
    fn each_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        check(&[1.0, 2.0], &[1, 999, 1000, 1001, 2000, 2001, 9_000_000], &[3, 2, 2]);
        check(&[1.0, 2.0], &[], &[0, 0, 0]);
        check(&[], &[5, 6], &[2]);
    }

    #[test]
    fn bounds_are_sorted_and_senseless_ones_left_out() {
        check(&[2.0, f64::INFINITY, 1.0, 1.0, 0.0, -3.0, f64::NAN], &[500, 1500, 2500], &[1, 1, 1]);
    }
}
