//! `aiotest pod`: the parent of the runner processes in one pod, and the first process of its container.
//!
//! Keeps the processes alive, tells the run's master of each death, passes a SIGTERM on as a hand-over, and reaps what
//! nobody else waits for. Holds no load and no statistics, never attaches to the interpreter, and decides nothing about
//! the run: the master's plan does. Start at [`run_pod`].

mod reaper;
mod session;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use aiotest_core::run::RunSpec;
use clap::Parser;

use crate::deposit;
use crate::parent::interrupts::Interrupts;
use crate::parent::output::{Output, Stream};
use crate::parent::runners::{Runners, program};
use crate::parent::with_causes;
use aiotest_wire::client::{self as master_client, MasterClient};
use session::{NOT_RUN, Order, Session};

/// Exit code of a command line that cannot be used.
const USAGE: i32 = 64;
/// Of the time between SIGTERM and SIGKILL (`deadlines.stop` and 30 s): what processes have beyond `deadlines.stop` to
/// hand over. What is left is for ending those that do not end, and for the last word to the master.
const HAND_OVER: Duration = Duration::from_secs(22);

/// Run the processes of one runner of a LoadTest, as the first process of its container
#[derive(Debug, Parser)]
#[command(
    name = "aiotest pod",
    no_binary_name = true,
    after_help = "Exit codes: 0 the master has ended the run, 75 handed over after SIGTERM, 3 no process can run, \
                  64 a command line that cannot be used."
)]
struct Arguments {
    /// The run's plan
    plan: PathBuf,
    /// The run's master
    #[arg(long, value_name = "HOST:PORT")]
    master: String,
    /// Holds the run's secret
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The runner's name, which no other runner of the run has
    #[arg(long, env = "AIOTEST_POD_NAME")]
    id: String,
}

/// Why a pod's processes cannot be started.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A file that the pod should have.
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A plan of somebody else's.
    #[error("failed to read the plan {}", path.display())]
    Plan { path: PathBuf, source: serde_json::Error },
    /// No folder for what processes leave behind.
    #[error("failed to make a folder in {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// Out of descriptors or threads.
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    /// No client for the master.
    #[error(transparent)]
    Client(#[from] master_client::Error),
}

/// Carries out `aiotest pod` with the arguments after `pod`, and returns the exit code: 0 when the master has ended the
/// run, 75 after a hand-over, 3 when no process can run, 64 for a command line that cannot be used. `python` is the
/// interpreter that has the package.
///
/// Blocks; SIGINT, SIGTERM and SIGHUP are its own from here on, and so is every child of this process.
pub fn run_pod(argv: &[String], python: &Path) -> i32 {
    let arguments = match Arguments::try_parse_from(argv) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    let output = Output::of_process().without_live_line();
    carried_out(&arguments, python, &output).unwrap_or_else(|error| {
        output.line(Stream::Err, &format!("aiotest: {}", with_causes(&error)));
        NOT_RUN
    })
}

fn carried_out(arguments: &Arguments, python: &Path, output: &Output) -> Result<i32, Error> {
    let Arguments { plan, master, token_file, id } = arguments;
    let spec: RunSpec =
        serde_json::from_str(&read(plan)?).map_err(|source| Error::Plan { path: plan.clone(), source })?;
    let token = read(token_file)?;
    let folder = deposit::folder().map_err(|source| Error::Folder { path: std::env::temp_dir(), source })?;
    let base = program(python, "runner", plan, token_file, &[("--master", OsString::from(master))]);
    let order = Order {
        runner: id.clone(),
        processes: spec.processes_per_runner,
        // Another pod of this name that started later has a higher one.
        incarnation: since_1970(),
        hand_over: spec.deadlines.stop + HAND_OVER,
    };
    let runners = Runners::new(base, folder.path().to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Signals)?.block_on(async {
        let interrupts = Interrupts::listen().map_err(Error::Signals)?;
        let reaper = reaper::adopt_orphans().map_err(Error::Signals)?;
        let client = MasterClient::new(master, token.trim())?;
        let exit_code = Session::start(&order, runners, client, output).follow(interrupts).await;
        reaper.abort();
        Ok(exit_code)
    })
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Microseconds.
fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_where_the_plan_the_master_and_the_token_are() {
        let words = ["plan.json", "--master", "m.shop.svc:5557", "--token-file", "token", "--id", "pod-0-x"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(arguments.plan, Path::new("plan.json"));
        assert_eq!((arguments.master.as_str(), arguments.id.as_str()), ("m.shop.svc:5557", "pod-0-x"));
        for missing in [1, 3] {
            let short = [&words[..missing], &words[missing + 2..]].concat();
            assert!(Arguments::try_parse_from(short).unwrap_err().use_stderr(), "{missing}");
        }
    }

    #[test]
    fn a_plan_that_cannot_be_read_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let plan = folder.path().join("plan.json");
        let argv = |plan: &Path| {
            let plan = plan.display().to_string();
            [&plan, "--master", "h:1", "--token-file", &plan, "--id", "x"].map(str::to_owned)
        };
        let arguments = Arguments::try_parse_from(argv(&plan)).unwrap();
        let output = Output::captured();
        let error = carried_out(&arguments, Path::new("python"), &output).unwrap_err();
        assert_eq!(error.to_string(), format!("failed to read {}", plan.display()));
        fs::write(&plan, "{").unwrap();
        let error = carried_out(&arguments, Path::new("python"), &output).unwrap_err();
        assert!(matches!(error, Error::Plan { .. }), "{error}");
    }
}
