//! Data sets: rows of a file that every process of a run has, handed out among its users.
//!
//! Knows how many rows there are, and which are whose; never what is in one. Start at [`DataSpec`] and [`RowSet`].

mod rows;

use serde::{Deserialize, Serialize};

pub use rows::RowSet;

/// A data set of a run. What a process found in its file is filled in when it has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSpec {
    /// What scenarios ask for.
    pub name: String,
    /// Who gets which row.
    #[serde(default)]
    pub policy: Policy,
    /// What happens when there is none left.
    #[serde(default)]
    pub at_end: AtEnd,
    /// Path of the file.
    pub file: String,
    /// How many rows were found in the file.
    #[serde(default)]
    pub rows: u32,
    /// Tells the file's content from any other.
    #[serde(default)]
    pub hash: String,
}

/// Who gets which row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// A row is one live user's at a time, of the whole run; it comes back when that user ends.
    #[default]
    Unique,
    /// Every process goes through all rows for itself.
    Shared,
    /// All processes go through the rows together: each row is handed out once in a pass.
    Sharded,
}

/// What happens when no row is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtEnd {
    /// The rows begin again; users wait for one that comes back.
    #[default]
    Loop,
    /// Users that ask are told so.
    Stop,
}
