//! Claims about when iterations begin, whose they are and of which class.

use proptest::prelude::*;

use super::*;
use crate::plan::Ramp;

const fn at(seconds: u64) -> Tick {
    Tick::from_micros(seconds * 1_000_000)
}

const SECOND: Duration = Duration::from_secs(1);

fn line(begin: u64, length: u64, from: u64, to: u64) -> Line {
    let (from, to) = (from * RATE, to * RATE);
    Line { at: at(begin), per: SECOND, length: SECOND * length as u32, from, to, before: 0 }
}

fn arrivals(weights: &[u32], lines: &[Line]) -> Arrivals {
    let mut arrivals = Arrivals { weights: weights.to_vec(), lines: Vec::new() };
    for line in lines {
        arrivals.lay(*line);
    }
    arrivals
}

/// A plan whose ramps come into force at these instants.
fn plan(instants: &[Tick]) -> Plan {
    let ramp = |(version, at): (usize, &Tick)| Ramp {
        version: version as u64 + 1,
        at: *at,
        since: *at,
        from: 9,
        to: 9,
        rate: 1.0,
    };
    Plan {
        version: instants.len() as u64,
        ramps: instants.iter().enumerate().map(ramp).collect(),
        arrivals: None,
    }
}

fn share(rows: &[(u32, u32)]) -> Share {
    let row = |(position, of): &(u32, u32)| ShareRow { position: *position, of: *of, ..ShareRow::default() };
    Share { rows: rows.iter().map(row).collect() }
}

#[test]
fn a_constant_rate_is_a_grid_that_never_drifts() {
    let arrivals = arrivals(&[1], &[line(10, 0, 300, 300)]);
    assert_eq!(arrivals.instant(0), Some(at(10)));
    assert_eq!(arrivals.instant(1), Some(Tick::from_micros(10_003_333)));
    assert_eq!(arrivals.instant(300 * 86_400), Some(at(10 + 86_400)), "a day later to the microsecond");
    assert!((arrivals.count(at(20)) - 3000.0).abs() < 1e-6);
    assert!((arrivals.rate(at(20)) - 300.0).abs() < 1e-9);
}

#[test]
fn one_a_minute_and_a_million_a_second_are_rates() {
    let slow = arrivals(&[1], &[Line { per: 60 * SECOND, ..line(0, 0, 1, 1) }]);
    assert_eq!([0, 1, 1440].map(|number| slow.instant(number).unwrap()), [at(0), at(60), at(86_400)]);
    let fast = arrivals(&[1], &[line(0, 0, MAX_RATE, MAX_RATE)]);
    assert_eq!(fast.instant(3_600_000_000), Some(at(3600)));
    let (plan, share) = (plan(&[at(0)]), share(&[(0, 1)]));
    let seen = fast.of_share(&plan, &share, at(3600)).take(3).map(|arrival| arrival.number);
    assert_eq!(seen.collect::<Vec<_>>(), [3_600_000_000, 3_600_000_001, 3_600_000_002]);
}

#[test]
fn on_a_ramp_iterations_come_closer_and_closer() {
    // 0 to 10 a second within 10 s: half a second's worth squared, 5 · t² / 10.
    let arrivals = arrivals(&[1], &[line(0, 10, 0, 10), line(10, 10, 10, 0)]);
    let seen = [0, 2, 8, 18, 50].map(|number| arrivals.instant(number).unwrap().as_micros());
    assert_eq!(seen, [0, 2_000_000, 4_000_000, 6_000_000, 10_000_000]);
    assert_eq!(arrivals.instant(99), Some(Tick::from_micros(18_585_786)), "20 - √2 s, on the way down");
    assert_eq!(arrivals.instant(101), None, "the rate is 0 from then on");
    assert!((arrivals.count(at(99)) - 100.0).abs() < 1e-6);
}

#[test]
fn without_a_rate_nothing_ever_begins() {
    let none = arrivals(&[1], &[line(0, 10, 0, 0)]);
    assert_eq!((none.instant(0), none.first_at(at(5))), (None, 0));
    assert_eq!(none.of_share(&plan(&[at(0)]), &share(&[(0, 1)]), at(0)).count(), 0);
    let later = arrivals(&[1], &[line(0, 10, 0, 0), line(10, 0, 5, 5)]);
    assert_eq!(later.instant(0), Some(at(10)));
}

#[test]
fn classes_are_as_their_weights_say_over_all_and_in_each_process() {
    let arrivals = arrivals(&[3, 0, 1], &[line(0, 0, 1000, 1000)]);
    for (position, of) in [(0, 1), (0, 2), (1, 2), (3, 8)] {
        let mut classes = [0_u32; 3];
        let share = share(&[(position, of)]);
        arrivals
            .of_share(&plan(&[at(0)]), &share, at(0))
            .take(4000)
            .for_each(|arrival| classes[arrival.class] += 1);
        assert!(classes[0].abs_diff(3000) <= 8 && classes[1] == 0, "{classes:?} of {position} of {of}");
    }
}

#[test]
fn a_number_is_found_where_counting_is_far_off() {
    // Its line begins after more iterations than can be counted, so that the one before is far from what is counted.
    let centuries = arrivals(&[1], &[line(0, 9_000_000_000, 0, 1_000_000), line(9_000_000_000, 0, 1, 1)]);
    let first = centuries.first_at(at(8_999_999_999));
    assert!(centuries.instant(first).is_some_and(|instant| at(8_999_999_999) <= instant));
    assert!(centuries.instant(first - 1).is_some_and(|instant| instant < at(8_999_999_999)));
}

/// Lines that follow one another, and an instant somewhere in them.
fn any_lines() -> impl Strategy<Value = Vec<Line>> {
    let stage = (0..20_u64, 0..400_u64, 0..400_u64);
    prop::collection::vec(stage, 1..6).prop_map(|stages| {
        let mut begin = 0;
        let lay = |(length, from, to): (u64, u64, u64)| {
            let laid = line(begin, length, from, to);
            begin += length + 1;
            laid
        };
        stages.into_iter().map(lay).collect()
    })
}

proptest! {
    #[test]
    fn instants_rise_and_agree_with_the_count(lines in any_lines(), number in 0..9_000_u64) {
        let arrivals = arrivals(&[1], &lines);
        if let (Some(instant), Some(next)) = (arrivals.instant(number), arrivals.instant(number + 1)) {
            prop_assert!(instant <= next);
        }
        if let Some(instant) = arrivals.instant(number) {
            // An instant is a whole microsecond, in which there are few.
            prop_assert!((arrivals.count(instant) - number as f64).abs() < 0.01, "{}", arrivals.count(instant));
            let first = arrivals.first_at(instant);
            prop_assert!(first <= number && arrivals.instant(first) == Some(instant));
            prop_assert!(number < arrivals.first_at(instant + Duration::from_micros(1)));
        }
    }

    #[test]
    fn each_second_has_what_the_line_says(lines in any_lines(), second in 0..100_u64) {
        let arrivals = arrivals(&[1], &lines);
        let seen = arrivals.first_at(at(second + 1)) - arrivals.first_at(at(second));
        let planned = arrivals.count(at(second + 1)) - arrivals.count(at(second));
        prop_assert!((seen as f64 - planned).abs() <= 1.0, "{seen} of {planned}");
    }

    #[test]
    fn every_iteration_is_one_process_at_its_one_instant(
        lines in any_lines(), sizes in prop::collection::vec(1..5_u32, 1..4), changes in prop::collection::vec(0..90_u64, 3),
    ) {
        let arrivals = arrivals(&[2, 1], &lines);
        let mut instants: Vec<Tick> = changes.iter().take(sizes.len() - 1).map(|second| at(*second)).collect();
        instants.insert(0, at(0));
        instants.sort_unstable();
        instants.dedup();
        let plan = plan(&instants);
        let mut all: Vec<Arrival> = Vec::new();
        for position in 0..5 {
            let rows: Vec<(u32, u32)> =
                instants.iter().zip(&sizes).map(|(_, of)| if position < *of { (position, *of) } else { (0, 0) }).collect();
            let share = share(&rows);
            let mine = arrivals.of_share(&plan, &share, at(0));
            all.extend(mine.take_while(|arrival| arrival.at < at(120)));
        }
        all.sort_unstable_by_key(|arrival| arrival.number);
        prop_assert_eq!(all.len() as u64, arrivals.first_at(at(120)));
        prop_assert!(all.iter().enumerate().all(|(number, arrival)| arrival.number == number as u64));
        prop_assert!(all.iter().all(|arrival| arrivals.instant(arrival.number) == Some(arrival.at)));
    }

    #[test]
    fn what_was_handed_out_stays_when_another_line_is_laid(lines in any_lines(), second in 1..90_u64, rate in 0..500_u64) {
        let before = arrivals(&[1], &lines);
        let mut after = before.clone();
        after.lay(line(second, 0, rate, rate));
        let known = before.first_at(at(second));
        prop_assert!((0..known).all(|number| after.instant(number) == before.instant(number)));
        prop_assert!(after.instant(known).is_none_or(|instant| at(second) <= instant));
    }

    #[test]
    fn nonsense_breaks_nothing(
        per in 0..=u64::MAX, lines in prop::collection::vec(any::<[u64; 5]>(), 0..5), from: u64, rows in prop::collection::vec(any::<(u32, u32)>(), 0..3),
    ) {
        let line = |[at, length, from, to, before]: [u64; 5]| Line {
            at: Tick::from_micros(at), per: Duration::from_micros(per), length: Duration::from_micros(length), from, to, before,
        };
        let arrivals = Arrivals { weights: vec![1], lines: lines.into_iter().map(line).collect() };
        let believed = arrivals.is_sane(1);
        if believed {
            arrivals.instant(from);
            arrivals.of_share(&plan(&[at(0)]), &share(&rows), Tick::from_micros(from)).take(9).count();
        }
        arrivals.rate(Tick::from_micros(from));
        arrivals.first_at(Tick::from_micros(from));
    }
}
