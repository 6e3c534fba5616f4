//! Times of day. core has no clock: whoever has one says what its tick zero was.
//!
//! Knows no time zones and no leap seconds. Start at [`WallClock::rfc3339`].

use serde::{Deserialize, Serialize};

use crate::tick::Tick;

/// When tick zero was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallClock {
    /// Microseconds from 1970-01-01T00:00:00Z to tick zero.
    pub zero: u64,
}

impl WallClock {
    /// The instant as RFC 3339 in UTC, with milliseconds. From the year 10000 on, the last instant before it.
    pub fn rfc3339(self, instant: Tick) -> String {
        const LAST: u64 = 253_402_300_799_999;
        let milliseconds = (self.zero.saturating_add(instant.as_micros()) / 1000).min(LAST);
        let (days, day) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
        let (year, month, date) = date_of(days);
        let (hour, minute) = (day / 3_600_000, day / 60_000 % 60);
        let (second, milli) = (day / 1000 % 60, day % 1000);
        format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Year, month and day of a number of days since 1970-01-01, by the 400-year cycle of the calendar. The year begins in
/// March here, so that the day that some years lack comes last.
const fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, text: &str) {
        assert_eq!(WallClock { zero: seconds * 1_000_000 }.rfc3339(Tick::from_micros(7_900)), text);
    }

    #[test]
    fn instants_are_written_in_utc() {
        check(0, "1970-01-01T00:00:00.007Z");
        check(951_782_400, "2000-02-29T00:00:00.007Z");
        check(951_868_800, "2000-03-01T00:00:00.007Z");
        check(1_709_251_199, "2024-02-29T23:59:59.007Z");
        check(1_735_689_599, "2024-12-31T23:59:59.007Z");
        check(4_107_542_400, "2100-03-01T00:00:00.007Z");
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let end = WallClock { zero: u64::MAX }.rfc3339(Tick::from_micros(u64::MAX));
        assert_eq!(end, "9999-12-31T23:59:59.999Z");
    }
}
