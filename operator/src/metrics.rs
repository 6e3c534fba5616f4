//! The operator's own figures. Start at [`Metrics`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Bounds of the reconcile times, in seconds.
const BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    kind: String,
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: String,
}

/// Clones count into the same figures.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Outcome, Counter>,
    times: Histogram,
    writes: Family<Target, Counter>,
    master_calls: Family<Call, Counter>,
    load_tests: Family<InState, Gauge>,
    /// The state of each LoadTest that was last seen, by namespace and name.
    states: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("aiotest_operator");
        let reconciles = Family::default();
        let times = Histogram::new(BUCKETS);
        let (writes, master_calls, load_tests) = (Family::default(), Family::default(), Family::default());
        registry.register("reconciles", "Looks at a LoadTest, by how they ended", reconciles.clone());
        let help = "How long a look at a LoadTest took";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, times.clone());
        registry.register("writes", "Writes to the API server", writes.clone());
        registry.register("master_calls", "Calls of masters, by how they ended", master_calls.clone());
        registry.register("load_tests", "LoadTests, by state", load_tests.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What this operator is", version);
        let states = Arc::default();
        Self { registry: Arc::new(registry), reconciles, times, writes, master_calls, load_tests, states }
    }

    /// As OpenMetrics text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text fails only where a value cannot be written, and ours can.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn reconciled(&self, well: bool, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome: outcome(well) }).inc();
        self.times.observe(took.as_secs_f64());
    }

    pub(crate) fn write(&self, kind: &str, verb: &'static str) {
        self.writes.get_or_create(&Target { kind: kind.to_owned(), verb }).inc();
    }

    /// Counts a call, and hands its outcome on.
    pub(crate) fn master_call<T, E>(&self, call: &'static str, result: Result<T, E>) -> Result<T, E> {
        self.master_calls.get_or_create(&Call { call, outcome: outcome(result.is_ok()) }).inc();
        result
    }

    /// Where a LoadTest stands; `None`: it is gone.
    pub(crate) fn stands(&self, namespace: &str, name: &str, state: Option<&str>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        let before = match state {
            Some(state) => states.insert(key, state.to_owned()),
            None => states.remove(&key),
        };
        let gauge = |state: &str| self.load_tests.get_or_create_owned(&InState { state: state.to_owned() });
        if let Some(before) = before {
            gauge(&before).dec();
        }
        if let Some(state) = state {
            gauge(state).inc();
        }
    }
}

fn outcome(well: bool) -> &'static str {
    if well { "success" } else { "error" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_the_name_that_dashboards_ask_for() {
        let metrics = Metrics::new();
        metrics.reconciled(true, Duration::from_millis(3));
        metrics.write("Job", "create");
        let _ = metrics.master_call("status", Ok::<(), ()>(()));
        metrics.stands("shop", "checkout", Some("Waiting"));
        metrics.stands("shop", "checkout", Some("Running"));
        let text = metrics.text();
        for line in [
            "aiotest_operator_reconciles_total{outcome=\"success\"} 1",
            "aiotest_operator_reconcile_duration_seconds_count 1",
            "aiotest_operator_writes_total{kind=\"Job\",verb=\"create\"} 1",
            "aiotest_operator_master_calls_total{call=\"status\",outcome=\"success\"} 1",
            "aiotest_operator_load_tests{state=\"Waiting\"} 0",
            "aiotest_operator_load_tests{state=\"Running\"} 1",
            "aiotest_operator_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
