//! `aiotest run`: carries out a LoadTest manifest on this machine, with a master and runners as child processes.
//!
//! The parent holds no load and no statistics: it reads the manifest, keeps the processes alive, asks the master how the
//! run goes, and prints. Never attaches to the interpreter. Start at [`run_manifest`].

mod documents;
mod figures;
mod manifest;
mod metrics;
mod progress;
mod report_file;
mod session;
mod sources;
mod stage;
mod summary;
mod table;
mod yaml;

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aiotest_core::run::{RunIdentity, RunSpec};
use aiotest_wire::plan;
use clap::Parser;

pub use progress::show_progress;

use crate::parent::interrupts::Interrupts;
use crate::parent::output::{Output, Stream};
use crate::parent::with_causes;
use report_file::ReportFile;
use session::{Order, carry_out};
use stage::Stage;

/// Exit code of a run that could not be judged.
const INVALID: i32 = 2;
/// Exit code of a run that never started or was broken off.
const NOT_RUN: i32 = 3;
/// Exit code of a command line or a manifest that cannot be used.
const USAGE: i32 = 64;
/// Carry out a LoadTest manifest on this machine, with processes of its own and no cluster
#[derive(Debug, Parser)]
#[command(
    name = "aiotest run",
    no_binary_name = true,
    after_help = "Exit codes: 0 Passed, 1 Failed, 2 Invalid, 3 not run or cancelled, 64 a command line or manifest \
                  that cannot be used.\nThe first Ctrl-C ends the load and reports, the second quits."
)]
struct Arguments {
    /// A LoadTest manifest, which finds the ConfigMaps or the aiotestfile beside it, or a folder with both
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
    told(manifest_carried_out(&arguments, python, &output), &output)
}

/// Carries out the run that `plan` says (the JSON of a [`RunSpec`]) as [`run_manifest`] does once it has read its
/// manifest, and returns the same exit codes. The aiotestfile stays where it is.
pub fn run_plan(plan: &str, metrics_address: SocketAddr, python: &Path) -> i32 {
    let output = Output::of_process();
    let attempt = || {
        let spec: RunSpec = serde_json::from_str(plan).map_err(refuse(USAGE))?;
        let metrics = metrics::address(Some(metrics_address), &output).map_err(refuse(USAGE))?;
        let stage = Stage::set(python).map_err(refuse(NOT_RUN))?;
        carried_out(&spec, metrics, &stage, None, &output)
    };
    told(attempt(), &output)
}

/// Why there is no verdict.
struct Refusal {
    exit_code: i32,
    error: Box<dyn StdError>,
}

fn refuse<E: StdError + 'static>(exit_code: i32) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal { exit_code, error: Box::new(error) }
}

/// The exit code, once a refusal has been printed.
fn told(outcome: Result<i32, Refusal>, output: &Output) -> i32 {
    outcome.unwrap_or_else(|refusal| {
        output.line(Stream::Err, &format!("aiotest: {}", with_causes(&*refusal.error)));
        refusal.exit_code
    })
}

/// Everything between the command line and the exit code.
fn manifest_carried_out(arguments: &Arguments, python: &Path, output: &Output) -> Result<i32, Refusal> {
    let manifest = manifest::load(&arguments.path).map_err(|error| {
        let exit_code = if error.is_missing_source() { NOT_RUN } else { USAGE };
        refuse(exit_code)(error)
    })?;
    for note in &manifest.notes {
        output.line(Stream::Err, &format!("aiotest: {note}"));
    }
    let metrics = metrics::address(arguments.metrics_address, output).map_err(refuse(USAGE))?;
    let report_file =
        arguments.report_json.as_deref().map(ReportFile::at).transpose().map_err(refuse(USAGE))?;
    let stage = Stage::set(python).map_err(refuse(NOT_RUN))?;
    let aiotestfile = stage.write_sources(&manifest.files, &manifest.aiotestfile).map_err(refuse(NOT_RUN))?;
    let data = stage.write_data(&manifest.data).map_err(refuse(NOT_RUN))?;
    let id = stage::random_hex(8).map_err(refuse(NOT_RUN))?;
    let name = manifest.load_test.metadata.name.clone().unwrap_or_default();
    let run = RunIdentity { id, name, namespace: String::new(), number: 1 };
    // The runners themselves are the processes here.
    let spec = plan::run_spec(
        &manifest.load_test,
        run,
        1,
        aiotestfile.display().to_string(),
        &data.display().to_string(),
    );
    carried_out(&spec, metrics, &stage, report_file, output)
}

/// The run itself, its report and its table.
fn carried_out(
    spec: &RunSpec,
    metrics: SocketAddr,
    stage: &Stage,
    report_file: Option<ReportFile>,
    output: &Output,
) -> Result<i32, Refusal> {
    stage.write_plan(spec).map_err(refuse(NOT_RUN))?;
    let order = Order::of(spec, metrics.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(refuse(NOT_RUN))?.block_on(async {
        let interrupts = Interrupts::listen().map_err(refuse(NOT_RUN))?;
        let finished = carry_out(&order, stage, interrupts, output).await.map_err(|error| {
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
}
