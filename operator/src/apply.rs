//! Carries out what was decided, one write at a time. Never decides. Start at [`Writer::write`].

use std::fmt::Debug;

use aiotest_api::LoadTest;
use aiotest_api::status::LoadTestStatus;
use aiotest_wire::client::{Error as MasterError, MasterClient};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::metrics::Metrics;
use crate::planner::Write;
use crate::standing::Refused;

/// Who makes children and writes the status.
const MANAGER: &str = "aiotest-operator";
/// Who changes what may change of a Job: a manager of its own, so that the template has one owner for ever.
const LIVE_MANAGER: &str = "aiotest-operator-live";

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The cluster will not have it, now; it may later.
    #[error("the cluster refused {what}: {}", refused.words)]
    Refused {
        /// What was asked.
        what: String,
        /// Its words.
        refused: Refused,
    },
    /// No answer, or none that can be read.
    #[error("failed to write {what}: {source}")]
    Failed {
        /// What was asked.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The master did not take it.
    #[error("failed to tell the master: {}", crate::gather::words(source))]
    Master {
        /// Why.
        source: MasterError,
    },
    /// There is nobody to tell.
    #[error("there is no master that could be told")]
    NoMaster,
}

/// Writes.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Recorder,
}

impl Writer {
    /// Does one thing. `master` is the run's master, for what only it is told.
    pub(crate) async fn write(
        &self,
        namespace: &str,
        write: &Write,
        master: Option<MasterClient>,
    ) -> Result<(), Error> {
        match write {
            Write::Secret(secret) => self.create(namespace, &**secret).await,
            Write::ConfigMap(map) => self.create(namespace, &**map).await,
            Write::Service(service) => self.create(namespace, &**service).await,
            Write::Job(job) => self.create(namespace, &**job).await,
            Write::Adjust { job, parallelism, active_deadline } => {
                self.adjust(namespace, job, *parallelism, *active_deadline).await
            }
            Write::Spec(_) | Write::Departed { .. } | Write::Stop(_) | Write::Acknowledge => {
                self.tell(&master.ok_or(Error::NoMaster)?, write).await
            }
        }
    }

    /// Writes the status.
    pub(crate) async fn status(&self, load_test: &LoadTest, status: &LoadTestStatus) -> Result<(), Error> {
        let (namespace, name) = (load_test.namespace().unwrap_or_default(), load_test.name_any());
        let api: Api<LoadTest> = Api::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Apply(json!({
            "apiVersion": LoadTest::api_version(&()), "kind": LoadTest::kind(&()),
            // Another object of the same name is not this one.
            "metadata": {"name": name, "uid": load_test.uid()},
            "status": status,
        }));
        let written = api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &patch).await;
        self.metrics.write("LoadTest/status", "patch");
        written.map(drop).map_err(|error| explain(format!("the status of {namespace}/{name}"), error))
    }

    /// Tells whoever watches events of a transition. A lost event is no fault: the condition says the same.
    pub(crate) async fn publish(&self, load_test: &LoadTest, reason: &str, message: &str) {
        let calm =
            ["Passed", "Running", "Paused", "Draining", "Cancelled", "StartingMaster", "WaitingForRunners"];
        let event = Event {
            type_: if calm.contains(&reason) { EventType::Normal } else { EventType::Warning },
            reason: reason.to_owned(),
            note: Some(message.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        self.metrics.write("Event", "create");
        if let Err(error) = self.recorder.publish(&event, &load_test.object_ref(&())).await {
            tracing::warn!(%error, reason, "an event was not written");
        }
    }

    /// What is there already is left alone: whose it is, the next look tells.
    async fn create<T>(&self, namespace: &str, object: &T) -> Result<(), Error>
    where
        T: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let api: Api<T> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let kind = T::kind(&());
        self.metrics.write(&kind, "create");
        match api.create(&parameters, object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Ok(_) => {
                tracing::info!(kind = %kind, namespace, name = object.name_any(), "created");
                Ok(())
            }
            Err(error) => Err(explain(format!("{kind} {}", object.name_any()), error)),
        }
    }

    async fn adjust(
        &self,
        namespace: &str,
        name: &str,
        parallelism: Option<i32>,
        active_deadline: i64,
    ) -> Result<(), Error> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let mut spec = json!({ "activeDeadlineSeconds": active_deadline });
        if let Some(parallelism) = parallelism {
            spec["parallelism"] = json!(parallelism);
            spec["completions"] = json!(parallelism);
        }
        let patch = Patch::Apply(json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec,
        }));
        self.metrics.write("Job", "patch");
        let adjusted = api.patch(name, &PatchParams::apply(LIVE_MANAGER).force(), &patch).await;
        adjusted.map(drop).map_err(|error| explain(format!("Job {name}"), error))
    }

    async fn tell(&self, master: &MasterClient, write: &Write) -> Result<(), Error> {
        let (call, outcome) = match write {
            Write::Spec(spec) => ("spec", master.put_spec(spec).await),
            Write::Departed { departure, .. } => ("departed", master.departed_runner(departure).await),
            Write::Stop(reason) => ("stop", master.stop(*reason).await),
            _ => ("acknowledge", master.acknowledge_result().await),
        };
        self.metrics.master_call(call, outcome).map_err(|source| Error::Master { source })
    }
}

/// A refusal in words, or a failure that may pass by itself.
fn explain(what: String, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
            let reason = match status.code {
                403 if status.message.contains("exceeded quota") => "QuotaExceeded",
                403 => "Forbidden",
                _ => "Refused",
            };
            Error::Refused { what, refused: Refused { reason, words: status.message.clone() } }
        }
        other => Error::Failed { what, source: Box::new(other) },
    }
}
