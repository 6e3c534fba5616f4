//! Whole numbers for a master to hand out: users by class, and by process and class.
//!
//! Never moves more users than evenness asks: given what was, the nearest of all even answers is preferred. Start at
//! [`largest_remainder`] and [`matrix`].

use std::collections::VecDeque;

/// Splits `users` over the weights; the leftover goes to the largest remainders, of equal ones to the first. A weight
/// of 0 gets none; all zeros where every weight is 0.
pub fn largest_remainder(users: u32, weights: &[u32]) -> Vec<u32> {
    let whole: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if whole == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u32| u64::from(users) * u64::from(*weight);
    let mut parts: Vec<u32> = weights.iter().map(|weight| (exact(weight) / whole) as u32).collect();
    let left = users - parts.iter().sum::<u32>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|class| (std::cmp::Reverse(exact(&weights[*class]) % whole), *class));
    order.iter().take(left as usize).for_each(|class| parts[*class] += 1);
    parts
}

/// A matrix with these sums of rows and of columns, each cell within one of its even part, near to `previous` where
/// there is a choice. The two sums must be equal; rows that `previous` lacks count as zeros.
pub fn matrix(rows: &[u32], columns: &[u32], previous: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let whole: u64 = rows.iter().map(|users| u64::from(*users)).sum();
    debug_assert_eq!(whole, columns.iter().map(|users| u64::from(*users)).sum::<u64>());
    if whole == 0 {
        return vec![vec![0; columns.len()]; rows.len()];
    }
    let mut rounding = Rounding::new(rows, columns, whole);
    let before =
        |row: usize, column: usize| previous.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0);
    for wanted in [true, false] {
        for row in 0..rows.len() {
            for column in 0..columns.len() {
                if (rounding.cells[row][column] < before(row, column)) == wanted {
                    rounding.raise_if_needed(row, column);
                }
            }
        }
    }
    for row in 0..rows.len() {
        while 0 < rounding.row_needs[row] && rounding.augment(row) {}
    }
    rounding.cells
}

struct Rounding {
    cells: Vec<Vec<u32>>,
    /// Cells with a fraction, which may be one higher.
    open: Vec<Vec<bool>>,
    raised: Vec<Vec<bool>>,
    row_needs: Vec<u32>,
    column_needs: Vec<u32>,
}

impl Rounding {
    fn new(rows: &[u32], columns: &[u32], whole: u64) -> Self {
        let exact = |row: &u32, column: &u32| u64::from(*row) * u64::from(*column);
        let map = |row: &u32, cell: fn(u64, u64) -> u32| -> Vec<u32> {
            columns.iter().map(|column| cell(exact(row, column), whole)).collect()
        };
        let cells: Vec<Vec<u32>> =
            rows.iter().map(|row| map(row, |part, whole| (part / whole) as u32)).collect();
        let open = rows
            .iter()
            .map(|row| columns.iter().map(|column| !exact(row, column).is_multiple_of(whole)).collect())
            .collect();
        let row_needs = rows.iter().zip(&cells).map(|(users, row)| users - row.iter().sum::<u32>()).collect();
        let column_needs = columns
            .iter()
            .enumerate()
            .map(|(column, users)| users - cells.iter().map(|row| row[column]).sum::<u32>())
            .collect();
        let raised = vec![vec![false; columns.len()]; rows.len()];
        Self { cells, open, raised, row_needs, column_needs }
    }

    fn raise_if_needed(&mut self, row: usize, column: usize) {
        let free = self.open[row][column] && !self.raised[row][column];
        if free && 0 < self.row_needs[row] && 0 < self.column_needs[column] {
            self.flip(row, column);
            self.row_needs[row] -= 1;
            self.column_needs[column] -= 1;
        }
    }

    fn flip(&mut self, row: usize, column: usize) {
        let raised = &mut self.raised[row][column];
        *raised = !*raised;
        let cell = &mut self.cells[row][column];
        *cell = if *raised { *cell + 1 } else { *cell - 1 };
    }

    /// Gives `start` one more by a chain of exchanges with other rows. There is always one: the exact parts are a
    /// solution in fractions, so there is one in whole numbers.
    fn augment(&mut self, start: usize) -> bool {
        let mut came_from: Vec<Option<usize>> = vec![None; self.column_needs.len()];
        let mut freed_by: Vec<Option<usize>> = vec![None; self.row_needs.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(row) = queue.pop_front() {
            for column in 0..self.column_needs.len() {
                if came_from[column].is_some() || !self.open[row][column] || self.raised[row][column] {
                    continue;
                }
                came_from[column] = Some(row);
                if 0 < self.column_needs[column] {
                    self.exchange(column, &came_from, &freed_by);
                    self.row_needs[start] -= 1;
                    self.column_needs[column] -= 1;
                    return true;
                }
                for (other, freed) in freed_by.iter_mut().enumerate() {
                    if other != start && freed.is_none() && self.raised[other][column] {
                        *freed = Some(column);
                        queue.push_back(other);
                    }
                }
            }
        }
        false
    }

    fn exchange(&mut self, last: usize, came_from: &[Option<usize>], freed_by: &[Option<usize>]) {
        let mut column = last;
        while let Some(row) = came_from[column] {
            self.flip(row, column);
            let Some(freed) = freed_by[row] else { return };
            self.flip(row, freed);
            column = freed;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::share::slot_total;

    #[track_caller]
    fn check(users: u32, weights: &[u32], parts: &[u32]) {
        assert_eq!(largest_remainder(users, weights), parts);
    }

    #[test]
    fn leftover_users_go_to_the_largest_remainders() {
        check(10, &[3, 3, 1], &[4, 4, 2]);
        check(10, &[1, 1, 1], &[4, 3, 3]);
        check(1, &[1, 9], &[0, 1]);
    }

    #[test]
    fn a_weight_of_zero_gets_no_users() {
        check(7, &[0, 2, 0], &[0, 7, 0]);
        check(7, &[0, 0], &[0, 0]);
        check(7, &[], &[]);
    }

    #[test]
    fn the_largest_numbers_are_split_exactly() {
        check(u32::MAX, &[u32::MAX, u32::MAX], &[u32::MAX / 2 + 1, u32::MAX / 2]);
    }

    #[test]
    fn a_matrix_stays_as_it_was_where_it_can() {
        let before = matrix(&[3, 3, 2], &[4, 4], &[]);
        assert_eq!(matrix(&[3, 3, 2], &[4, 4], &before), before);
        let mirrored: Vec<Vec<u32>> = before.iter().map(|row| vec![row[1], row[0]]).collect();
        assert_eq!(matrix(&[3, 3, 2], &[4, 4], &mirrored), mirrored);
    }

    fn weights() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0..60_u32, 1..9)
            .prop_filter("some weight", |weights| weights.iter().any(|w| 0 < *w))
    }

    proptest! {
        #[test]
        fn parts_add_up_and_are_within_one_of_exact(users in 0..100_000_u32, weights in weights()) {
            let parts = largest_remainder(users, &weights);
            prop_assert_eq!(parts.iter().sum::<u32>(), users);
            let whole: u32 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = f64::from(users) * f64::from(*weight) / f64::from(whole);
                prop_assert!((f64::from(*part) - exact).abs() < 1.0);
            }
        }

        #[test]
        fn a_matrix_keeps_both_sums_and_every_cell_within_one(
            users in 0..3000_u32, of in 1..25_u32, weights in weights(), noise in prop::collection::vec(prop::collection::vec(0..90_u32, 9), 25),
        ) {
            let rows: Vec<u32> = (0..of).map(|position| slot_total(users, position, of)).collect();
            let columns = largest_remainder(users, &weights);
            let matrix = matrix(&rows, &columns, &noise);
            for (row, users) in matrix.iter().zip(&rows) {
                prop_assert_eq!(row.iter().sum::<u32>(), *users);
            }
            for (column, wanted) in columns.iter().enumerate() {
                prop_assert_eq!(matrix.iter().map(|row| row[column]).sum::<u32>(), *wanted);
                for (row, total) in matrix.iter().zip(&rows) {
                    let exact = f64::from(*total) * f64::from(*wanted) / f64::from(users.max(1));
                    prop_assert!((f64::from(row[column]) - exact).abs() < 1.0);
                }
            }
        }
    }
}
