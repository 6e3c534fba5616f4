//! The heart of a load test: plan, shares, protocol, state machines, statistics, verdict.
//!
//! Has no I/O, no clock and no randomness: time comes in as a [`tick::Tick`], messages come in and effects are polled
//! out, so every run can be replayed exactly. Start at [`master::Master`] and [`runner::Runner`].

pub mod arrivals;
pub mod data;
pub mod health;
pub mod histogram;
pub mod master;
pub mod message;
pub mod plan;
pub mod report;
pub mod run;
pub mod runner;
pub mod share;
pub mod stats;
pub mod tick;
pub mod verdict;
pub mod wall;
