//! Fuzzing with the stable toolchain: inputs are made by mutating good ones, for as long as `AIOTEST_FUZZ_SECONDS` says
//! (four seconds each unless it does) and as often as `AIOTEST_FUZZ_RUNS` says, and a failing one is made small and printed,
//! to be put among the good ones of its test for ever. Never decides what is right: each test does. Start at [`hold`].

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

/// Inputs between two looks at the clock.
const BATCH: u32 = 64;

/// Tests inputs until the time is over. A failure ends the test with the smallest input that fails in the same way.
pub(crate) fn hold<S: Strategy>(inputs: &S, test: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let number = |name: &str, usual: f64| {
        let given = std::env::var(name);
        given.map_or(usual, |given| {
            given.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{given}`"))
        })
    };
    let until = Instant::now() + Duration::from_secs_f64(number("AIOTEST_FUZZ_SECONDS", 4.0));
    let batches = (number("AIOTEST_FUZZ_RUNS", 0.0) / f64::from(BATCH)).ceil() as u64;
    let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
    let mut done = 0;
    while done < batches || Instant::now() < until {
        done += 1;
        if let Err(error) = TestRunner::new(config.clone()).run(inputs, &test) {
            panic!("{error}");
        }
    }
}

/// One of `corpus`, changed in a few places; with `tokens` put in that mean something to the reader.
pub(crate) fn mutated(
    corpus: &'static [&'static [u8]],
    tokens: &'static [&'static [u8]],
) -> impl Strategy<Value = Printed> {
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, new)| Change::Insert(at, new)),
        (any::<Index>(), prop::sample::select(tokens)).prop_map(|(at, new)| Change::Insert(at, new.to_vec())),
        (any::<Index>(), prop::sample::select(tokens))
            .prop_map(|(at, new)| Change::Replace(at, new.to_vec())),
        (any::<Index>(), 1_usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), 1_usize..60, any::<Index>())
            .prop_map(|(from, count, to)| Change::Copy(from, count, to)),
        (any::<Index>(), prop_oneof![Just(20_usize), Just(2_000), Just(70_000)])
            .prop_map(|(at, times)| Change::Repeat(at, times)),
    ];
    (prop::sample::select(corpus), prop::collection::vec(change, 0..5)).prop_map(|(good, changes)| {
        let mut data = good.to_vec();
        for change in changes {
            change.apply(&mut data);
        }
        Printed(data)
    })
}

/// Bytes that print as a literal which can be copied.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Printed(pub(crate) Vec<u8>);

impl Debug for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Replace(Index, Vec<u8>),
    Remove(Index, usize),
    Copy(Index, usize, Index),
    /// One byte so many times.
    Repeat(Index, usize),
}

impl Change {
    fn apply(self, data: &mut Vec<u8>) {
        let end = data.len();
        let place = |at: Index| at.index(end + 1);
        match self {
            Self::Set(at, byte) if place(at) < end => data[at.index(end + 1)] = byte,
            Self::Set(_, byte) => data.push(byte),
            Self::Insert(at, new) => drop(data.splice(place(at)..place(at), new)),
            Self::Replace(at, new) => {
                let (from, to) = (place(at), (place(at) + new.len()).min(end));
                data.splice(from..to, new);
            }
            Self::Remove(at, count) => drop(data.drain(place(at)..(place(at) + count).min(end))),
            Self::Copy(from, count, to) => {
                let piece = data[place(from)..(place(from) + count).min(end)].to_vec();
                data.splice(place(to)..place(to), piece);
            }
            Self::Repeat(at, times) => {
                let byte = data.get(place(at)).copied().unwrap_or(b'a');
                data.splice(place(at)..place(at), std::iter::repeat_n(byte, times));
            }
        }
    }
}
