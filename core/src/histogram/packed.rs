//! A histogram's buckets in the least room: a run holds those of hundreds of names, and keeps them as it goes on.
//!
//! Never changed in place: adding makes a new one, of exactly the room that it needs. Start at [`Packed::with`].

/// Before a rise that has no room in a byte.
const ESCAPE: u8 = 0xff;

/// Buckets by rising value, each as its rise above the one before and its count. In one byte if few times fell into a
/// near one (`0rrrrccc`: a rise of 1 to 16, a count of 1 to 8); else the rise in one byte (`1rrrrrrr`) where it is below
/// 127, and the count behind it in LEB128; else both in LEB128 behind a byte of ones. As two `u64` it would be sixteen
/// bytes, and a name that is asked for now and then has hundreds of buckets of the first kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    buckets: usize,
}

impl Packed {
    /// How many buckets there are.
    pub(super) const fn len(&self) -> usize {
        self.buckets
    }

    /// Value and count of each bucket, the values rising.
    pub(super) const fn iter(&self) -> Pairs<'_> {
        Pairs { bytes: &self.bytes, value: 0 }
    }

    /// These buckets and `added`, whose values rise too; equal ones become one bucket. Counts that are too high for a
    /// `u64` stay at its highest.
    pub(super) fn with(&self, added: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut packer = Packer { bytes: Vec::with_capacity(self.bytes.len()), buckets: 0, before: 0 };
        let (mut mine, mut added) = (self.iter(), added.peekable());
        let mut next = mine.next();
        while let Some((value, mut count)) = added.next() {
            while let Some(below) = next.take_if(|(mine, _)| *mine < value) {
                packer.push(below);
                next = mine.next();
            }
            if let Some((_, equal)) = next.take_if(|(mine, _)| *mine == value) {
                count = count.saturating_add(equal);
                next = mine.next();
            }
            while let Some((_, equal)) = added.next_if(|(other, _)| *other == value) {
                count = count.saturating_add(equal);
            }
            packer.push((value, count));
        }
        while let Some(above) = next {
            packer.push(above);
            next = mine.next();
        }
        Self { bytes: packer.bytes.into_boxed_slice(), buckets: packer.buckets }
    }
}

impl FromIterator<(u64, u64)> for Packed {
    /// The values must rise.
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(pairs: I) -> Self {
        Self::default().with(pairs.into_iter())
    }
}

/// What [`Packed::iter`] gives.
pub(super) struct Pairs<'a> {
    bytes: &'a [u8],
    value: u64,
}

impl Iterator for Pairs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        let (rise, count) = match *first {
            small @ ..0x80 => (u64::from(small >> 3) + 1, u64::from(small & 7) + 1),
            ESCAPE => (read(&mut self.bytes)?, read(&mut self.bytes)?),
            rise => (u64::from(rise & 0x7f), read(&mut self.bytes)?),
        };
        self.value = self.value.saturating_add(rise);
        Some((self.value, count))
    }
}

struct Packer {
    bytes: Vec<u8>,
    buckets: usize,
    /// Value of the last bucket.
    before: u64,
}

impl Packer {
    fn push(&mut self, (value, count): (u64, u64)) {
        match (value.saturating_sub(self.before), count) {
            (rise @ 1..=16, 1..=8) => self.bytes.push((rise as u8 - 1) << 3 | (count as u8 - 1)),
            (rise @ ..0x7f, _) => {
                self.bytes.push(rise as u8 | 0x80);
                write(&mut self.bytes, count);
            }
            (rise, _) => {
                self.bytes.push(ESCAPE);
                write(&mut self.bytes, rise);
                write(&mut self.bytes, count);
            }
        }
        self.buckets += 1;
        self.before = value;
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while 0x7f < number {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_takes_what_it_needs() {
        for (rise, count, bytes) in [
            (1, 1, 1),
            (16, 8, 1),
            (17, 8, 2),
            (16, 9, 2),
            (126, 127, 2),
            (126, 128, 3),
            (127, 1, 3),
            (u64::MAX, u64::MAX, 21),
        ] {
            let packed: Packed = [(rise, count)].into_iter().collect();
            assert_eq!((packed.bytes.len(), packed.iter().next()), (bytes, Some((rise, count))));
        }
    }

    #[test]
    fn equal_values_are_one_bucket_and_its_count_stays_in_range() {
        let packed: Packed = [(1, 2), (1, 3), (300, u64::MAX)].into_iter().collect();
        let packed = packed.with([(300, 1), (300, 1), (u64::MAX, 0)].into_iter());
        assert_eq!(packed.iter().collect::<Vec<_>>(), [(1, 5), (300, u64::MAX), (u64::MAX, 0)]);
    }

    proptest! {
        #[test]
        fn what_is_added_is_there(parts in vec(btree_map(prop_oneof![0..500_u64, any::<u64>()], 0..u64::MAX / 8, 0..50), 0..8)) {
            let (mut packed, mut counts) = (Packed::default(), BTreeMap::<u64, u64>::new());
            for part in parts {
                packed = packed.with(part.iter().map(|(value, count)| (*value, *count)));
                for (value, count) in part {
                    *counts.entry(value).or_default() += count;
                }
            }
            prop_assert_eq!(packed.len(), counts.len());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), counts.into_iter().collect::<Vec<_>>());
        }
    }
}
