//! Claims about a scrape.

use std::time::Duration;

use aiotest_core::stats::{Outcome, Sample, Statistics};

use super::*;

struct Still(Statistics);

impl Source for Still {
    fn look(&self, look: &mut dyn FnMut(&Figures<'_>)) {
        let node = |name: &str, users, cpu_percent| Node { name: name.to_owned(), users, cpu_percent };
        look(&Figures {
            statistics: &self.0,
            nodes: vec![node("runner-0/0", 50, 12.5), node("runner-1/0", 49, 13.0)],
            users_target: 100,
            verdict: Some("Failed".into()),
        });
    }
}

fn statistics() -> Statistics {
    let ok = Sample {
        name: "/item",
        method: "GET",
        latency: Duration::from_millis(3),
        phases: &[],
        status: Some(200),
        bytes_received: 10,
        outcome: Outcome::Success,
        sent: 1,
        retried: 0,
        truncated: false,
        late: None,
    };
    let mut statistics = Statistics::default();
    statistics.record(&ok);
    statistics.record(&Sample {
        status: Some(201),
        latency: Duration::from_millis(120),
        bytes_received: 31,
        ..ok
    });
    statistics.record(&Sample { status: Some(503), outcome: Outcome::Failure("503 \"busy\"\n"), ..ok });
    statistics.record(&Sample {
        name: "/pay",
        method: "POST",
        latency: Duration::from_secs(9),
        status: None,
        bytes_received: 0,
        outcome: Outcome::Failure("TimeoutError"),
        sent: 2,
        retried: 1,
        ..ok
    });
    statistics.record(&Sample { outcome: Outcome::Aborted, ..ok });
    statistics.user_error("ZeroDivisionError: division by zero");
    statistics
}

fn exporter(statistics: Statistics, buckets: &[f64]) -> Exporter {
    let run = RunIdentity { id: "4f1c".into(), name: "checkout".into(), namespace: "shop".into(), number: 1 };
    Exporter::new(&run, buckets, Still(statistics))
}

#[test]
fn a_scrape_of_known_figures_is_the_committed_text() {
    let scrape = exporter(statistics(), &[50.0, 100.0]).scrape(Format::Plain);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/master/exporter/golden.txt");
    if std::env::var_os("AIOTEST_WRITE_GOLDEN").is_some() {
        std::fs::write(golden, &scrape).unwrap();
    }
    let committed = std::fs::read_to_string(golden).unwrap_or_default();
    assert!(
        committed == scrape,
        "golden.txt differs: run this test with AIOTEST_WRITE_GOLDEN=1 and look at the change\n{scrape}"
    );
}

#[test]
fn the_same_figures_are_the_same_bytes() {
    let mut turned = Statistics::default();
    turned.row("/pay", "POST");
    turned.merge(&statistics());
    let scrapes =
        [statistics(), turned].map(|statistics| exporter(statistics, &[]).scrape(Format::OpenMetrics));
    assert_eq!(scrapes[0], scrapes[1]);
    assert!(scrapes[0].ends_with("# EOF\n"));
}

#[test]
fn a_run_without_a_call_has_no_empty_family() {
    let scrape = exporter(Statistics::default(), &DEFAULT_BUCKETS_MS).scrape(Format::Plain);
    assert!(!scrape.contains("aiotest_response_times") && !scrape.contains("aiotest_requests"), "{scrape}");
    assert!(
        scrape.contains("aiotest_users_target{loadtest=\"checkout\",namespace=\"shop\",run=\"4f1c\"} 100"),
        "{scrape}"
    );
}
