//! The series themselves: name, help, labels, value. A family without a sample is left out.
//! Start at [`old`] and [`new`].

use std::fmt::Error;

use aiotest_core::histogram::Histogram;
use aiotest_core::stats::Row;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Bounds, Figures};

/// A family's name (a counter's without its `_total`) and what it means.
type Family = (&'static str, &'static str);

/// A figure of a row.
type Count = fn(&Row) -> u64;

/// The names that dashboards of Aiotest 0.5 use.
pub(super) fn old(
    encoder: &mut DescriptorEncoder<'_>,
    figures: &Figures<'_>,
    bounds: &Bounds,
) -> Result<(), Error> {
    let nodes = || figures.nodes.iter();
    gauges(
        encoder,
        ("aiotest_workers_user_count", "Users alive on a runner process."),
        nodes().map(|node| ([("node", node.name.as_str())], f64::from(node.users))),
    )?;
    gauges(
        encoder,
        ("aiotest_workers_cpu_usage", "CPU used by a runner process, in percent of one CPU."),
        nodes().map(|node| ([("node", node.name.as_str())], node.cpu_percent)),
    )?;
    let judged: Vec<Judged<'_>> = rows(figures).flat_map(Judged::of).collect();
    histograms(
        encoder,
        ("aiotest_response_times", "Response times in milliseconds; code 200 is a success, 400 a failure."),
        bounds,
        judged.iter().map(|judged| (with(judged.row, "code", judged.code), &judged.latency)),
    )?;
    gauges(
        encoder,
        ("aiotest_response_content_length", "Mean bytes of a body; code 200 is a success, 400 a failure."),
        judged.iter().map(|judged| {
            let mean = judged.bytes as f64 / judged.latency.count() as f64;
            (with(judged.row, "code", judged.code), mean)
        }),
    )?;
    counters(
        encoder,
        ("aiotest_response_failure", "Failed calls, by error."),
        rows(figures)
            .flat_map(|row| row.errors().map(move |(error, count)| (with(row, "error", error), count))),
    )?;
    counters(
        encoder,
        ("aiotest_user_error", "Users that died, by error."),
        figures.statistics.user_errors().map(|(error, count)| ([("error", error)], count)),
    )
}

/// Of the open model; the closed one has none.
fn iterations(encoder: &mut DescriptorEncoder<'_>, figures: &Figures<'_>) -> Result<(), Error> {
    let counted = figures.statistics.iterations;
    if counted.is_empty() {
        return Ok(());
    }
    let outcomes = [("started", counted.started), ("shed", counted.shed)];
    counters(
        encoder,
        ("aiotest_iterations", "Iterations of the open model: started, or shed as every user was busy."),
        outcomes.into_iter().map(|(outcome, count)| ([("outcome", outcome)], count)),
    )?;
    counters(
        encoder,
        ("aiotest_iterations_late", "Of those started, by more than 10 ms after their instants."),
        [([("outcome", "started")], counted.late)].into_iter(),
    )
}

/// Base units and the reply's own status code.
pub(super) fn new(
    encoder: &mut DescriptorEncoder<'_>,
    figures: &Figures<'_>,
    bounds: &Bounds,
) -> Result<(), Error> {
    let counts: [(Family, Count); 7] = [
        (("aiotest_requests", "Finished calls, failed ones included."), |row| row.requests),
        (("aiotest_requests_failed", "Failed calls."), |row| row.failures),
        (("aiotest_requests_sent", "Requests on the wire, redirect hops and retries included."), |row| {
            row.sent
        }),
        (("aiotest_requests_aborted", "Calls cut by the run's own stop."), |row| row.aborted),
        (("aiotest_requests_retried", "Requests sent again, on another connection."), |row| row.retried),
        (("aiotest_responses_truncated", "Calls whose body was left unread in part."), |row| row.truncated),
        (("aiotest_received_bytes", "Bytes of bodies."), |row| row.bytes_received),
    ];
    for (family, count) in counts {
        counters(encoder, family, rows(figures).map(|row| (named(row), count(row))))?;
    }
    let statuses: Vec<(&Row, String, &'static str, &Histogram)> = rows(figures)
        .flat_map(|row| row.times().iter().map(move |times| (row, times)))
        .map(|(row, times)| {
            let code = times.status.map_or_else(String::new, |status| status.to_string());
            (row, code, if times.failed { "failure" } else { "success" }, &times.latency)
        })
        .collect();
    histograms(
        encoder,
        (
            "aiotest_request_duration_seconds",
            "From the start of a call to the last byte; code is the reply's own.",
        ),
        bounds,
        statuses.iter().map(|(row, code, outcome, latency)| {
            let [name, method] = named(row);
            ([name, method, ("code", code.as_str()), ("outcome", *outcome)], *latency)
        }),
    )?;
    histograms(
        encoder,
        (
            "aiotest_request_since_intended_seconds",
            "From the intended start of a call's iteration to the call's last byte.",
        ),
        bounds,
        rows(figures).filter_map(|row| Some((named(row), row.since_intended()?))),
    )?;
    iterations(encoder, figures)?;
    let none: [(&str, &str); 0] = [];
    let live: u32 = figures.nodes.iter().map(|node| node.users).sum();
    for (family, value) in [
        (("aiotest_users_live", "Users alive now."), live),
        (("aiotest_users_target", "Users that the plan wants now."), figures.users_target),
        (
            ("aiotest_runner_processes", "Runner processes in touch with the master."),
            figures.nodes.len() as u32,
        ),
    ] {
        gauges(encoder, family, [(none, f64::from(value))].into_iter())?;
    }
    gauges(
        encoder,
        ("aiotest_verdict_info", "1, labelled with the run's verdict, once there is one."),
        figures.verdict.iter().map(|verdict| ([("result", verdict.as_str())], 1.0)),
    )
}

/// A row's calls of one verdict, whatever their status.
struct Judged<'a> {
    row: &'a Row,
    code: &'static str,
    latency: Histogram,
    bytes: u64,
}

impl<'a> Judged<'a> {
    fn of(row: &'a Row) -> impl Iterator<Item = Self> {
        [("200", false), ("400", true)].into_iter().filter_map(move |(code, failed)| {
            let mut judged = Self { row, code, latency: Histogram::new(Histogram::LATENCY), bytes: 0 };
            for times in row.times().iter().filter(|times| times.failed == failed) {
                judged.latency.merge(&times.latency);
                judged.bytes += times.bytes_received;
            }
            (!judged.latency.is_empty()).then_some(judged)
        })
    }
}

/// By name and method, so that two scrapes of the same figures are the same bytes.
fn rows<'a>(figures: &'a Figures<'_>) -> impl Iterator<Item = &'a Row> {
    figures.statistics.rows().into_iter()
}

fn named(row: &Row) -> [(&'static str, &str); 2] {
    [("name", &row.name), ("method", &row.method)]
}

fn with<'a>(row: &'a Row, label: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
    let [name, method] = named(row);
    [name, method, (label, value)]
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): Family,
    samples: impl Iterator<Item = (L, f64)>,
) -> Result<(), Error> {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    samples.try_for_each(|(labels, value)| ConstGauge::new(value).encode(family.encode_family(&labels)?))
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): Family,
    samples: impl Iterator<Item = (L, u64)>,
) -> Result<(), Error> {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    samples.try_for_each(|(labels, value)| ConstCounter::new(value).encode(family.encode_family(&labels)?))
}

fn histograms<'a, L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): Family,
    bounds: &Bounds,
    samples: impl Iterator<Item = (L, &'a Histogram)>,
) -> Result<(), Error> {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    samples.try_for_each(|(labels, histogram)| {
        let buckets = bounds.gather(histogram);
        let (sum, count) = (bounds.sum(histogram), histogram.count());
        family.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    })
}
