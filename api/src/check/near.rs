//! Finds the name that somebody may have meant.

/// The known name nearest to `given`, if it is near enough to be meant: at most a third of its letters differ, and
/// never more than two.
pub(super) fn near<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given: Vec<char> = given.chars().take(64).flat_map(char::to_lowercase).collect();
    let scored = known.map(|name| {
        let letters: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
        (distance(&given, &letters), letters.len(), name)
    });
    let close = scored.filter(|(distance, length, _)| *distance <= 2.min(length / 3));
    close.min_by_key(|(distance, ..)| *distance).map(|(.., name)| name)
}

/// How many letters must be added, taken away, replaced or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if 0 < i && 0 < j && x == b[j - 1] && a[i - 1] == y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_and_another_word_does_not() {
        let check = |given, expected| {
            assert_eq!(near(given, ["users", "spawnRate", "duration"].into_iter()), expected, "{given}");
        };
        check("user", Some("users"));
        check("usres", Some("users"));
        check("spawnrate", Some("spawnRate"));
        check("spawn_rate", Some("spawnRate"));
        check("durration", Some("duration"));
        check("use", None);
        check("stages", None);
        check("", None);
    }
}
