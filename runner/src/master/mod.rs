//! The master of a run as a process sees it: the control port, the metrics port and the thread that drives
//! [`aiotest_core`]'s state machine with a clock. Decides nothing itself. Start at [`Master::start`].

mod address;
mod desk;
mod drive;
mod exporter;
mod memory;
mod ports;
mod token;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aiotest_core::master::{Hooks, MasterEvent, ShapeTick};
use aiotest_core::message::{RunState, StopReason, Termination};
use aiotest_core::report::Report;
use aiotest_core::run::{ClassSpec, InvalidRun, RunSpec};
use tokio::sync::mpsc;

use crate::outbox::Outbox;
use desk::Desk;
use drive::{Bound, Farewell};
pub use exporter::DEFAULT_BUCKETS_MS;
use exporter::Exporter;
use memory::Memory;
pub use token::Token;

/// Why a master cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No master can carry this run out.
    #[error("unable to carry out the run: {0}")]
    Invalid(InvalidRun),
    /// An address that is no `host:port`, in use, or not this machine's.
    #[error("failed to bind the {port} port on `{address}`")]
    Bind {
        /// Which of the two ports.
        port: &'static str,
        /// As it was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The process is out of threads, descriptors or memory.
    #[error("failed to start the master's thread")]
    Thread(#[source] io::Error),
}

/// What a master needs beside the run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where runners dial in, as `host:port`; port 0 takes a free one, an empty host every address of the machine.
    pub control_address: String,
    /// Where `/metrics` and `/healthz` are.
    pub metrics_address: String,
    /// What every call of the control port must carry.
    pub token: Token,
    /// Bounds of `aiotest_response_times`, in milliseconds.
    pub buckets_ms: Vec<f64>,
    /// Somebody reads the result over the control port: [`MasterEvent::Ended`] waits for it, for `deadlines.results` at
    /// most.
    pub keep_result: bool,
    /// How long [`MasterEvent::Ended`] waits for two more scrapes of `/metrics`; `None` on a laptop, where nobody
    /// scrapes. No verdict waits for it.
    pub linger: Option<Duration>,
    /// What the scenario does once, in the process of the master: it is asked to by [`MasterEvent::Setup`] and
    /// [`MasterEvent::Teardown`].
    pub hooks: Hooks,
    /// Where the checkpoint is kept, from which a restarted master goes on with its run.
    pub state_dir: Option<PathBuf>,
}

/// What Python tells the master.
#[derive(Debug)]
enum Command {
    Shape(ShapeTick),
    Setup(Result<(), String>),
    Teardown(Result<(), String>),
    Stop(StopReason),
    Close,
}

/// A running master. Dropped, it closes.
pub struct Master {
    desk: Arc<Desk>,
    events: Arc<Outbox<MasterEvent>>,
    commands: mpsc::UnboundedSender<Command>,
    control: SocketAddr,
    metrics: SocketAddr,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Master {
    /// Binds both ports, and accepts runners from then on, in a thread of its own.
    pub fn start(spec: RunSpec, classes: Vec<ClassSpec>, options: Options) -> Result<Self, Error> {
        let control = bind("control", &options.control_address)?;
        let metrics = bind("metrics", &options.metrics_address)?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(Error::Thread);
        let (control_address, metrics_address) = (address(&control)?, address(&metrics)?);
        let run = spec.run.clone();
        let farewell = Farewell { result: options.keep_result, linger: options.linger };
        let memory = options.state_dir.map(Memory::new);
        let desk = Desk::new(spec, classes, options.hooks, memory, since_1970()).map_err(Error::Invalid)?;
        let desk = Arc::new(desk);
        let exporter = Exporter::new(&run, &options.buckets_ms, Arc::clone(&desk));
        let routes =
            (ports::control(Arc::clone(&desk), options.token), ports::metrics(Arc::clone(&desk), exporter));
        let events = Arc::new(Outbox::new().map_err(Error::Thread)?);
        let (commands, inbox) = mpsc::unbounded_channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let drive = {
            let _context = runtime.enter();
            let bound = Bound {
                control: tokio::net::TcpListener::from_std(control).map_err(Error::Thread)?,
                metrics: tokio::net::TcpListener::from_std(metrics).map_err(Error::Thread)?,
            };
            drive::drive(Arc::clone(&desk), bound, routes, farewell, inbox, Arc::clone(&events))
        };
        let thread = std::thread::Builder::new()
            .name("aiotest-master".to_owned())
            .spawn(move || runtime.block_on(drive))
            .map_err(Error::Thread)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { desk, events, commands, control: control_address, metrics: metrics_address, thread })
    }

    /// What has happened, oldest first. [`MasterEvent::Ended`] is the last one, and comes when every runner process
    /// has heard of the end and nobody waits for anything here any more: the process may then close and end.
    pub fn events(&self) -> &Outbox<MasterEvent> {
        &self.events
    }

    /// The shape's answer to [`MasterEvent::AskShape`].
    pub fn shape(&self, answer: ShapeTick) {
        self.tell(Command::Shape(answer));
    }

    /// How the setup went that [`MasterEvent::Setup`] asked for.
    pub fn set_up(&self, outcome: Result<(), String>) {
        self.tell(Command::Setup(outcome));
    }

    /// How the teardown went that [`MasterEvent::Teardown`] asked for.
    pub fn torn_down(&self, outcome: Result<(), String>) {
        self.tell(Command::Teardown(outcome));
    }

    /// Ends the load early.
    pub fn stop(&self, reason: StopReason) {
        self.tell(Command::Stop(reason));
    }

    /// Live users of the whole run.
    pub fn user_count(&self) -> u32 {
        self.desk.look(|core, _| core.users())
    }

    /// `ready`, `starting`, `running`, `stopping` or `stopped`.
    pub fn state(&self) -> &'static str {
        self.desk.look(|core, now| match core.state() {
            RunState::Waiting => "ready",
            RunState::Running if core.users() < core.target(now) => "starting",
            RunState::Running => "running",
            RunState::Draining => "stopping",
            RunState::Ended => "stopped",
        })
    }

    /// The report, once the run is over.
    pub fn report(&self) -> Option<Report> {
        self.desk.report()
    }

    /// What the process is to leave behind, once the run is over.
    pub fn termination(&self) -> Option<Termination> {
        self.desk.report().map(|report| Termination::of(&report.verdict))
    }

    /// The control port as bound.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// The metrics port as bound.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Stops serving, whatever the run does; the ports are free when this returns, after two seconds at most.
    pub fn close(&self) {
        self.tell(Command::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in it was printed.
            let _ = thread.join();
        }
    }

    fn tell(&self, command: Command) {
        // A thread that has ended has nothing left to be told.
        let _ = self.commands.send(command);
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.close();
    }
}

fn bind(port: &'static str, address: &str) -> Result<TcpListener, Error> {
    address::bind(address).map_err(|source| Error::Bind { port, address: address.to_owned(), source })
}

/// Microseconds.
fn since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}
