//! A histogram's buckets in the least room: a run holds those of hundreds of names, and keeps them as it goes on.
//!
//! Never changed in place: adding makes a new one, of exactly the room that it needs. Start at [`Packed::with`].

/// Rising buckets (indices below the highest `u64`) with their counts: for each how many are empty before it, then its
/// count, both in Elias' gamma code (as many zeros as the number has binary digits after its first, then the number). Most
/// of a name's buckets lie near each other and hold a time or two, so that four bits or five are enough where two `u64`
/// would be 128.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    bits: Box<[u8]>,
    buckets: usize,
}

impl Packed {
    /// How many buckets there are.
    pub(super) const fn len(&self) -> usize {
        self.buckets
    }

    /// Index and count of each bucket, the indices rising.
    pub(super) const fn iter(&self) -> Buckets<'_> {
        Buckets { bits: Reader { bytes: &self.bits, at: 0 }, left: self.buckets, next: 0 }
    }

    /// These buckets and `added`, whose indices rise too; equal ones become one bucket. Counts that are too high for a
    /// `u64` stay at its highest; what has none is no bucket.
    pub(super) fn with(&self, added: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut packer = Packer {
            bits: Writer { bytes: Vec::with_capacity(self.bits.len()), used: 0 },
            buckets: 0,
            next: 0,
        };
        let (mut mine, mut added) = (self.iter(), added.peekable());
        let mut next = mine.next();
        while let Some((index, mut count)) = added.next() {
            while let Some(below) = next.take_if(|(mine, _)| *mine < index) {
                packer.push(below);
                next = mine.next();
            }
            if let Some((_, equal)) = next.take_if(|(mine, _)| *mine == index) {
                count = count.saturating_add(equal);
                next = mine.next();
            }
            while let Some((_, equal)) = added.next_if(|(other, _)| *other == index) {
                count = count.saturating_add(equal);
            }
            packer.push((index, count));
        }
        while let Some(above) = next {
            packer.push(above);
            next = mine.next();
        }
        Self { bits: packer.bits.bytes.into_boxed_slice(), buckets: packer.buckets }
    }
}

impl FromIterator<(u64, u64)> for Packed {
    /// The indices must rise.
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(buckets: I) -> Self {
        Self::default().with(buckets.into_iter())
    }
}

/// What [`Packed::iter`] gives.
pub(super) struct Buckets<'a> {
    bits: Reader<'a>,
    left: usize,
    /// The least index that the next bucket can have.
    next: u64,
}

impl Iterator for Buckets<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        self.left = self.left.checked_sub(1)?;
        let index = self.next.saturating_add(self.bits.number() - 1);
        self.next = index.saturating_add(1);
        Some((index, self.bits.number()))
    }
}

struct Packer {
    bits: Writer,
    buckets: usize,
    /// The least index that the next bucket can have.
    next: u64,
}

impl Packer {
    fn push(&mut self, (index, count): (u64, u64)) {
        if count == 0 {
            return;
        }
        self.bits.number(index.saturating_sub(self.next).saturating_add(1));
        self.bits.number(count);
        self.buckets += 1;
        self.next = index.saturating_add(1);
    }
}

/// Numbers in Elias' gamma code, behind each other; the highest bit of a byte is its first.
struct Writer {
    bytes: Vec<u8>,
    /// Bits of the last byte that are written.
    used: u32,
}

impl Writer {
    /// Writes a number from 1.
    fn number(&mut self, number: u64) {
        let digits = u64::BITS - number.leading_zeros();
        self.bits(0, digits - 1);
        self.bits(number, digits);
    }

    fn bits(&mut self, bits: u64, mut count: u32) {
        while 0 < count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let taken = count.min(u8::BITS - self.used);
            count -= taken;
            let part = (bits >> count) as u8 & (0xff >> (u8::BITS - taken));
            if let Some(last) = self.bytes.last_mut() {
                *last |= part << (u8::BITS - self.used - taken);
            }
            self.used = (self.used + taken) % u8::BITS;
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Bits that were read.
    at: usize,
}

impl Reader<'_> {
    /// Bits that are in a [`Reader::window`], wherever it begins in a byte.
    const WINDOW: u32 = u64::BITS - u8::BITS;

    /// Reads a number; 1 behind the last one.
    fn number(&mut self) -> u64 {
        let mut zeros = self.window().leading_zeros();
        if zeros < Self::WINDOW / 2 {
            let number = self.window() >> (u64::BITS - 1 - 2 * zeros);
            self.at += 2 * zeros as usize + 1;
            return number;
        }
        // A number of half a window's digits or more. Behind the end there are only zeros.
        zeros = 0;
        while zeros < u64::BITS && self.bit() == 0 {
            zeros += 1;
        }
        (0..zeros.min(u64::BITS - 1)).fold(1, |number, _| number << 1 | self.bit())
    }

    fn bit(&mut self) -> u64 {
        let bit = self.window() >> (u64::BITS - 1);
        self.at += 1;
        bit
    }

    /// The bits to come, the first the highest; zeros behind the last.
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        });
        u64::from_be_bytes(bytes) << (self.at % 8)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_takes_what_it_needs() {
        for (index, count, bits) in [
            (0, 1, 2),
            (1, 1, 4),
            (2, 3, 6),
            (14, 15, 14),
            (1 << 27, 1, 56),
            (1 << 28, 1 << 28, 114),
            (u64::MAX - 1, u64::MAX, 254),
        ] {
            let packed: Packed = [(index, count)].into_iter().collect();
            assert_eq!(
                (packed.bits.len(), packed.iter().next()),
                (usize::div_ceil(bits, 8), Some((index, count)))
            );
        }
    }

    #[test]
    fn equal_indices_are_one_bucket_and_its_count_stays_in_range() {
        let packed: Packed = [(1, 2), (1, 3), (300, u64::MAX)].into_iter().collect();
        let packed = packed.with([(300, 1), (300, 1), (500, 0)].into_iter());
        assert_eq!(packed.iter().collect::<Vec<_>>(), [(1, 5), (300, u64::MAX)]);
    }

    proptest! {
        #[test]
        fn what_is_added_is_there(parts in vec(btree_map(prop_oneof![0..500_u64, 0..u64::MAX], 1..u64::MAX / 8, 0..50), 0..8)) {
            let (mut packed, mut counts) = (Packed::default(), BTreeMap::<u64, u64>::new());
            for part in parts {
                packed = packed.with(part.iter().map(|(index, count)| (*index, *count)));
                for (index, count) in part {
                    *counts.entry(index).or_default() += count;
                }
            }
            prop_assert_eq!(packed.len(), counts.len());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), counts.into_iter().collect::<Vec<_>>());
        }
    }
}
