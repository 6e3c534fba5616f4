//! What a scrape tells, borrowed from its owner for the moment of the scrape.

use aiotest_core::stats::Statistics;

/// The run at one moment.
#[derive(Debug)]
pub(in crate::master) struct Figures<'a> {
    /// Everything merged so far.
    pub(in crate::master) statistics: &'a Statistics,
    /// Live runner processes, in a fixed order.
    pub(in crate::master) nodes: Vec<Node>,
    /// Users that the plan wants now.
    pub(in crate::master) users_target: u32,
    /// The verdict's word, once there is one.
    pub(in crate::master) verdict: Option<String>,
}

/// One runner process.
#[derive(Clone, Debug)]
pub(in crate::master) struct Node {
    /// Such as `runner-0/1`.
    pub(in crate::master) name: String,
    /// Users alive on it.
    pub(in crate::master) users: u32,
    /// Its CPU, in percent of one.
    pub(in crate::master) cpu_percent: f64,
}
