//! Thresholds: what a run must keep to pass, such as `p95 < 300ms` or `error_rate <= 1%`.
//!
//! Holds the grammar and the comparison; never measures, and never decides from which time on. Start at
//! [`Threshold`]. Measured values are numbers in the metric's base unit: microseconds, a share from 0 to 1, or
//! requests per second.

mod expression;
mod metric;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::duration::Duration;
pub use crate::grammar::Unexpected;
pub use expression::Expression;
pub use metric::{Comparison, Metric};

/// One bound that a run must keep, over all requests or over those of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    /// `METRIC OPERATOR VALUE`: `p50`, `p90`, `p95`, `p99`, `mean` or `max` with a time (`300ms`, `1.5s`, `800us`),
    /// `error_rate` with a share (`1%` or `0.01`), each with `<`, `<=`, `>` or `>=`; `rps` with requests per second
    /// and `>` or `>=`.
    pub expr: Expression,
    /// Looks at these requests only. Defaults to all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestMatch>,
    /// Looks at what happens from this time after the start of the run on, such as `1m`. Defaults to the end of the
    /// first ramp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
}

impl Threshold {
    /// Whether a measured value, in the metric's base unit, keeps the bound. NaN keeps none.
    pub fn passes(&self, measured: f64) -> bool {
        self.expr.passes(measured)
    }

    /// Whether the requests of this row count.
    pub fn looks_at(&self, name: &str, method: &str) -> bool {
        self.request.as_ref().is_none_or(|request| request.matches(name, method))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        match &self.request {
            Some(request) => write!(f, " for {request}"),
            None => Ok(()),
        }
    }
}

/// Which requests a threshold looks at: those that have every given property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "crd",
    derive(kube::KubeSchema),
    x_kube(
        validation = Rule::new("has(self.method) || has(self.name)")
            .message("at least one of method and name must be given")
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RequestMatch {
    /// The method, such as `POST`, in any case. Defaults to every method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 64)))]
    pub method: Option<String>,
    /// The name in the statistics: the path, unless the file gives one. Defaults to every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 1024)))]
    pub name: Option<String>,
}

impl RequestMatch {
    /// Whether a row of the statistics has the method and the name asked for.
    pub fn matches(&self, name: &str, method: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
    }
}

impl fmt::Display for RequestMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.method, &self.name) {
            (Some(method), Some(name)) => write!(f, "{method} {name}"),
            (Some(one), None) | (None, Some(one)) => f.write_str(one),
            (None, None) => f.write_str("every request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_threshold_looks_only_at_the_requests_it_names() {
        let threshold: Threshold = serde_json::from_value(json!({
            "expr": "p99 < 1s", "request": {"method": "post", "name": "/checkout"}, "after": "1m"
        }))
        .unwrap();
        assert!(threshold.looks_at("/checkout", "POST"));
        assert!(!threshold.looks_at("/checkout", "GET"));
        assert!(!threshold.looks_at("/", "POST"));
        assert_eq!(threshold.after, Some(Duration::from_secs(60)));
        assert_eq!(threshold.to_string(), "p99 < 1s for post /checkout");
    }

    #[test]
    fn without_a_request_it_looks_at_all() {
        let threshold: Threshold = serde_json::from_value(json!({"expr": "p99 < 1s"})).unwrap();
        assert!(threshold.looks_at("/anything", "DELETE"));
        assert_eq!(serde_json::to_value(&threshold).unwrap(), json!({"expr": "p99 < 1s"}));
    }

    #[test]
    fn a_bad_expression_is_refused_on_decoding() {
        let error = serde_json::from_value::<Threshold>(json!({"expr": "p95 < fast"})).unwrap_err();
        assert!(error.to_string().starts_with("at character 7: found `fast`"), "{error}");
    }
}
