//! `aiotest run`: carries out a LoadTest manifest on this machine, with a master and runners as child processes.
//!
//! The parent holds no load and no statistics: it reads the manifest, keeps the processes alive, asks the master how the
//! run goes, and prints. Never attaches to the interpreter. Start at [`run_manifest`].

mod child;
mod documents;
mod figures;
mod interrupts;
mod manifest;
mod master_client;
mod output;
mod plan;
mod progress;
mod report_file;
mod restarts;
mod session;
mod sources;
mod stage;
mod summary;
mod supervise;
mod table;
mod yaml;

use std::error::Error as StdError;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use clap::Parser;

pub use progress::{Watch, show_progress};

use interrupts::Interrupts;
use manifest::Manifest;
use output::{Output, Stream};
use report_file::ReportFile;
use session::{Order, carry_out};
use stage::Stage;

/// Exit code of a run that could not be judged.
const INVALID: i32 = 2;
/// Exit code of a run that never started or was broken off.
const NOT_RUN: i32 = 3;
/// Exit code of a command line or a manifest that cannot be used.
const USAGE: i32 = 64;
/// Where `/metrics` is served if nothing else is asked for.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8089);

/// Carry out a LoadTest manifest on this machine, with processes of its own and no cluster
#[derive(Debug, Parser)]
#[command(
    name = "aiotest run",
    no_binary_name = true,
    after_help = "Exit codes: 0 Passed, 1 Failed, 2 Invalid, 3 not run or cancelled, 64 a command line or manifest \
                  that cannot be used.\nThe first Ctrl-C ends the load and reports, the second quits."
)]
struct Arguments {
    /// A LoadTest manifest, which finds the ConfigMaps beside it, or a folder with both
    path: PathBuf,
    /// Write the report there, as JSON
    #[arg(long, value_name = "FILE")]
    report_json: Option<PathBuf>,
    /// Serve /metrics there [default: 127.0.0.1:8089, or any free port if that is taken]
    #[arg(long, value_name = "HOST:PORT")]
    metrics_address: Option<SocketAddr>,
}

/// Carries out `aiotest run` with the arguments after `run`, and returns the exit code: 0 Passed, 1 Failed, 2 Invalid,
/// 3 not run or cancelled, 64 for what cannot be used. `python` is the interpreter that has the package.
///
/// Blocks; SIGINT, SIGTERM and SIGHUP are its own from here on, so a caller inside Python must have set SIGINT back to
/// its default and let go of the interpreter.
pub fn run_manifest(argv: &[String], python: &Path) -> i32 {
    let arguments = match Arguments::try_parse_from(argv) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to stdout, everything else to stderr; a closed one is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    let output = Output::of_process();
    carried_out(&arguments, python, &output).unwrap_or_else(|refusal| {
        output.line(Stream::Err, &format!("aiotest: {}", with_causes(&*refusal.error)));
        refusal.exit_code
    })
}

/// Why there is no verdict.
struct Refusal {
    exit_code: i32,
    error: Box<dyn StdError>,
}

fn refuse<E: StdError + 'static>(exit_code: i32) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal { exit_code, error: Box::new(error) }
}

/// Everything between the command line and the exit code.
fn carried_out(arguments: &Arguments, python: &Path, output: &Output) -> Result<i32, Refusal> {
    let manifest = manifest::load(&arguments.path).map_err(|error| {
        let exit_code = if error.is_missing_source() { NOT_RUN } else { USAGE };
        refuse(exit_code)(error)
    })?;
    for note in &manifest.notes {
        output.line(Stream::Err, &format!("aiotest: {note}"));
    }
    let order = order(&manifest, arguments, output)?;
    let report_file =
        arguments.report_json.as_deref().map(ReportFile::at).transpose().map_err(refuse(USAGE))?;
    let stage = Stage::set(&manifest, python).map_err(refuse(NOT_RUN))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(refuse(NOT_RUN))?.block_on(async {
        let interrupts = Interrupts::listen().map_err(refuse(NOT_RUN))?;
        let finished = carry_out(&order, &stage, interrupts, output).await.map_err(|error| {
            let exit_code = if error.is_invalid() { INVALID } else { NOT_RUN };
            refuse(exit_code)(error)
        })?;
        let exit_code = i32::from(finished.report.verdict.result.exit_code());
        let written = report_file.map_or(Ok(()), |file| file.write(&finished.report));
        output.line(Stream::Out, &summary::summary(&finished.report, output.has_colour()));
        finished.leave(output).await;
        written.map(|()| exit_code).map_err(refuse(NOT_RUN))
    })
}

fn order(manifest: &Manifest, arguments: &Arguments, output: &Output) -> Result<Order, Refusal> {
    let spec = &manifest.load_test.spec;
    Ok(Order {
        runners: spec.runners,
        metrics_address: metrics_address(arguments.metrics_address, output)
            .map_err(refuse(USAGE))?
            .to_string(),
        startup: spec.deadlines.startup.to_std(),
        stop: spec.deadlines.stop.to_std(),
    })
}

/// A port that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("--metrics-address: failed to listen on {address}: {source}")]
struct MetricsPort {
    address: SocketAddr,
    source: io::Error,
}

/// The address that was asked for, or the usual one, or any free port beside it.
fn metrics_address(asked: Option<SocketAddr>, output: &Output) -> Result<SocketAddr, MetricsPort> {
    let address = asked.unwrap_or(METRICS);
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(source) if asked.is_some() => Err(MetricsPort { address, source }),
        Err(_) => {
            output.line(Stream::Err, &format!("aiotest: {address} is taken: /metrics gets a free port"));
            Ok(SocketAddr::new(address.ip(), 0))
        }
    }
}

/// An error with everything that led to it, in one line.
fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // A transparent error and its source say the same.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(words)
    }

    #[test]
    fn the_command_line_is_a_path_and_two_options() {
        let arguments =
            parsed(&["load", "--report-json", "r.json", "--metrics-address", "127.0.0.1:9"]).unwrap();
        assert_eq!(arguments.path, Path::new("load"));
        assert_eq!(arguments.report_json.as_deref(), Some(Path::new("r.json")));
        assert_eq!(arguments.metrics_address, Some(SocketAddr::from(([127, 0, 0, 1], 9))));
        for wrong in [&[][..], &["a", "b"], &["a", "--users", "3"], &["a", "--metrics-address", "localhost"]]
        {
            assert!(parsed(wrong).unwrap_err().use_stderr(), "{wrong:?}");
        }
    }

    #[test]
    fn a_taken_port_is_replaced_only_if_nobody_asked_for_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refusal = metrics_address(Some(address), &Output::captured()).unwrap_err().to_string();
        assert!(
            refusal.starts_with(&format!("--metrics-address: failed to listen on {address}: ")),
            "{refusal}"
        );
        drop(taken);
        assert_eq!(metrics_address(Some(address), &Output::captured()).unwrap(), address);
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_no_word_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to reach the master")]
        struct Outer(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Transparent(Outer);
        let error = Transparent(Outer(io::Error::other("connection refused")));
        assert_eq!(with_causes(&error), "failed to reach the master: connection refused");
    }
}
