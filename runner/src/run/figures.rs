//! Numbers as people read them. Pure. Start at [`count`] and [`milliseconds`].

use std::time::Duration;

/// A whole number with a comma at every thousand.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds with about three digits that mean something; `-` for none.
pub(crate) fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 1_000.0 => format!("{value:.1}"),
        Some(value) => count(value.round() as u64),
    }
}

/// Things per second.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 1_000.0 { format!("{per_second:.1}") } else { count(per_second.round() as u64) }
}

/// A share from 0 to 1 in percent. One that is not zero never looks like it.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        zero if zero <= 0.0 => "0 %".to_owned(),
        tiny if tiny < 0.1 => "<0.1 %".to_owned(),
        some => format!("{some:.1} %"),
    }
}

/// A span in whole seconds, as `9s`, `1m05s` or `1h02m03s`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest:02}s"),
        _ => format!("{hours}h{minutes:02}m{rest:02}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 7, 999, 1_000, 12_345, 1_234_567].map(count);
        assert_eq!(texts, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn times_keep_about_three_digits() {
        let texts = [0.0, 0.004, 9.876, 12.34, 999.94, 1_234.5].map(|value| milliseconds(Some(value)));
        assert_eq!(texts, ["0.00", "0.00", "9.88", "12.3", "999.9", "1,235"]);
        assert_eq!(milliseconds(None), "-");
    }

    #[test]
    fn a_share_that_is_not_zero_never_looks_like_it() {
        assert_eq!(
            [0.0, 0.000_001, 0.001, 0.5, 1.0].map(percent),
            ["0 %", "<0.1 %", "0.1 %", "50.0 %", "100.0 %"]
        );
    }

    #[test]
    fn spans_and_rates_are_short() {
        let texts = [0, 9, 65, 3_723].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0s", "9s", "1m05s", "1h02m03s"]);
        assert_eq!([0.04, 196.66, 12_345.6].map(rate), ["0.0", "196.7", "12,346"]);
    }
}
