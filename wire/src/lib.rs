//! What the operator and the runner share of the control protocol: a bounded HTTP server, the master's client, and the
//! plan of a run.
//!
//! Decides nothing about a run, holds no cluster client and knows no Python. Start at [`server::serve`],
//! [`client::MasterClient`] and [`plan::run_spec`].

pub mod client;
mod patience;
pub mod plan;
pub mod refusal;
pub mod server;
