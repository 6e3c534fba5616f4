//! The two text formats of a scrape: OpenMetrics, which the encoder writes, and the older one, which a scraper without
//! `application/openmetrics-text` in its `Accept` gets. Never changes a sample. Start at [`Format::accepted`].

use std::fmt::Write as _;

/// How a scrape is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Plain,
}

impl Format {
    /// What a scraper with this `Accept` understands.
    pub(in crate::master) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    /// The format's `Content-Type`.
    pub(in crate::master) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Turns the encoder's OpenMetrics into this format.
    pub(super) fn of(self, openmetrics: String) -> String {
        match self {
            Self::OpenMetrics => openmetrics,
            Self::Plain => plain(&openmetrics),
        }
    }
}

/// In the older format a counter's family bears the name of its samples, with `_total`; units and the end mark are
/// unknown to it.
fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, words));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Writing to a string cannot fail.
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(text, "# HELP {name}{suffix} {words}");
            }
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_a_counters_family_like_its_samples() {
        let openmetrics = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n\
            a_seconds 1.0\n# HELP b Count of b.\n# TYPE b counter\nb_total{x=\"# EOF\"} 2\n# EOF\n";
        assert_eq!(
            Format::Plain.of(openmetrics.to_owned()),
            "# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 1.0\n\
            # HELP b_total Count of b.\n# TYPE b_total counter\nb_total{x=\"# EOF\"} 2\n"
        );
    }

    #[test]
    fn a_scraper_gets_what_it_asks_for() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Plain);
        assert_eq!(Format::accepted(""), Format::Plain);
    }
}
