//! `aiotest-operator wait`: ends when a LoadTest does, with the exit code of its verdict. Start at [`wait`].

use std::time::Duration;

use aiotest_api::LoadTest;
use aiotest_api::conditions::{ConditionStatus, ConditionType};
use clap::Args;
use futures::{StreamExt, pin_mut};
use kube::runtime::{WatchStreamExt, watcher};

use crate::gather::{self, Cluster};
use crate::standing::outcome_of;

/// `aiotest-operator wait`
#[derive(Args)]
pub(crate) struct WaitArguments {
    /// The LoadTest.
    name: String,
    /// Its namespace.
    #[arg(long, short)]
    namespace: String,
    /// How long to wait, in seconds, such as 120.
    #[arg(long, default_value_t = 120)]
    timeout: u64,
}

/// The exit code where there was no verdict in time.
const NO_VERDICT: u8 = 3;

/// Waits, and prints what it sees.
pub(crate) async fn wait(arguments: WaitArguments) -> Result<u8, gather::Error> {
    let cluster = Cluster::find().await?;
    let one = watcher::Config::default().fields(&format!("metadata.name={}", arguments.name));
    let seen =
        watcher(cluster.load_tests(Some(&arguments.namespace)), one).default_backoff().applied_objects();
    pin_mut!(seen);
    let waiting = async {
        let mut last = String::new();
        while let Some(next) = seen.next().await {
            match next {
                Ok(load_test) => {
                    let line = line(&load_test);
                    if line != last {
                        println!("{line}");
                        last = line;
                    }
                    if let Some(code) = exit_code(&load_test) {
                        return code;
                    }
                }
                Err(error) => eprintln!("aiotest-operator: {}", gather::words(&error)),
            }
        }
        NO_VERDICT
    };
    let outcome = tokio::time::timeout(Duration::from_secs(arguments.timeout), waiting).await;
    Ok(outcome.unwrap_or_else(|_| {
        eprintln!("aiotest-operator: no verdict within {} s", arguments.timeout);
        NO_VERDICT
    }))
}

fn line(load_test: &LoadTest) -> String {
    let succeeded = load_test.status.as_ref().and_then(|status| status.condition(ConditionType::Succeeded));
    succeeded.map_or_else(
        || "not looked at yet".to_owned(),
        |condition| format!("{}: {}", condition.reason, condition.message),
    )
}

/// By the verdict, once nothing is left to do.
fn exit_code(load_test: &LoadTest) -> Option<u8> {
    let status = load_test.status.as_ref()?;
    let reconciling = status.condition(ConditionType::Reconciling)?;
    let verdict = status.verdict.as_ref().filter(|_| reconciling.status == ConditionStatus::False)?;
    Some(outcome_of(verdict.result).exit_code())
}
