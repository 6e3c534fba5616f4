//! How long requests are held: known distributions, each request's delay a function of its id alone. Pure.

use std::time::Duration;

/// The shape of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Always the mean.
    Fixed,
    /// Even from half the mean to one and a half of it.
    Uniform,
    /// Half the mean, and an exponential tail with the other half as its mean.
    Tail,
    /// Nine of ten at half the mean, the tenth at five and a half times it.
    Bimodal,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "fixed" => Some(Self::Fixed),
            "uniform" => Some(Self::Uniform),
            "tail" => Some(Self::Tail),
            "bimodal" => Some(Self::Bimodal),
            _ => None,
        }
    }
}

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Delays {
    pub(crate) kind: Kind,
    pub(crate) mean: Duration,
}

impl Delays {
    /// The delay of the request with this id.
    pub(crate) fn of(&self, id: u64) -> Duration {
        let share = share(id);
        let factor = match self.kind {
            Kind::Fixed => 1.0,
            Kind::Uniform => 0.5 + share,
            // 1 - share is above zero, so the logarithm is finite: the longest is 19 times the mean.
            Kind::Tail => 0.5 - 0.5 * (1.0 - share).ln(),
            Kind::Bimodal => {
                if share < 0.9 {
                    0.5
                } else {
                    5.5
                }
            }
        };
        self.mean.mul_f64(factor)
    }
}

/// A number from 0 to below 1 that looks random and belongs to the id for ever (`SplitMix64`'s finish).
fn share(id: u64) -> f64 {
    let mut mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: u64 = 10_000;

    fn sorted(kind: Kind) -> Vec<f64> {
        let delays = Delays { kind, mean: Duration::from_secs(1) };
        let mut all: Vec<f64> = (0..COUNT).map(|id| delays.of(id).as_secs_f64()).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn every_kind_has_its_mean() {
        for kind in [Kind::Fixed, Kind::Uniform, Kind::Tail, Kind::Bimodal] {
            let mean = sorted(kind).iter().sum::<f64>() / COUNT as f64;
            assert!((mean - 1.0).abs() < 0.05, "{kind:?}: {mean}");
        }
    }

    #[test]
    fn percentiles_are_where_the_distribution_has_them() {
        let at = |kind, quantile: f64| sorted(kind)[(quantile * COUNT as f64) as usize];
        for (kind, quantile, expected) in [
            (Kind::Fixed, 0.99, 1.0),
            (Kind::Uniform, 0.25, 0.75),
            (Kind::Uniform, 0.99, 1.49),
            (Kind::Tail, 0.5, 0.5 + 0.5 * 2_f64.ln()),
            (Kind::Tail, 0.99, 0.5 + 0.5 * 100_f64.ln()),
            (Kind::Bimodal, 0.5, 0.5),
            (Kind::Bimodal, 0.99, 5.5),
        ] {
            let got = at(kind, quantile);
            assert!((got / expected - 1.0).abs() < 0.05, "{kind:?} {quantile}: {got} for {expected}");
        }
    }

    #[test]
    fn a_delay_belongs_to_its_id() {
        let delays = Delays { kind: Kind::Tail, mean: Duration::from_millis(20) };
        assert_eq!(delays.of(7), delays.of(7));
        assert_ne!(delays.of(7), delays.of(8));
    }
}
