//! The table at the end of a run: what was measured, what failed, what is missing, and the verdict with its reasons.
//!
//! Pure: a report goes in, text comes out, at most 100 columns wide unless a reason is longer. Start at [`summary`].

use aiotest_core::report::{Figures, Gap, Iterations, Outcome, Report, Runner, ThresholdResult};
use aiotest_core::verdict::generator::LAG_MARKED;
use unicode_width::UnicodeWidthStr;

use super::figures::{count, milliseconds, percent, rate, span};
use super::table::{Paint, Style, fitted, right};

/// Columns of the whole.
const WIDTH: usize = 100;
/// Columns of a request's method and name.
const NAME: usize = 35;
/// Headings and columns of the numbers.
const COLUMNS: [(&str, usize); 8] = [
    ("requests", 10),
    ("failed", 8),
    ("req/s", 8),
    ("mean ms", 8),
    ("p50 ms", 8),
    ("p95 ms", 8),
    ("p99 ms", 8),
    ("max ms", 7),
];
/// The most rows of one table; the report has them all.
const MOST_ROWS: usize = 40;

/// A report as text, without a line break at its end.
pub(crate) fn summary(report: &Report, colour: bool) -> String {
    let paint = Paint(colour);
    let parts = [
        requests(report, paint),
        errors(report, paint),
        generator_faults(report, paint),
        user_errors(report, paint),
        gaps(&report.gaps, paint),
        blocked(&report.runners, paint),
        thresholds(&report.verdict.thresholds, paint),
        verdict(report, paint),
    ];
    parts
        .into_iter()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join("\n"))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// A row per request and one for all of them; nothing where nothing was sent.
fn requests(report: &Report, paint: Paint) -> Vec<String> {
    if report.requests.is_empty() {
        return Vec::new();
    }
    let heading: String = COLUMNS.iter().map(|(text, width)| right(text, *width)).collect();
    let mut lines = vec![paint.text(Style::Bold, &format!("{}{heading}", fitted("request", NAME)))];
    lines.extend(report.requests.iter().take(MOST_ROWS).map(|request| {
        let name = format!("{} {}", request.method, request.name);
        row(&name, &request.figures, paint)
    }));
    lines.extend(left_out(report.requests.len()));
    if report.requests.len() != 1 {
        lines.push(row("total", &report.total, paint));
    }
    lines.push(String::new());
    lines.extend(on_the_wire(report));
    lines.extend(report.iterations.map(iterations));
    lines.extend(report.warm_up.map(|warm_up| {
        let (length, total) = (whole_seconds(warm_up.duration_s), warm_up.total);
        format!(
            "warm-up of {length}, in none of this: {} requests, {} failed",
            count(total.requests),
            count(total.failures)
        )
    }));
    lines
}

fn row(name: &str, figures: &Figures, paint: Paint) -> String {
    let times = &figures.latency_ms;
    let failed = right(&count(figures.failures), COLUMNS[1].1);
    let numbers = [
        right(&count(figures.requests), COLUMNS[0].1),
        if figures.failures == 0 { failed } else { paint.text(Style::Bad, &failed) },
        right(&rate(figures.rps), COLUMNS[2].1),
        right(&milliseconds(times.mean), COLUMNS[3].1),
        right(&milliseconds(times.p50), COLUMNS[4].1),
        right(&milliseconds(times.p95), COLUMNS[5].1),
        right(&milliseconds(times.p99), COLUMNS[6].1),
        right(&milliseconds(times.max), COLUMNS[7].1),
    ];
    fitted(name, NAME) + &numbers.concat()
}

/// What became of the iterations of the open model.
fn iterations(counted: Iterations) -> String {
    let Iterations { planned, started, shed, late } = counted;
    let never = planned.saturating_sub(started.saturating_add(shed));
    let seldom = [(shed, "shed"), (late, "late"), (never, "never begun")];
    let seldom = seldom.into_iter().filter(|(some, _)| 0 < *some);
    let begun = format!("{} of {} iterations started", count(started), count(planned));
    let parts: Vec<String> =
        [begun].into_iter().chain(seldom.map(|(some, what)| format!("{} {what}", count(some)))).collect();
    parts.join(", ")
}

/// What the table has no column for; only what occurred.
fn on_the_wire(report: &Report) -> Vec<String> {
    let total = &report.total;
    let mut parts = vec![
        format!("{} of {} users", count(report.users.peak.into()), count(report.users.target.into())),
        whole_seconds(report.run.duration_s),
        format!("{} requests sent", count(total.sent)),
    ];
    let seldom = [
        (total.failures, format!("{} failed", percent(total.failure_ratio))),
        (total.aborted, format!("{} cut by the stop", count(total.aborted))),
        (
            total.generator_faults,
            format!("{} failed by the generator's own fault", count(total.generator_faults)),
        ),
        (total.retried, format!("{} sent again", count(total.retried))),
        (total.truncated, format!("{} not read to the end", count(total.truncated))),
    ];
    parts.extend(seldom.into_iter().filter(|(times, _)| 0 < *times).map(|(_, text)| text));
    let mut lines = vec![parts.remove(0)];
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.width() + 2 + part.width() <= WIDTH => line.extend([", ", &part]),
            _ => lines.push(part),
        }
    }
    lines
}

fn whole_seconds(seconds: f64) -> String {
    span(std::time::Duration::try_from_secs_f64(seconds.round()).unwrap_or_default())
}

fn errors(report: &Report, paint: Paint) -> Vec<String> {
    let texts = report
        .errors
        .iter()
        .map(|failure| (failure.count, format!("{} {}: {}", failure.method, failure.name, failure.error)));
    counted("failures", texts.collect(), paint)
}

fn generator_faults(report: &Report, paint: Paint) -> Vec<String> {
    let texts = report
        .generator_faults
        .iter()
        .map(|fault| (fault.count, format!("{}: {}", fault.runner, fault.error)));
    counted("faults of the load generator itself, not of the target", texts.collect(), paint)
}

/// The lines that kept the generator from its work.
fn blocked(runners: &[Runner], paint: Paint) -> Vec<String> {
    let mut lines: Vec<(f64, String)> = runners
        .iter()
        .flat_map(|runner| runner.blocked.iter().map(move |blocked| (runner, blocked)))
        .filter(|(_, blocked)| LAG_MARKED.as_secs_f64() * 1000.0 < blocked.longest_ms)
        .map(|(runner, blocked)| {
            let longest = milliseconds(Some(blocked.longest_ms));
            let text =
                format!("  {}: {:.1} s, {longest} ms at most: {}", runner.id, blocked.seconds, blocked.place);
            (blocked.seconds, fitted(&text, WIDTH).trim_end().to_owned())
        })
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    lines.sort_by(|one, other| other.0.total_cmp(&one.0));
    let left_out = left_out(lines.len());
    let heading = paint.text(Style::Doubtful, "lines that blocked the loop");
    std::iter::once(heading)
        .chain(lines.into_iter().take(MOST_ROWS).map(|(_, text)| text))
        .chain(left_out)
        .collect()
}

fn user_errors(report: &Report, paint: Paint) -> Vec<String> {
    // A traceback's last line says what went wrong.
    let last = |text: &str| text.trim_end().lines().next_back().unwrap_or_default().to_owned();
    let texts = report.user_errors.iter().map(|error| (error.count, last(&error.error)));
    counted("users that died", texts.collect(), paint)
}

/// Texts by how often they occurred.
fn counted(heading: &str, mut texts: Vec<(u64, String)>, paint: Paint) -> Vec<String> {
    if texts.is_empty() {
        return Vec::new();
    }
    texts.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let mut lines = vec![paint.text(Style::Bold, heading)];
    lines.extend(texts.iter().take(MOST_ROWS).map(|(times, text)| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}  {}", right(&count(*times), 10), fitted(&text, WIDTH - 12).trim_end())
    }));
    lines.extend(left_out(texts.len()));
    lines
}

fn left_out(rows: usize) -> Option<String> {
    let more = rows.saturating_sub(MOST_ROWS);
    (0 < more).then(|| format!("… and {more} more in the report"))
}

fn gaps(gaps: &[Gap], paint: Paint) -> Vec<String> {
    if gaps.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![paint.text(Style::Doubtful, "load that was missing (UTC)")];
    lines.extend(gaps.iter().take(MOST_ROWS).map(|gap| {
        let lost = match gap.lost_at_most {
            Some(lost) => format!("at most {} requests not counted", count(lost)),
            None => "an unknown number of requests not counted".to_owned(),
        };
        format!("  {}, {} to {}: {lost}", gap.runner, time_of_day(&gap.from), time_of_day(&gap.to))
    }));
    lines.extend(left_out(gaps.len()));
    lines
}

/// The time of an RFC 3339 instant, which is in UTC; anything else as it is.
fn time_of_day(instant: &str) -> &str {
    instant.split_once('T').map_or(instant, |(_, time)| time.trim_end_matches('Z'))
}

fn thresholds(thresholds: &[ThresholdResult], paint: Paint) -> Vec<String> {
    if thresholds.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![paint.text(Style::Bold, "thresholds")];
    lines.extend(thresholds.iter().map(|threshold| {
        let mark = if threshold.passed {
            paint.text(Style::Good, "kept  ")
        } else {
            paint.text(Style::Bad, "broken")
        };
        let whose = threshold.request.as_ref().map(|request| format!(" for {request}")).unwrap_or_default();
        let from = threshold.from_s.filter(|from| 0.0 < *from).map(|from| format!(", from {from:.1} s on"));
        format!("  {mark}  {}{whose}: {}{}", threshold.expr, threshold.measured(), from.unwrap_or_default())
    }));
    lines
}

fn verdict(report: &Report, paint: Paint) -> Vec<String> {
    let result = report.verdict.result;
    let style = match result {
        Outcome::Passed => Style::Good,
        Outcome::Failed | Outcome::Invalid => Style::Bad,
        Outcome::Cancelled | Outcome::NotStarted => Style::Doubtful,
    };
    let mut lines = vec![paint.text(style, &format!("{result:?}"))];
    lines.extend(report.verdict.reasons.iter().map(|reason| format!("  {reason}")));
    lines
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
