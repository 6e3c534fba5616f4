//! What a runner's state machine asks of its shell. Never carries anything out. Start at [`Action`].

use std::time::Duration;

use crate::arrivals::Arrival;
use crate::data::RowSet;

/// What a shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The load is about to start: tell the scenario.
    TestStart,
    /// Start so many users of a class. They count as live from now on.
    Start {
        /// The class' place in the list.
        class: usize,
        /// How many.
        users: u32,
    },
    /// End up to so many users of a class. Of fewer that are live, all; the rest is not carried over, as users that
    /// died keep their place in the share.
    Retire {
        /// The class' place in the list.
        class: usize,
        /// How many.
        users: u32,
    },
    /// In the open model: no more than so many users of a class from now on; those above go as retired ones do, first those
    /// that have nothing to do.
    Allow {
        /// The class' place in the list.
        class: usize,
        /// How many.
        users: u32,
    },
    /// In the open model: begin these iterations, each with a user of its class that has nothing to do, or with a new one if
    /// there may be one; otherwise it is shed. Their instants are by the process' own clock, and have come.
    Begin {
        /// In the order of their instants.
        iterations: Vec<Arrival>,
        /// So many more, which are shed: they are more than could be begun at once.
        shed: u64,
    },
    /// Every user of the first ramp runs, in all processes: tell the scenario.
    StartComplete {
        /// Users of all processes.
        users: u32,
    },
    /// A round of a rendezvous is over, in all processes: let everybody go on who waits there, at once.
    Release {
        /// Of the rendezvous.
        name: String,
        /// How long that is ago: who has come since waits for the next round.
        late: Duration,
    },
    /// Start no call any more, end every user, and tell the scenario: users outside a call at once, the others with
    /// their call or at the deadline.
    Drain {
        /// From now.
        deadline: Duration,
    },
    /// These rows of a data set are the users' from now on.
    Rows {
        /// The data set's place in the run's.
        set: usize,
        /// Which rows.
        rows: RowSet,
    },
    /// Give back the rows of a data set that no user has.
    Recall {
        /// The data set's place in the run's.
        set: usize,
    },
    /// Every row of a data set is used: users that wait for one need wait no longer.
    Exhausted {
        /// The data set's place in the run's.
        set: usize,
    },
    /// Refuse calls and cancel every user at once: nobody answers for this load. Users may be started again later.
    StopNow,
    /// End the process.
    End {
        /// With this exit code.
        exit_code: u8,
    },
}
