//! As many runner processes as a plan asks for, in one process: the real state machines, each over a connection of its
//! own to a real master, with made-up measurements in place of users. `bench/scale.py` starts it.
//!
//! Sends no load and knows no interpreter. Prints what it found as one line of JSON, once every runner was told that
//! the run is over. Start at [`runner::Simulated`].

mod figures;
mod runner;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aiotest_core::message::ProcessId;
use aiotest_core::run::RunSpec;
use aiotest_core::runner::Runner;
use aiotest_core::tick::Tick;
use clap::Parser;
use tokio::task::JoinSet;

use figures::Found;
use runner::{Dial, Simulated};
use work::Work;

/// Simulated runners for a master that waits for them.
#[derive(Parser)]
struct Options {
    /// The run's plan file, as its master has it.
    plan: PathBuf,
    /// Where the master is, as HOST:PORT.
    #[arg(long)]
    master: String,
    /// The file with the run's token.
    #[arg(long)]
    token_file: PathBuf,
    /// The one user class of the master's scenario.
    #[arg(long)]
    class: String,
    /// Distinct names of requests in every report.
    #[arg(long)]
    names: u32,
    /// Calls that a runner makes up in a second.
    #[arg(long)]
    calls: u32,
    /// So many seconds after the start the times of answers are taken...
    #[arg(long)]
    after: f64,
    /// ...for so many.
    #[arg(long)]
    seconds: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(found) => {
            println!("{}", serde_json::json!(found));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("aiotest-swarm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run, to its end.
fn run(options: &Options) -> Result<Found, String> {
    let plan = read(&options.plan)?;
    let spec: RunSpec = serde_json::from_str(&plan)
        .map_err(|error| format!("`{}` is no plan: {error}", options.plan.display()))?;
    let token = read(&options.token_file)?;
    let work = Work::make(options.names, options.calls);
    let span = |seconds| Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    let timed = span(options.after)?..span(options.after + options.seconds)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("failed to start: {error}"))?;
    runtime.block_on(async {
        let (began, mut swarm) = (Instant::now(), JoinSet::new());
        for index in 0..spec.runners {
            let id = ProcessId { runner: format!("runner-{index}"), process: 0, incarnation: 1 };
            // No two machines' clocks began together.
            let ahead = Duration::from_secs(u64::from(index) * 7);
            let core = Runner::new(id, vec![options.class.clone()], spec.dead_man, Tick::ZERO + ahead);
            let dial = Dial::new(&options.master, token.trim())
                .map_err(|error| format!("failed to prepare calls: {error}"))?;
            swarm.spawn(Simulated::new(core, dial, work.of(index), (began, ahead), timed.clone()).run());
        }
        let mut found = Found::default();
        while let Some(told) = swarm.join_next().await {
            found.add(told.map_err(|error| format!("a runner failed: {error}"))?);
        }
        Ok(found)
    })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("failed to read `{}`: {error}", path.display()))
}
