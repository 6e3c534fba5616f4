//! The Rust half of the `aiotest` Python package: everything that happens once per request.
//!
//! - [`reactor`]: the HTTP engine; sockets, parsers, timeouts and counters. Knows no Python.
//! - [`coding`]: gzip, deflate, br and zstd.
//! - [`control`]: the runner's side of the control protocol; [`deposit`]: what it leaves behind if it dies.
//! - [`master`]: the control port, the metrics port and the clock of a run's master.
//! - `client`: the engine as Python's `ClientSession` sees it; `bindings`: the module `aiotest._native`.
//! - [`outbox`]: how a thread of ours wakes Python's loop.
//! - [`run`]: `aiotest run`; the manifest, progress and the table. [`pod`]: `aiotest pod`, the parent in a runner's pod.
//!   `parent`: the child processes of both.
//!
//! Without the feature `python` the crate is plain Rust, so that all but the interpreter's side is tested by
//! `cargo test`.

mod alarm;
#[cfg(feature = "python")]
mod bindings;
#[cfg(feature = "python")]
pub mod client;
mod clock;
pub mod coding;
pub mod control;
pub mod deposit;
mod ffi;
pub mod frames;
#[cfg(test)]
mod fuzz;
pub mod master;
pub mod outbox;
mod parent;
pub mod pod;
pub mod reactor;
pub mod run;

/// A line for whoever watches this process, if anybody still does: our threads have no other voice, as they never attach
/// to Python, and must outlive a reader that is gone (`eprintln!` would panic).
fn complain(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "aiotest: {what}");
}
