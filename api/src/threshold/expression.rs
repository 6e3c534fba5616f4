//! The grammar `METRIC OPERATOR VALUE` and the comparison it stands for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::metric::{Comparison, Metric, rounded};
use crate::grammar::{Cursor, Decimal, Unexpected};

/// A bound on a metric, with the text it was written as. In JSON it is that text.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    metric: Metric,
    comparison: Comparison,
    bound: f64,
}

/// The longest expression, in characters.
const MAX_LENGTH: u32 = 64;
const TIME: &str = "a time with its unit s, ms or us, such as `300ms` or `1.5s`";
const SHARE: &str = "a share from 0% to 100%, such as `1%` or `0.01`";
const NUMBER: &str = "a number of requests per second, such as `500`";

impl Expression {
    /// The longest expression that is accepted, in characters.
    pub const MAX_LENGTH: u32 = MAX_LENGTH;

    /// The grammar as a regular expression; accepts exactly what parsing accepts, but for the length.
    pub fn pattern() -> String {
        let number = Decimal::PATTERN;
        format!(
            "^((p50|p90|p95|p99|mean|max) *(<|<=|>|>=) *{number}(us|ms|s)\
             |error_rate *(<|<=|>|>=) *(([0-9]{{1,2}}(\\.[0-9]{{1,6}})?|100)%|0(\\.[0-9]{{1,6}})?)\
             |rps *(>|>=) *{number})$"
        )
    }

    /// What is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How the measured value must stand to the bound.
    pub fn comparison(&self) -> Comparison {
        self.comparison
    }

    /// The bound in the metric's base unit: microseconds, a share from 0 to 1, or requests per second.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a measured value, in the metric's base unit, keeps the bound. NaN keeps none.
    pub fn passes(&self, measured: f64) -> bool {
        self.comparison.holds(measured, self.bound)
    }

    /// A measured value in the metric's own unit: `312ms`, `1.25%`, `812`. At least three significant digits, and as
    /// many as it takes that the printed value stands to the bound as the measured one does.
    pub fn format(&self, measured: f64) -> String {
        let honest = |digits: &usize| self.passes(rounded(measured, *digits)) == self.passes(measured);
        let digits = (3..=12).find(honest).unwrap_or(12);
        self.metric.write(measured, digits)
    }
}

impl FromStr for Expression {
    type Err = Unexpected;

    fn from_str(text: &str) -> Result<Self, Unexpected> {
        let mut cursor = Cursor::new(text);
        if text.chars().count() > MAX_LENGTH as usize {
            return Err(cursor.unexpected(format_args!("at most {MAX_LENGTH} characters")));
        }
        let metric = read_metric(&mut cursor)?;
        cursor.take_while(|c| c == ' ');
        let comparison = read_comparison(&mut cursor, metric)?;
        cursor.take_while(|c| c == ' ');
        let bound = match metric {
            Metric::ErrorRate => read_share(&mut cursor)?,
            Metric::Rps => Decimal::read(&mut cursor, NUMBER)?.times(1),
            _ => read_time(&mut cursor)?,
        };
        if !cursor.at_end() {
            let space = cursor;
            cursor.take_while(|c| c == ' ');
            let rest = if cursor.at_end() { space } else { cursor };
            return Err(rest.unexpected("the end"));
        }
        Ok(Self { text: text.to_owned(), metric, comparison, bound })
    }
}

fn read_metric(cursor: &mut Cursor<'_>) -> Result<Metric, Unexpected> {
    let start = *cursor;
    let word = cursor.take_while(|c| c.is_alphanumeric() || c == '_');
    let found = Metric::ALL.into_iter().find(|metric| metric.name() == word);
    found.ok_or_else(|| start.unexpected("p50, p90, p95, p99, mean, max, error_rate or rps"))
}

fn read_comparison(cursor: &mut Cursor<'_>, metric: Metric) -> Result<Comparison, Unexpected> {
    let (comparisons, allowed) = metric.comparisons();
    // The longer symbol stands before the shorter that it begins with.
    let found = comparisons.iter().find(|comparison| cursor.take(comparison.symbol()));
    found.copied().ok_or_else(|| cursor.unexpected(allowed))
}

fn read_time(cursor: &mut Cursor<'_>) -> Result<f64, Unexpected> {
    let start = *cursor;
    let number = Decimal::read(cursor, TIME)?;
    for (unit, microseconds) in [("us", 1), ("ms", 1000), ("s", 1_000_000)] {
        if cursor.take(unit) {
            return Ok(number.times(microseconds));
        }
    }
    Err(start.unexpected(TIME))
}

/// A bare `1` is refused: it could be meant as 1 % or as everything.
fn read_share(cursor: &mut Cursor<'_>) -> Result<f64, Unexpected> {
    let start = *cursor;
    let number = Decimal::read(cursor, SHARE)?;
    let text = start.up_to(*cursor);
    let whole = text.split('.').next().unwrap_or(text);
    if cursor.take("%") && (whole.len() <= 2 || text == "100") {
        Ok(number.over(100))
    } else if whole == "0" {
        Ok(number.over(1))
    } else {
        Err(start.unexpected(SHARE))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Expression {
        text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
    }

    #[test]
    fn a_bound_is_read_in_the_base_unit() {
        let check = |text, metric, comparison, bound: f64| {
            let read = parse(text);
            assert_eq!((read.metric(), read.comparison()), (metric, comparison), "{text}");
            assert!((read.bound() - bound).abs() <= f64::EPSILON * bound, "{text}: {}", read.bound());
        };
        check("p50 < 300ms", Metric::P50, Comparison::Below, 300_000.0);
        check("p99<=1.5s", Metric::P99, Comparison::AtMost, 1_500_000.0);
        check("mean > 800us", Metric::Mean, Comparison::Above, 800.0);
        check("max >= 0.1s", Metric::Max, Comparison::AtLeast, 100_000.0);
        check("error_rate < 1%", Metric::ErrorRate, Comparison::Below, 0.01);
        check("error_rate < 0.01", Metric::ErrorRate, Comparison::Below, 0.01);
        check("error_rate <= 100%", Metric::ErrorRate, Comparison::AtMost, 1.0);
        check("rps   >= 500.5", Metric::Rps, Comparison::AtLeast, 500.5);
    }

    #[test]
    fn a_refusal_says_where_what_and_what_is_allowed() {
        let check = |text: &str, position, found: &str, allowed: &str| {
            let error = text.parse::<Expression>().expect_err(text);
            let expected = Unexpected { position, found: found.into(), allowed: allowed.into() };
            assert_eq!(error, expected, "{text}");
        };
        let metrics = "p50, p90, p95, p99, mean, max, error_rate or rps";
        check("", 1, "the end", metrics);
        check("p96 < 1s", 1, "`p96`", metrics);
        check("p95", 4, "the end", "<, <=, > or >=");
        check("p95 == 1s", 5, "`==`", "<, <=, > or >=");
        check("rps < 500", 5, "`<`", "> or >= (rps is a lower bound)");
        check("p95 < 300", 7, "`300`", TIME);
        check("p95 < -1s", 7, "`-1s`", TIME);
        check("p95 < 1e9s", 7, "`1e9s`", TIME);
        check("p95 < 1s and", 10, "`and`", "the end");
        check("p95 < 1s ", 9, "a space", "the end");
        check(" p95 < 1s", 1, "a space", metrics);
        check("error_rate < 5", 14, "`5`", SHARE);
        check("error_rate < 1", 14, "`1`", SHARE);
        check("error_rate < 100.1%", 14, "`100.1%`", SHARE);
        check("rps > many", 7, "`many`", NUMBER);
        check(&format!("p95 < {}1s", " ".repeat(64)), 1, "`p95`", "at most 64 characters");
    }

    #[test]
    fn a_value_equal_to_the_bound_passes_only_where_equality_is_asked_for() {
        assert!(!parse("p95 < 300ms").passes(300_000.0));
        assert!(parse("p95 <= 300ms").passes(300_000.0));
        assert!(!parse("rps > 10").passes(10.0));
        assert!(parse("rps >= 10").passes(10.0));
        assert!(!parse("error_rate <= 1%").passes(f64::NAN));
    }

    #[test]
    fn a_measured_value_is_printed_in_its_own_unit() {
        assert_eq!(parse("p95 < 1ms").format(312.0), "312us");
        assert_eq!(parse("p95 < 1s").format(312_499.0), "312ms");
        assert_eq!(parse("p95 < 1s").format(1_520_000.0), "1.52s");
        assert_eq!(parse("error_rate < 1%").format(0.0125), "1.25%");
        assert_eq!(parse("rps > 1").format(812.0), "812");
        assert_eq!(parse("rps > 1").format(f64::NAN), "nothing measured");
    }

    #[test]
    fn a_printed_value_never_hides_which_side_of_the_bound_it_is_on() {
        assert_eq!(parse("p95 <= 300ms").format(300_004.0), "300.004ms");
        assert_eq!(parse("error_rate <= 1%").format(0.010_000_01), "1.000001%");
        assert_eq!(parse("rps >= 1000").format(999.96), "999.96");
    }

    /// Texts at and around the grammar.
    fn near_expressions() -> impl Strategy<Value = String> {
        prop_oneof![
            "(p50|p95|max|mean|rps|p9|) ?(<|<=|>|>=|=|) {0,2}[0-9]{0,10}(\\.[0-9]{0,7})?(us|ms|s|m|%|) ?",
            "error_rate *(<|>=) {0,2}(0|[0-9]{0,3}|100)(\\.(0{0,7}|[0-9]{0,7}))?%?",
            ".{0,70}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_read_is_written_back(text in near_expressions()) {
            let read = text.parse::<Expression>();
            #[cfg(feature = "crd")]
            prop_assert_eq!(
                read.is_ok(),
                text.chars().count() <= MAX_LENGTH as usize
                    && regex::Regex::new(&Expression::pattern()).unwrap().is_match(&text),
                "the pattern and the parser disagree on `{}`", text
            );
            if let Ok(read) = read {
                prop_assert!(read.bound().is_finite() && read.bound() >= 0.0);
                let json = serde_json::to_value(&read).unwrap();
                prop_assert_eq!(json.as_str(), Some(text.as_str()));
                prop_assert_eq!(serde_json::from_value::<Expression>(json).unwrap(), read);
            }
        }

        #[test]
        fn no_measurement_makes_it_panic(measured in any::<f64>()) {
            for text in ["p95 < 300ms", "error_rate <= 1%", "rps > 3"] {
                prop_assert!(!parse(text).format(measured).is_empty());
            }
        }
    }
}
