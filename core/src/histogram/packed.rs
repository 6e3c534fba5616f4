//! A histogram's buckets in the least room: a run holds those of hundreds of names, and of a thousand processes, and keeps
//! them as it goes on.
//!
//! What is packed is never changed in place: what is added lies beside it until there is enough of it to pack all anew.
//! Start at [`Packed::add`].

use std::iter::{Peekable, empty};

/// What is added lies beside what is packed up to one for so many buckets of that...
const SHARE: usize = 4;
/// ...and so many more.
const FEW: usize = 64;

/// Rising buckets (indices below the highest `u64`) with their counts: for each how many are empty before it, then its
/// count, both in Elias' gamma code (as many zeros as the number has binary digits after its first, then the number). Most
/// of a name's buckets lie near each other and hold a time or two, so that four bits or five are enough where two `u64`
/// would be 128.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    bits: Box<[u8]>,
    buckets: usize,
    /// As they came: an index above, a count in the lower half. Some may be the same bucket's.
    added: Vec<u32>,
}

impl Packed {
    /// Buckets that have just come and go on at once: to pack them would cost more than their room.
    pub(super) fn passing(buckets: impl ExactSizeIterator<Item = (u64, u64)>) -> Self {
        let (mut passing, mut wide) = (Self::default(), Vec::new());
        passing.added.reserve_exact(buckets.len());
        passing.take(buckets, &mut wide);
        if wide.is_empty() { passing } else { Union::of(passing.iter(), wide.into_iter()).collect() }
    }

    /// How many buckets there are, at most.
    pub(super) const fn len(&self) -> usize {
        self.buckets + self.added.len()
    }

    /// Index and count of each bucket, the indices rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut added = self.added.clone();
        added.sort_unstable();
        let added = added.into_iter().map(|pair| (u64::from(pair >> 16), u64::from(pair & 0xffff)));
        let packed = Buckets { bits: Reader { bytes: &self.bits, at: 0 }, left: self.buckets, next: 0 };
        Union::of(packed, added)
    }

    /// Adds buckets whose indices rise. Counts that are too high for a `u64` stay at its highest; what has none is no
    /// bucket.
    pub(super) fn add(&mut self, added: impl Iterator<Item = (u64, u64)>) {
        let mut wide = Vec::new();
        self.take(added, &mut wide);
        if !wide.is_empty() || self.buckets / SHARE + FEW < self.added.len() {
            let room = self.bits.len() + self.added.len();
            *self = Self::pack(Union::of(self.iter(), wide.into_iter()), room);
        }
    }

    /// Rising buckets, packed; about so many bytes are enough.
    fn pack(buckets: impl Iterator<Item = (u64, u64)>, room: usize) -> Self {
        let bits = Writer { bytes: Vec::with_capacity(room), used: 0 };
        let mut packer = Packer { bits, buckets: 0, next: 0 };
        buckets.for_each(|bucket| packer.push(bucket));
        Self { bits: packer.bits.bytes.into_boxed_slice(), buckets: packer.buckets, added: Vec::new() }
    }

    /// Puts buckets beside what is packed, all but those whose numbers are too high for that.
    fn take(&mut self, buckets: impl Iterator<Item = (u64, u64)>, wide: &mut Vec<(u64, u64)>) {
        for (index, count) in buckets.filter(|(_, count)| 0 < *count) {
            match (u16::try_from(index), u16::try_from(count)) {
                (Ok(index), Ok(count)) => self.added.push(u32::from(index) << 16 | u32::from(count)),
                _ => wide.push((index, count)),
            }
        }
    }
}

impl FromIterator<(u64, u64)> for Packed {
    /// The indices must not fall.
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(buckets: I) -> Self {
        Self::pack(Union::of(buckets.into_iter(), empty()), 0)
    }
}

/// The buckets of two, neither of whose indices fall. Equal ones become one.
struct Union<A: Iterator, B: Iterator> {
    ones: Peekable<A>,
    others: Peekable<B>,
}

impl<A: Iterator<Item = (u64, u64)>, B: Iterator<Item = (u64, u64)>> Union<A, B> {
    fn of(ones: A, others: B) -> Self {
        Self { ones: ones.peekable(), others: others.peekable() }
    }
}

impl<A: Iterator<Item = (u64, u64)>, B: Iterator<Item = (u64, u64)>> Iterator for Union<A, B> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let (index, mut count) = match (self.ones.peek(), self.others.peek()) {
            (Some((one, _)), Some((other, _))) if one <= other => self.ones.next()?,
            (Some(_), None) => self.ones.next()?,
            _ => self.others.next()?,
        };
        while let Some((_, equal)) = self.ones.next_if(|(other, _)| *other == index) {
            count = count.saturating_add(equal);
        }
        while let Some((_, equal)) = self.others.next_if(|(other, _)| *other == index) {
            count = count.saturating_add(equal);
        }
        Some((index, count))
    }
}

/// What is packed.
struct Buckets<'a> {
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
        let mut packed: Packed = [(1, 2), (1, 3), (300, u64::MAX)].into_iter().collect();
        packed.add([(300, 1), (300, 1), (500, 0)].into_iter());
        assert_eq!(packed.iter().collect::<Vec<_>>(), [(1, 5), (300, u64::MAX)]);
    }

    proptest! {
        #[test]
        fn what_is_added_is_there(parts in vec(btree_map(prop_oneof![0..500_u64, 0..u64::MAX], 1..u64::MAX / 8, 0..50), 0..8)) {
            let (mut packed, mut counts) = (Packed::default(), BTreeMap::<u64, u64>::new());
            for part in parts {
                packed.add(part.iter().map(|(index, count)| (*index, *count)));
                for (index, count) in part {
                    *counts.entry(index).or_default() += count;
                }
            }
            prop_assert!(counts.len() <= packed.len() && packed.added.len() <= packed.buckets / SHARE + FEW);
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), counts.into_iter().collect::<Vec<_>>());
        }
    }
}
