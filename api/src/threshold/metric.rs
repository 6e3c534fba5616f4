//! What a threshold can look at, how it can compare, and how a measured value is printed.

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Median latency, in microseconds, as all latencies are.
    P50,
    /// The latency that 90 % of the requests do not exceed.
    P90,
    /// The latency that 95 % of the requests do not exceed.
    P95,
    /// The latency that 99 % of the requests do not exceed.
    P99,
    /// Mean latency.
    Mean,
    /// The longest latency.
    Max,
    /// Failed requests over all requests, from 0 to 1.
    ErrorRate,
    /// Requests per second.
    Rps,
}

impl Metric {
    /// All metrics, in the order of the documentation.
    pub const ALL: [Self; 8] =
        [Self::P50, Self::P90, Self::P95, Self::P99, Self::Mean, Self::Max, Self::ErrorRate, Self::Rps];

    /// As written in an expression.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::ErrorRate => "error_rate",
            Self::Rps => "rps",
        }
    }

    /// The share of requests at or below the value, for a percentile: 0.95 for `p95`.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            Self::Mean | Self::Max | Self::ErrorRate | Self::Rps => None,
        }
    }

    /// Whether the base unit is the microsecond.
    pub const fn is_latency(self) -> bool {
        !matches!(self, Self::ErrorRate | Self::Rps)
    }

    pub(super) const fn comparisons(self) -> (&'static [Comparison], &'static str) {
        match self {
            Self::Rps => (&[Comparison::AtLeast, Comparison::Above], "> or >= (rps is a lower bound)"),
            _ => (
                &[Comparison::AtMost, Comparison::AtLeast, Comparison::Below, Comparison::Above],
                "<, <=, > or >=",
            ),
        }
    }

    /// A value in the base unit, to `digits` significant digits, with the unit that suits its size.
    pub(super) fn write(self, value: f64, digits: usize) -> String {
        if !value.is_finite() {
            return "nothing measured".to_owned();
        }
        match self {
            Self::ErrorRate => format!("{}%", significant(value * 100.0, digits)),
            Self::Rps => significant(value, digits),
            _ if value < 1e3 => format!("{}us", significant(value, digits)),
            _ if value < 1e6 => format!("{}ms", significant(value / 1e3, digits)),
            _ => format!("{}s", significant(value / 1e6, digits)),
        }
    }
}

/// How the measured value must stand to the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// As written in an expression.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    pub(super) fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Self::Below => measured < bound,
            Self::AtMost => measured <= bound,
            Self::Above => measured > bound,
            Self::AtLeast => measured >= bound,
        }
    }
}

/// `value` to so many significant digits.
pub(super) fn rounded(value: f64, digits: usize) -> f64 {
    // Scientific notation rounds by significant digits, and a float always reads back what it wrote.
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

/// The same without an exponent and without trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    format!("{}", rounded(value, digits))
}
