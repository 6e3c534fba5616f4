//! Times in which the interpreter's loop did not turn, and which line of the scenario they belong to. Pure: the time is
//! an argument, and so is what was seen of the stack. Start at [`Blocks::turned`] and [`Blocks::look`].

use std::time::{Duration, Instant};

use aiotest_core::health::{Blocked, Usage};

/// A loop that is this late is looked at.
const LATE: Duration = Duration::from_millis(100);
/// Between looks at a block that is younger than a second...
const OFTEN: Duration = Duration::from_millis(100);
/// ...and at an older one.
const SELDOM: Duration = Duration::from_secs(1);

/// What is known of the loop.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Between two turns of a loop that is not blocked, at most.
    period: Duration,
    turned: Instant,
    /// What was blocked until then belongs to a place already.
    charged: Instant,
    asked: Option<Instant>,
    seen: Option<Instant>,
    place: Option<String>,
    /// How long this block has been at this place.
    here: Duration,
}

impl Blocks {
    /// A loop that has just turned, and will again within `period`.
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        Self {
            period,
            turned: now,
            charged: now + period,
            asked: None,
            seen: None,
            place: None,
            here: Duration::ZERO,
        }
    }

    /// The loop turns: a block, if there was one, is over.
    pub(super) fn turned(&mut self, now: Instant, usage: &mut Usage) {
        self.charge(now, usage);
        *self = Self::new(self.period, now);
    }

    /// The whole process stood still for so long, so nothing is known of that time.
    pub(super) fn stood_still(&mut self, gap: Duration) {
        self.turned += gap;
        self.charged += gap;
    }

    /// Whether the stack is to be looked at now.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let late = self.late(now);
        let pause = if late < SELDOM { OFTEN } else { SELDOM };
        let due = LATE <= late && self.asked.is_none_or(|asked| pause <= now.duration_since(asked));
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Where the stack was seen. What was blocked before belongs to the place that was seen before.
    pub(super) fn seen(&mut self, now: Instant, place: String, usage: &mut Usage) {
        if self.late(now) < LATE {
            // The answer came when it was over.
            return;
        }
        self.seen = Some(now);
        if self.place.as_ref() != Some(&place) {
            if self.place.is_some() {
                self.charge(now, usage);
                self.here = Duration::ZERO;
            }
            self.place = Some(place);
        }
        self.charge(now, usage);
    }

    /// For how long the stack has not been seen in this block.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        self.seen.map_or_else(|| self.late(now), |seen| now.saturating_duration_since(seen))
    }

    /// The block that is on, once it has lasted for `limit`.
    pub(super) fn stuck(&self, now: Instant, limit: Duration) -> Option<Blocked> {
        let late = self.late(now);
        let place = || self.place.clone().unwrap_or_else(|| "an unknown line".to_owned());
        (limit <= late).then(|| Blocked { place: place(), time: late, longest: late })
    }

    fn late(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.turned + self.period)
    }

    fn charge(&mut self, now: Instant, usage: &mut Usage) {
        if let Some(place) = &self.place {
            let time = now.saturating_duration_since(self.charged);
            self.here += time;
            self.charged = self.charged.max(now);
            usage.block(place, time, self.here);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_loop_that_turns_is_never_looked_at() {
        let (start, mut usage) = (Instant::now(), Usage::default());
        let mut blocks = Blocks::new(PERIOD, start);
        for turn in 1..100 {
            let now = start + turn * ms(100);
            assert!(!blocks.look(now));
            blocks.turned(now, &mut usage);
        }
        assert!(usage.blocked.is_empty());
    }

    #[test]
    fn a_block_belongs_to_the_lines_that_were_seen_in_it() {
        let (start, mut usage) = (Instant::now(), Usage::default());
        let mut blocks = Blocks::new(PERIOD, start);
        let mut looks = 0;
        for step in 1..30 {
            let now = start + step * ms(20);
            if blocks.look(now) {
                looks += 1;
                let place = if now < start + ms(300) { "a.py:1 in f" } else { "a.py:2 in g" };
                blocks.seen(now, place.to_owned(), &mut usage);
            }
        }
        assert_eq!(looks, 5, "at 160, 260, 360, 460 and 560 ms");
        blocks.turned(start + ms(650), &mut usage);
        let block = |place: &str, time| Blocked { place: place.into(), time: ms(time), longest: ms(time) };
        assert_eq!(usage.blocked, [block("a.py:1 in f", 310), block("a.py:2 in g", 290)]);
        assert!(!blocks.look(start + ms(700)), "it is over");
    }

    #[test]
    fn a_process_that_was_frozen_was_not_stuck() {
        let start = Instant::now();
        let mut blocks = Blocks::new(PERIOD, start);
        blocks.stood_still(ms(60_000));
        assert!(!blocks.look(start + ms(60_100)));
        assert_eq!(blocks.stuck(start + ms(60_100), ms(100)), None);
    }

    #[test]
    fn blocks_at_one_line_add_up_and_the_longest_is_kept() {
        let (start, mut usage) = (Instant::now(), Usage::default());
        let mut blocks = Blocks::new(PERIOD, start);
        for (at, long) in [(0, 300), (1_000, 500), (2_000, 300)] {
            blocks.turned(start + ms(at), &mut usage);
            assert!(blocks.look(start + ms(at + 160)));
            blocks.seen(start + ms(at + 160), "a.py:1 in f".into(), &mut usage);
            blocks.turned(start + ms(at + long), &mut usage);
        }
        let expected = Blocked { place: "a.py:1 in f".into(), time: ms(950), longest: ms(450) };
        assert_eq!(usage.blocked, [expected]);
    }

    #[test]
    fn a_long_block_is_looked_at_once_a_second_and_is_stuck_in_the_end() {
        let (start, mut usage) = (Instant::now(), Usage::default());
        let mut blocks = Blocks::new(PERIOD, start);
        let looks = (0..3_000).filter(|step| blocks.look(start + *step * ms(10))).count();
        assert!((35..45).contains(&looks), "{looks}");
        assert_eq!(blocks.stuck(start + ms(30_000), ms(30_000)), None);
        assert_eq!(blocks.silent(start + ms(30_050)), ms(30_000));
        let stuck = blocks.stuck(start + ms(30_050), ms(30_000)).unwrap();
        assert_eq!((stuck.place.as_str(), stuck.longest), ("an unknown line", ms(30_000)));
        blocks.seen(start + ms(30_100), "a.py:1 in f".into(), &mut usage);
        assert_eq!(blocks.stuck(start + ms(30_200), ms(30_000)).unwrap().place, "a.py:1 in f");
        assert_eq!(blocks.silent(start + ms(30_200)), ms(100));
        blocks.turned(start + ms(30_300), &mut usage);
        assert_eq!(blocks.stuck(start + ms(30_301), ms(1)), None);
    }
}
