//! A set of row numbers, as ranges: what is held, free or given back. Start at [`RowSet`].

use serde::{Deserialize, Serialize};

/// Row numbers of a data set, from 0. On the wire the ends of its ranges, one behind the other: `[0, 64, 70, 71]` are
/// the rows 0 to 63 and 70.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u32>", into = "Vec<u32>")]
pub struct RowSet {
    /// Each from its first row to the one behind its last; rising, and no two touch.
    ranges: Vec<(u32, u32)>,
}

impl RowSet {
    /// All rows of a set that has so many.
    pub fn all(rows: u32) -> Self {
        Self::of([(0, rows)])
    }

    fn of(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<(u32, u32)> = ranges.into_iter().filter(|(from, to)| from < to).collect();
        sorted.sort_unstable();
        let mut set = Self::default();
        for range in sorted {
            set.push(range);
        }
        set
    }

    /// Adds a range that begins no earlier than the last one does.
    fn push(&mut self, (from, to): (u32, u32)) {
        match self.ranges.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => self.ranges.push((from, to)),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.ranges.iter().map(|(from, to)| to - from).sum()
    }

    /// Each of them, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(from, to)| *from..*to)
    }

    /// From the first row of each range to the one behind its last.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Whether this row is one of them.
    pub fn contains(&self, row: u32) -> bool {
        let next = self.ranges.partition_point(|(_, to)| *to <= row);
        self.ranges.get(next).is_some_and(|(from, _)| *from <= row)
    }

    /// Takes the rows of another set in.
    pub fn add(&mut self, other: &Self) {
        if !other.is_empty() {
            *self = Self::of(self.ranges.iter().chain(&other.ranges).copied());
        }
    }

    /// Leaves the rows of another set out.
    pub fn remove(&mut self, other: &Self) {
        let mut left = Vec::with_capacity(self.ranges.len());
        for (from, to) in &self.ranges {
            let mut from = *from;
            let next = other.ranges.partition_point(|(_, to)| *to <= from);
            for (gone_from, gone_to) in other.ranges[next..].iter().take_while(|(begin, _)| begin < to) {
                if from < *gone_from {
                    left.push((from, *gone_from));
                }
                from = *gone_to;
            }
            if from < *to {
                left.push((from, *to));
            }
        }
        self.ranges = left;
    }

    /// Keeps only the rows below `end`.
    pub fn truncate(&mut self, end: u32) {
        self.ranges.retain(|(from, _)| *from < end);
        if let Some(last) = self.ranges.last_mut() {
            last.1 = last.1.min(end);
        }
    }

    /// The first so many, or all if there are fewer.
    #[must_use]
    pub fn first(&self, rows: u32) -> Self {
        let mut left = rows;
        let mut first = Self::default();
        for (from, to) in &self.ranges {
            let taken = left.min(to - from);
            if taken == 0 {
                break;
            }
            first.ranges.push((*from, from + taken));
            left -= taken;
        }
        first
    }

    /// The row behind the last one; 0 for none.
    pub fn end(&self) -> u32 {
        self.ranges.last().map_or(0, |(_, to)| *to)
    }
}

impl From<Vec<u32>> for RowSet {
    /// Whatever a message holds makes a set: a range that is none counts for nothing.
    fn from(ends: Vec<u32>) -> Self {
        Self::of(ends.chunks_exact(2).map(|ends| (ends[0], ends[1])))
    }
}

impl From<RowSet> for Vec<u32> {
    fn from(set: RowSet) -> Self {
        set.ranges.into_iter().flat_map(|(from, to)| [from, to]).collect()
    }
}

impl FromIterator<u32> for RowSet {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        Self::of(rows.into_iter().map(|row| (row, row.saturating_add(1))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn some_rows() -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0_u32..60, 0..40)
    }

    fn set(rows: &BTreeSet<u32>) -> RowSet {
        rows.iter().copied().collect()
    }

    fn is_tidy(set: &RowSet) -> bool {
        set.ranges.iter().all(|(from, to)| from < to)
            && set.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }

    proptest! {
        #[test]
        fn ranges_are_what_a_set_of_numbers_is(one in some_rows(), other in some_rows(), number in 0_u32..70) {
            let (a, b) = (set(&one), set(&other));
            let mut sum = a.clone();
            sum.add(&b);
            prop_assert_eq!(&sum, &set(&one.union(&other).copied().collect()));
            let mut difference = a.clone();
            difference.remove(&b);
            prop_assert_eq!(&difference, &set(&one.difference(&other).copied().collect()));
            let mut below = a.clone();
            below.truncate(number);
            prop_assert_eq!(&below, &set(&one.iter().copied().filter(|row| *row < number).collect()));
            let first = a.first(number);
            prop_assert_eq!(&first, &set(&one.iter().copied().take(number as usize).collect()));
            prop_assert!([&a, &sum, &difference, &below, &first].into_iter().all(is_tidy));
            prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), one.clone());
            prop_assert_eq!((a.len() as usize, a.contains(number)), (one.len(), one.contains(&number)));
            prop_assert_eq!(a.end(), one.last().map_or(0, |last| last + 1));
        }

        #[test]
        fn whatever_a_message_holds_is_a_set(ends in prop::collection::vec(any::<u32>(), 0..20)) {
            let set = RowSet::from(ends);
            prop_assert!(is_tidy(&set));
            let text = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<RowSet>(&text).unwrap(), set);
        }
    }
}
