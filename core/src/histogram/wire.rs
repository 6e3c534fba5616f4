//! Histograms as they travel: whatever another process wrote becomes buckets of ours, or is refused.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::packed::Packed;
use super::{Buckets, Histogram, indexed};

/// The most pairs that are accepted from the wire; the dense form has fewer buckets than this.
const MAX_PAIRS: usize = 65_536;
/// The most times that a histogram from the wire may hold: far above any run, far below where sums overflow.
const MAX_COUNT: u64 = 1 << 48;

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
        Wire { digits: self.digits, sum: self.sum, min, max, pairs: self.pairs().collect() }
            .serialize(serializer)
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
        let pairs = wire.pairs.into_iter().filter(|(_, count)| 0 < *count).collect::<Vec<_>>();
        if !pairs.is_sorted_by_key(|(value, _)| *value) {
            return Err(D::Error::custom("a histogram's pairs must rise"));
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
        // Whatever another writer sent becomes buckets of ours.
        let buckets = Buckets::Packed(Packed::passing(indexed(wire.digits, pairs.into_iter())));
        Ok(Self { digits, buckets, count, sum, min, max })
    }
}
