//! Where a histogram's buckets lie: those of HDR histograms, so that every process of a run counts in the same ones.
//!
//! One bucket for each microsecond up to twice the digits' power of ten (rounded up to a power of two); from there on each
//! doubling of the time has half as many buckets, each twice as wide. After Tene's `HdrHistogram`. Start at [`Grid::index`].

/// The buckets of so many significant digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Buckets in each doubling: a power of two, and this is its exponent.
    exponent: u32,
}

impl Grid {
    pub(super) const fn of(digits: u8) -> Self {
        Self {
            exponent: match digits {
                1 => 4,
                2 => 7,
                _ => 10,
            },
        }
    }

    /// The number of the bucket of a time.
    pub(super) const fn index(self, value: u64) -> u64 {
        let shift = (u64::BITS - value.leading_zeros()).saturating_sub(self.exponent + 1);
        ((shift as u64) << self.exponent) + (value >> shift)
    }

    /// The highest time of a bucket.
    pub(super) const fn highest(self, index: u64) -> u64 {
        let shift = (index >> self.exponent).saturating_sub(1);
        let within = index - (shift << self.exponent);
        // In the last bucket of all, that is the highest number.
        ((within + 1) << shift).wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::empty_hdr;
    use super::*;

    proptest! {
        #[test]
        fn they_are_those_of_hdr_histograms(digits in 1..=3_u8, value in prop_oneof![0..10_000_u64, any::<u64>().prop_map(|high| high >> 16)]) {
            let (grid, hdr) = (Grid::of(digits), empty_hdr(digits));
            let index = grid.index(value);
            prop_assert_eq!(grid.highest(index), hdr.highest_equivalent(value));
            prop_assert_eq!(grid.index(grid.highest(index)), index);
            prop_assert_eq!(grid.index(grid.highest(index) + 1), index + 1, "none is left out");
        }
    }

    #[test]
    fn the_highest_number_has_a_bucket() {
        for digits in 1..=3 {
            let grid = Grid::of(digits);
            assert_eq!(grid.highest(grid.index(u64::MAX)), u64::MAX);
        }
    }
}
