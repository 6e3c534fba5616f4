//! Durations as a `LoadTest` writes them: `90s`, `1h20m`, `500ms`; the grammar of the Gateway API.
//!
//! A duration in text is what a person wrote, a [`Duration`] is a number of milliseconds; printing gives the
//! shortest form in falling units. Start at [`Duration`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::grammar::Cursor;
pub use crate::grammar::Unexpected;

/// A length of time in whole milliseconds, from 0 to [`Duration::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// The grammar as a regular expression: one to four numbers of up to five digits, each with its unit.
    pub const PATTERN: &'static str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
    /// The longest text that the grammar allows, in characters.
    pub const MAX_LENGTH: u32 = 28;
    /// A year of 365 days.
    pub const MAX: Self = Self(365 * 24 * 3_600_000);

    /// What is said of a text that means more than [`Self::MAX`].
    pub(crate) const AT_MOST: &'static str = "at most 8760h";

    /// Cut off at [`Self::MAX`].
    pub const fn from_millis(milliseconds: u64) -> Self {
        if milliseconds < Self::MAX.0 { Self(milliseconds) } else { Self::MAX }
    }

    /// Cut off at [`Self::MAX`].
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// The whole length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The same length as the standard library's type.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// True for `0s`.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.to_std()
    }
}

/// From the longest unit to the shortest, as printed. `ms` is tried before `m` when reading.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Duration {
    type Err = Unexpected;

    fn from_str(text: &str) -> Result<Self, Unexpected> {
        const NUMBER: &str = "one to four numbers of up to 5 digits with a unit, such as `90s` or `1h20m`";
        let mut cursor = Cursor::new(text);
        let mut total = 0;
        for _ in 0..4 {
            let number = cursor;
            let digits = cursor.take_while(|c| c.is_ascii_digit());
            let value = match digits.parse::<u64>() {
                Ok(value) if digits.len() <= 5 => value,
                _ => return Err(number.unexpected(NUMBER)),
            };
            let unit = UNITS.iter().rev().find(|(unit, _)| cursor.take(unit));
            let Some((_, milliseconds)) = unit else {
                return Err(cursor.unexpected("a unit: h, m, s or ms"));
            };
            total += value * milliseconds;
            if cursor.at_end() {
                break;
            }
        }
        if !cursor.at_end() {
            return Err(cursor.unexpected("the end after four numbers"));
        }
        if total > Self::MAX.0 {
            return Err(Cursor::new(text).unexpected(Self::AT_MOST));
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, milliseconds) in UNITS {
            if left >= milliseconds {
                write!(f, "{}{unit}", left / milliseconds)?;
                left %= milliseconds;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, milliseconds: u64, printed: &str) {
        let duration: Duration = text.parse().unwrap();
        assert_eq!(duration.as_millis(), milliseconds, "{text}");
        assert_eq!(duration.to_string(), printed, "{text}");
    }

    #[test]
    fn units_add_up_and_print_in_falling_order() {
        check("90s", 90_000, "1m30s");
        check("1h20m", 4_800_000, "1h20m");
        check("500ms", 500, "500ms");
        check("0s", 0, "0s");
        check("1ms1h1ms", 3_600_002, "1h2ms");
        check("8760h", Duration::MAX.as_millis(), "8760h");
    }

    fn check_refused(text: &str, error: &str) {
        assert_eq!(text.parse::<Duration>().unwrap_err().to_string(), error, "{text}");
    }

    #[test]
    fn a_refusal_says_where_and_what_is_allowed() {
        let number = "allowed is one to four numbers of up to 5 digits with a unit, such as `90s` or `1h20m`";
        check_refused("", &format!("at character 1: found the end, {number}"));
        check_refused("five", &format!("at character 1: found `five`, {number}"));
        check_refused("1m-5s", &format!("at character 3: found `-5s`, {number}"));
        check_refused("123456s", &format!("at character 1: found `123456s`, {number}"));
        check_refused("90", "at character 3: found the end, allowed is a unit: h, m, s or ms");
        check_refused("1.5s", "at character 2: found `.5s`, allowed is a unit: h, m, s or ms");
        check_refused("1s1s1s1s1s", "at character 9: found `1s`, allowed is the end after four numbers");
        check_refused("8760h1ms", "at character 1: found `8760h1ms`, allowed is at most 8760h");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(milliseconds in 0..=Duration::MAX.as_millis()) {
            let duration = Duration::from_millis(milliseconds);
            let text = duration.to_string();
            prop_assert!(text.len() <= Duration::MAX_LENGTH as usize);
            prop_assert_eq!(text.parse(), Ok(duration));
            let json = serde_json::to_value(duration).unwrap();
            prop_assert_eq!(serde_json::from_value::<Duration>(json).unwrap(), duration);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|[0-9hms.]{0,40}|([0-9]{1,6}(h|m|s|ms)){1,5}") {
            let read = text.parse::<Duration>();
            #[cfg(feature = "crd")]
            {
                let matches = regex::Regex::new(Duration::PATTERN).unwrap().is_match(&text);
                let too_long = read.as_ref().is_err_and(|error| error.allowed == Duration::AT_MOST);
                prop_assert_eq!(matches, read.is_ok() || too_long, "pattern and parser disagree on `{}`", text);
            }
            if let Ok(duration) = read {
                prop_assert!(duration <= Duration::MAX);
            }
        }
    }
}
