//! What is played: the run, what goes wrong in it, and the bug that is planted. Start at [`Scenario`].

use std::time::Duration;

use aiotest_core::run::{
    ArrivalLine, Arrivals, ClassSpec, Constant, Deadlines, Desired, Load, RunIdentity, RunSpec, Stage,
};

use crate::random::Random;
use crate::rows;

/// What goes wrong, as chances per message or per second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) loss: f64,
    pub(crate) doubling: f64,
    pub(crate) long_delay: f64,
    pub(crate) death: f64,
    pub(crate) cut_off: f64,
    /// A death that nobody sees.
    pub(crate) unseen: f64,
    /// The master's process is killed, and started again on its checkpoint.
    pub(crate) crash: f64,
    /// Its machine is lost too, and another master begins with nothing.
    pub(crate) amnesia: f64,
    /// Somebody edits the load.
    pub(crate) edit: f64,
}

impl Faults {
    pub(crate) fn network() -> Self {
        Self { loss: 0.1, doubling: 0.1, long_delay: 0.1, ..Self::default() }
    }

    pub(crate) fn deaths() -> Self {
        Self { death: 0.04, ..Self::network() }
    }

    pub(crate) fn crashes() -> Self {
        Self { crash: 0.1, edit: 0.05, ..Self::default() }
    }

    pub(crate) fn everything() -> Self {
        Self { cut_off: 0.02, unseen: 0.3, ..Self::deaths() }
    }
}

/// A bug on purpose, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    OneUserTooMany,
    LostMeasurement,
    DoubledMeasurement,
    StandingClock,
    LazyProcess,
    WrongDeposit,
    /// An iteration begins a second time.
    DoubledIteration,
    /// It answers before it writes its checkpoint, and is killed in between.
    HastyMaster,
    /// It says that one more user waits than does.
    OneWaitsTooMany,
    /// It does not hear that a round is over.
    DeafProcess,
    /// Rows are given back when their users are told to end.
    EarlyRow,
    /// Many a row is not given back.
    LostRow,
}

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) spec: RunSpec,
    pub(crate) classes: Vec<ClassSpec>,
    pub(crate) faults: Faults,
    pub(crate) sabotage: Option<Sabotage>,
    /// Users meet again and again.
    pub(crate) meets: bool,
    /// What the shape says, second by second; the last one holds.
    pub(crate) shape: Vec<(u32, f64)>,
}

impl Scenario {
    /// Something usual, drawn by the seed.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let users = 1 + random.below(60) as u32;
        let duration = Some(Duration::from_secs(20 + random.below(20)));
        let spawn_rate = [2.0, 10.0, 33.3, 1000.0][random.below(4) as usize];
        let weights = 1 + random.below(3);
        let classes = (0..weights)
            .map(|class| ClassSpec { name: format!("Test{class}"), weight: 1 + random.below(5) as u32 })
            .collect();
        let (runners, processes_per_runner) = (1 + random.below(3) as u32, 1 + random.below(2) as u32);
        let load = Load::Constant(Constant { users, spawn_rate, duration });
        Self {
            spec: spec(load, runners, processes_per_runner),
            classes,
            faults: Faults::default(),
            sabotage: None,
            meets: false,
            shape: Vec::new(),
        }
    }

    /// The same in the open model.
    pub(crate) fn open(seed: u64) -> Self {
        let mut scenario = Self::drawn(seed);
        scenario.spec.load = arrivals(&mut Random::new(seed));
        scenario
    }

    /// The same in stages.
    pub(crate) fn in_stages(seed: u64) -> Self {
        let mut scenario = Self::drawn(seed);
        scenario.spec.load = stages(&mut Random::new(seed));
        scenario
    }
}

pub(crate) fn arrivals(random: &mut Random) -> Load {
    let line = |random: &mut Random| ArrivalLine {
        duration: Duration::from_millis(random.below(4) * random.below(5_000)),
        target: random.below(40) as u32,
    };
    let mut lines: Vec<ArrivalLine> = (0..=random.below(4)).map(|_| line(random)).collect();
    lines.push(ArrivalLine { duration: Duration::from_secs(15 + random.below(10)), target: 20 });
    // Enough of them, mostly.
    let max_users = 24 + 100 * random.below(4) as u32;
    Load::Arrivals(Arrivals { per: Duration::from_secs(1 + random.below(3)), max_users, lines })
}

pub(crate) fn stages(random: &mut Random) -> Load {
    let stage = |random: &mut Random| Stage {
        duration: Duration::from_millis(random.below(4) * random.below(5_000)),
        users: random.below(60) as u32,
    };
    let mut stages: Vec<Stage> = (0..=random.below(6)).map(|_| stage(random)).collect();
    // Long enough for deaths to be noticed.
    stages.push(Stage {
        duration: Duration::from_secs(15 + random.below(10)),
        users: 1 + random.below(40) as u32,
    });
    Load::Stages(stages)
}

pub(crate) fn spec(load: Load, runners: u32, processes_per_runner: u32) -> RunSpec {
    let accounts = match &load {
        Load::Constant(load) => load.users,
        // As many as edits, stages and shapes ask for.
        Load::Stages(stages) => stages.iter().map(|stage| stage.users).max().unwrap_or_default().max(100),
        Load::Arrivals(load) => load.max_users,
        Load::Shape => 100,
    };
    RunSpec {
        data: rows::data(accounts),
        run: RunIdentity::default(),
        load,
        warm_up: Duration::ZERO,
        desired: Desired::Running,
        runners,
        processes_per_runner,
        thresholds: Vec::new(),
        deadlines: Deadlines { stop: Duration::from_secs(10), ..Deadlines::default() },
        dead_man: Duration::from_secs(15),
        host: None,
        args: Vec::new(),
        aiotestfile: "aiotestfile.py".into(),
    }
}
