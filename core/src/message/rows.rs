//! What is said of the rows of data sets: numbers only, what is in a row never crosses the network.
//!
//! A process says what it has; the answer offers it more. An offer is of one turn: whoever has sent another report does
//! not take it any more, so a master that hears of that report knows what became of the offer. Start at [`RowsReport`]
//! and [`RowsAnswer`].

use serde::{Deserialize, Serialize};

use crate::data::RowSet;

/// The rows that a process has and wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsReport {
    /// One higher with every report that is sent, also with one that is sent again.
    pub turn: u64,
    /// The turn of the last answer whose offer was taken.
    #[serde(default)]
    pub heard: u64,
    /// By data set, in the order of the run's.
    pub sets: Vec<SetReport>,
}

/// The rows of one data set that a process has and wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReport {
    /// Which one.
    pub name: String,
    /// How many rows the process found in its file.
    pub rows: u32,
    /// Tells the content of that file from any other.
    pub hash: String,
    /// The pass that `held` are of.
    #[serde(default)]
    pub pass: u64,
    /// What it has been given and has not given back. In a pass over the rows that includes what has been used.
    #[serde(default)]
    pub held: RowSet,
    /// Users that wait for a row.
    #[serde(default)]
    pub waiting: u32,
    /// Rows at hand that no user has.
    #[serde(default)]
    pub unused: u32,
    /// Rows that it would like to have at hand.
    #[serde(default)]
    pub reserve: u32,
}

/// The rows that a process is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsAnswer {
    /// The report's that is answered.
    pub turn: u64,
    /// By data set, in the order of the run's.
    pub sets: Vec<SetAnswer>,
}

/// The rows of one data set that a process is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAnswer {
    /// The pass that `offer` is of.
    #[serde(default)]
    pub pass: u64,
    /// No row from here on has been given to anybody in this pass; for a master that was replaced.
    #[serde(default)]
    pub reached: u32,
    /// To take, beside what is held.
    #[serde(default)]
    pub offer: RowSet,
    /// Somebody waits for a row and none is free: give back what no user has.
    #[serde(default)]
    pub short: bool,
    /// Every row is used: who waits need wait no longer.
    #[serde(default)]
    pub exhausted: bool,
}
