//! The runner's side of the control protocol: a thread that drives [`aiotest_core`]'s state machine over HTTP, apart
//! from the interpreter. Decides nothing itself, and knows neither the engine nor Python. Start at
//! [`Control::start`].

mod blocks;
mod cgroup;
mod dial;
mod drive;
mod health;
mod seat;
mod stack;
mod watch;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aiotest_core::message::ProcessId;
use aiotest_core::run::{ClassSpec, RunSpec};
use aiotest_core::stats::Statistics;
use aiotest_core::tick::Tick;

use crate::clock::Clock;
use crate::master::Token;
use dial::Dial;
use drive::Drive;
pub use seat::Seat;
pub use watch::Watched;

/// Why a runner process cannot take its seat.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no `host:port`.
    #[error("`{0}` is no address of a master: it must be HOST:PORT")]
    Address(String),
    /// The process has no room for what calls the master.
    #[error("failed to prepare calls to the master")]
    Client(#[source] reqwest::Error),
    /// The process is out of threads, descriptors or memory.
    #[error("failed to start the control thread")]
    Thread(#[source] io::Error),
}

/// What the control thread asks of the engine, which it does not know.
pub struct Hooks {
    /// Waits, a second at most, for what has happened but cannot be counted yet.
    pub settle: Box<dyn Fn() + Send>,
    /// What was recorded since the last time.
    pub take_statistics: Box<dyn FnMut() -> Statistics + Send>,
    /// Requests on the wire since the process began.
    pub sent_total: Box<dyn Fn() -> u64 + Send>,
    /// Calls may start for so long from now. A process that was frozen and goes on makes none after that, however late
    /// this thread wakes up.
    pub lease: Box<dyn Fn(Duration) + Send>,
    /// True: from now on refuse every call. False: allow them again.
    pub refuse: Box<dyn Fn(bool) + Send>,
    /// Cuts every open call off as by the stop, and records it: nobody else will.
    pub abort_calls: Box<dyn Fn() + Send>,
    /// Kills the process at once, whatever Python is doing: it did not stop its load.
    pub end_process: Box<dyn Fn() + Send>,
    /// Ends the process at once with this exit code, whatever Python is doing: all it had to say has been said.
    pub exit_process: Box<dyn Fn(u8) + Send>,
}

/// A running control thread. Dropped, it falls silent without a word, as if the process had died.
pub struct Control {
    seat: Arc<Seat>,
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Dials the master at `master` (`host:port`) and goes on dialling until the run's deadline, in a thread of its
    /// own.
    pub fn start(
        who: ProcessId,
        spec: &RunSpec,
        classes: &[ClassSpec],
        master: &str,
        token: &Token,
        hooks: Hooks,
    ) -> Result<Self, Error> {
        if !is_address(master) {
            return Err(Error::Address(master.to_owned()));
        }
        let dial = Dial::new(master, token).map_err(Error::Client)?;
        let seat = Arc::new(Seat::new().map_err(Error::Thread)?);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let clock = Clock::start();
        let drive = Drive::new(who, spec, classes, dial, hooks, Arc::clone(&seat), clock);
        let watched = Arc::clone(&seat.watch);
        let thread = std::thread::Builder::new()
            .name("aiotest-control".to_owned())
            .spawn(move || {
                runtime.spawn(watch::look_on(watched));
                runtime.block_on(drive.run());
                // Not dropped: that would wait for a name that is still being resolved.
                runtime.shutdown_background();
            })
            .map_err(Error::Thread)?;
        Ok(Self { seat, clock, thread: Some(thread) })
    }

    /// When it is an own time, in seconds of the system's monotonic clock.
    pub fn monotonic(&self, tick: Tick) -> f64 {
        self.clock.monotonic(tick)
    }

    /// Where Python and the control thread meet.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.seat.close();
        if let Some(thread) = self.thread.take() {
            // It hears of the closing at once, whatever it waits for; a panic in it was printed.
            let _ = thread.join();
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| 0 < port))
}
