//! `/metrics`: the run's merged statistics as Prometheus series, made at each scrape from what the master holds.
//!
//! Two sets stand side by side: the names that existing dashboards use (milliseconds; `code` is 200 or 400 for a
//! success or a failure), and base units with the reply's real status code. Every series bears the run's labels.
//! Never keeps a number of its own. Start at [`Exporter::scrape`].

mod buckets;
mod figures;
mod series;
mod text;

use std::borrow::Cow;

use aiotest_core::run::RunIdentity;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text as openmetrics};
use prometheus_client::registry::Registry;

use buckets::Bounds;
pub(super) use figures::{Figures, Node};
pub(super) use text::Format;

/// Bounds of `aiotest_response_times`, in milliseconds, where `--buckets` names none.
pub const DEFAULT_BUCKETS_MS: [f64; 14] =
    [50.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 2000.0, 5000.0, 8000.0];

/// Bounds of the histograms in seconds.
const BUCKETS_S: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const MICROS_PER_MS: f64 = 1e3;
const MICROS_PER_S: f64 = 1e6;

/// Whatever can tell the figures of this moment.
pub(super) trait Source: Send + Sync + 'static {
    /// Calls `look` with them, holding them still meanwhile.
    fn look(&self, look: &mut dyn FnMut(&Figures<'_>));
}

/// Turns a source's figures into text.
pub(super) struct Exporter {
    registry: Registry,
}

impl Exporter {
    /// For one run; `buckets_ms` are the bounds of `aiotest_response_times`.
    pub(super) fn new(run: &RunIdentity, buckets_ms: &[f64], source: impl Source) -> Self {
        let label = |name: &'static str, value: &str| (Cow::from(name), Cow::from(value.to_owned()));
        let labels =
            [label("loadtest", &run.name), label("namespace", &run.namespace), label("run", &run.id)];
        let mut registry = Registry::with_labels(labels.into_iter());
        registry.register_collector(Box::new(Series {
            source,
            old: Bounds::new(buckets_ms, MICROS_PER_MS),
            new: Bounds::new(&BUCKETS_S, MICROS_PER_S),
        }));
        Self { registry }
    }

    /// Every series, at this moment.
    pub(super) fn scrape(&self, format: Format) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail, and the collector below has no error of its own.
        let _ = openmetrics::encode(&mut text, &self.registry);
        format.of(text)
    }
}

/// The registry's one collector.
struct Series<S> {
    source: S,
    old: Bounds,
    new: Bounds,
}

impl<S> std::fmt::Debug for Series<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series").finish_non_exhaustive()
    }
}

impl<S: Source> Collector for Series<S> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut outcome = Ok(());
        self.source.look(&mut |figures| {
            outcome = series::old(&mut encoder, figures, &self.old)
                .and_then(|()| series::new(&mut encoder, figures, &self.new));
        });
        outcome
    }
}

#[cfg(test)]
mod tests;
