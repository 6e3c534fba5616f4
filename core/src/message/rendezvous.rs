//! What is said of rendezvous, where users of all processes wait for each other: who waits, and which rounds are over.
//!
//! Both sides say what is so, never what has changed. Start at [`Waiting`] and [`Meeting`].

use serde::{Deserialize, Serialize};

use crate::tick::Tick;

/// The most names of rendezvous in a run.
pub const MAX_RENDEZVOUS: usize = 100;
/// The longest name of a rendezvous, in bytes.
pub const MAX_RENDEZVOUS_NAME: usize = 100;

/// Users of one process that wait at a rendezvous.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Of the rendezvous; 1 to [`MAX_RENDEZVOUS_NAME`] bytes.
    pub name: String,
    /// How many rounds of it are over for this process: these users wait for the next one.
    #[serde(default)]
    pub round: u64,
    /// How many wait.
    pub waiting: u32,
    /// How many of the run they wait for; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
}

/// A rendezvous of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// Its name.
    pub name: String,
    /// How many rounds are over, or will be at `at`. Never falls.
    #[serde(default)]
    pub rounds: u64,
    /// When the last of these is over: whoever waits goes on then, everywhere at once. The same for as long as `rounds`
    /// is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Tick>,
    /// Users that wait for the next round, as far as has been reported.
    #[serde(default)]
    pub waiting: u32,
    /// How many it takes.
    #[serde(default)]
    pub needed: u32,
}

/// Whether a rendezvous can have this name.
pub fn is_rendezvous_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_RENDEZVOUS_NAME
}
