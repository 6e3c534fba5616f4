//! The master of a run as a process sees it: the control port, the metrics port and the thread that drives
//! [`aiotest_core`]'s state machine with a clock. Decides nothing itself.

mod exporter;
mod patience;
mod refusal;
mod server;
mod token;

pub use exporter::DEFAULT_BUCKETS_MS;
pub use token::Token;
