//! Everything that is known about one LoadTest at one moment, and plain questions about it. Pure.
//!
//! Never decides; see `planner` and `standing`. Start at [`World`].

use std::collections::BTreeSet;

use aiotest_api::LoadTest;
use aiotest_api::conditions::ConditionType;
use aiotest_api::status::{LoadTestStatus, Run};
use aiotest_core::message::{RunState, Status, Termination};
use aiotest_core::report::Report;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::build::{Names, Source};
use crate::pods;

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) load_test: LoadTest,
    /// Of the newest run; of the first one where there was none yet.
    pub(crate) names: Names,
    /// What the LoadTest names now; the run itself reads its snapshot.
    pub(crate) source: Result<Source, String>,
    /// Copies of the source and of data sets that are there, by name.
    pub(crate) copies: BTreeSet<String>,
    /// All of them are.
    pub(crate) has_snapshot: bool,
    pub(crate) has_plan: bool,
    pub(crate) service: Option<Service>,
    pub(crate) master: Option<Job>,
    pub(crate) runners: Option<Job>,
    pub(crate) has_report: bool,
    /// The report, if it is kept and can be read.
    pub(crate) report: Option<Report>,
    /// Pods of both Jobs.
    pub(crate) pods: Vec<Pod>,
    /// A child's name that is another object's, in a sentence.
    pub(crate) conflict: Option<String>,
    /// Why a Job cannot make its pods, in the cluster's own words.
    pub(crate) complaint: Option<String>,
    pub(crate) answer: Answer,
    pub(crate) memory: Memory,
}

/// What the master said.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// There is no master that could be asked.
    NotAsked,
    /// It should have answered; why it didn't.
    Silent(String),
    /// The run is not over.
    Going(Box<Status>),
    /// The run is over.
    Over(Box<Report>),
}

/// What the operator did that cannot be read back. Forgotten by a restart: each of it may be done twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// The run's Secret is there: it may be made, but not read.
    pub(crate) secret_made: bool,
    /// The master knows that its report is kept.
    pub(crate) acknowledged: bool,
    /// UIDs of ended pods that the master knows of.
    pub(crate) departed: BTreeSet<String>,
}

impl World {
    pub(crate) fn status(&self) -> Option<&LoadTestStatus> {
        self.load_test.status.as_ref()
    }

    /// The newest run.
    pub(crate) fn run(&self) -> Option<&Run> {
        self.status()?.run.as_ref()
    }

    /// Whether the newest run has its verdict: nothing is begun any more.
    pub(crate) fn is_over(&self) -> bool {
        self.status().is_some_and(|status| status.verdict.is_some())
    }

    /// Whether somebody deletes the LoadTest.
    pub(crate) fn is_deleted(&self) -> bool {
        self.load_test.metadata.deletion_timestamp.is_some()
    }

    /// Whether the runners have not all joined within `deadlines.startup`.
    pub(crate) fn is_overdue(&self) -> bool {
        let startup = self.load_test.spec.deadlines.startup.to_std();
        let Ok(startup) = SignedDuration::try_from(startup) else { return false };
        self.since_start().is_some_and(|elapsed| startup <= elapsed) && !self.has_begun()
    }

    /// Since the run was begun.
    fn since_start(&self) -> Option<SignedDuration> {
        Some(self.now.duration_since(self.run()?.start_time.as_ref()?.0))
    }

    /// Whether load is or was sent, as far as the master's answer or the status tell.
    pub(crate) fn has_begun(&self) -> bool {
        match &self.answer {
            Answer::Going(status) => status.state != RunState::Waiting,
            Answer::Over(_) => true,
            Answer::NotAsked | Answer::Silent(_) => {
                self.last_state().is_some_and(|state| ["Running", "Paused", "Draining"].contains(&state))
            }
        }
    }

    /// The state as it was last written.
    pub(crate) fn last_state(&self) -> Option<&str> {
        Some(&self.status()?.condition(ConditionType::Succeeded)?.reason)
    }

    /// What the newest master left when it ended.
    pub(crate) fn termination(&self) -> Option<Termination> {
        let master = pods::newest(self.pods_of("master"))?;
        serde_json::from_str(pods::last_message(master)?).ok()
    }

    /// The newest master's pod.
    pub(crate) fn master_pod(&self) -> Option<&Pod> {
        pods::newest(self.pods_of("master"))
    }

    /// Pods of one component.
    pub(crate) fn pods_of(&self, component: &str) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| pods::component(pod) == Some(component))
    }

    /// What keeps a pod from running, in a word and in the cluster's own words.
    pub(crate) fn pod_trouble(&self) -> Option<(&'static str, String)> {
        self.pods.iter().find_map(pods::trouble)
    }
}

/// Whether a Job will start nothing any more.
pub(crate) fn is_finished(job: &Job) -> bool {
    job_end(job).is_some()
}

/// How a Job ended: whether well, and in what words.
pub(crate) fn job_end(job: &Job) -> Option<(bool, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions.iter().find(|condition| {
        condition.status == "True" && ["Complete", "Failed"].contains(&condition.type_.as_str())
    })?;
    let words = [&end.reason, &end.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
    Some((end.type_ == "Complete", words))
}
