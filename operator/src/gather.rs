//! Reads everything that a decision needs: the cluster's objects, live and never from a cache, and the master's answer.
//!
//! Only reads. Start at [`Reader::gather`].

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use aiotest_api::LoadTest;
use aiotest_api::data::DataSet;
use aiotest_core::message::RunState;
use aiotest_wire::client::MasterClient;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::build::{
    COMPONENT, CONTROL_PORT, Copies, LOAD_TEST, MANAGED_BY, Names, RUN, Source, owner_uid, read_report,
};
use crate::metrics::Metrics;
use crate::pods;
use crate::token::Key;
use crate::world::{Answer, Memory, World, is_finished};

/// How long one call of the API server may take.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no cluster to be found.
    #[error("failed to find the cluster: {0}")]
    Configuration(#[source] Box<kube::config::InferConfigError>),
    /// No client could be made.
    #[error("failed to prepare calls to the API server: {0}")]
    Client(#[source] Box<kube::Error>),
    /// An object could not be read.
    #[error("failed to read {kind} {name}: {source}")]
    Read {
        /// The object's kind.
        kind: String,
        /// Its name, or a selector.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Clients of the cluster that this process runs in, or that `KUBECONFIG` names.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// For single calls: each has a deadline, and none is tried again behind our back.
    pub(crate) calls: Client,
    /// For watches, which go on for ever and have timeouts of their own.
    pub(crate) watches: Client,
}

impl Cluster {
    /// Finds it.
    pub(crate) async fn find() -> Result<Self, Error> {
        let mut config = Config::infer().await.map_err(|source| Error::Configuration(Box::new(source)))?;
        config.default_retry = false;
        config.connect_timeout = Some(API_TIMEOUT);
        let client = |config| Client::try_from(config).map_err(|source| Error::Client(Box::new(source)));
        let watches = client(config.clone())?;
        config.read_timeout = Some(API_TIMEOUT);
        config.reset_reader_on_write = true;
        Ok(Self { calls: client(config)?, watches })
    }

    /// LoadTests to watch, of one namespace or of all.
    pub(crate) fn load_tests(&self, namespace: Option<&str>) -> Api<LoadTest> {
        scoped(&self.watches, namespace)
    }

    /// Jobs to watch.
    pub(crate) fn jobs(&self, namespace: Option<&str>) -> Api<Job> {
        scoped(&self.watches, namespace)
    }

    /// Pods to watch.
    pub(crate) fn pods(&self, namespace: Option<&str>) -> Api<Pod> {
        scoped(&self.watches, namespace)
    }
}

fn scoped<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    client: &Client,
    namespace: Option<&str>,
) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The selector of everything that this operator makes.
pub(crate) fn ours() -> String {
    format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)
}

/// Reads a world.
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) key: Key,
    pub(crate) metrics: Metrics,
}

impl Reader {
    /// Everything about this LoadTest; `None` if it is there no more.
    pub(crate) async fn gather(&self, namespace: &str, name: &str) -> Result<Option<World>, Error> {
        let Some(load_test) = self.get::<LoadTest>(namespace, name).await? else { return Ok(None) };
        let run = load_test.status.as_ref().and_then(|status| status.run.clone());
        let names = Names::of(&load_test, run.as_ref().map_or(1, |run| run.number));
        let mut conflicts = Vec::new();
        let hash = run.as_ref().and_then(|run| run.script_hash.clone());
        let wanted = hash.as_ref().map(|hash| Copies::of(&load_test, &names, hash));
        let mut copies = BTreeSet::new();
        for name in wanted.iter().flat_map(Copies::names) {
            if self.child::<ConfigMap>(&names, name, &mut conflicts).await?.is_some() {
                copies.insert(name.clone());
            }
        }
        let has_snapshot = wanted.is_some_and(|wanted| wanted.names().all(|name| copies.contains(name)));
        let plan = self.child::<ConfigMap>(&names, &names.plan(), &mut conflicts).await?;
        let service = self.child::<Service>(&names, &names.master(), &mut conflicts).await?;
        let master = self.child::<Job>(&names, &names.master(), &mut conflicts).await?;
        let runners = self.child::<Job>(&names, &names.runner(), &mut conflicts).await?;
        let report = self.child::<ConfigMap>(&names, &names.report(), &mut conflicts).await?;
        // The run reads its copies: what the source says now is of no interest.
        let source =
            if has_snapshot { Ok(Source::default()) } else { self.source(&load_test, namespace).await? };
        let pods = self.pods(&names, [&master, &runners]).await?;
        let complaint = self.complaint(&names, [&runners, &master]).await?;
        let mut world = World {
            now: Timestamp::now(),
            load_test,
            names,
            source,
            copies,
            has_snapshot,
            has_plan: plan.is_some(),
            service,
            master,
            runners,
            has_report: report.is_some(),
            report: report.as_ref().and_then(read_report),
            pods,
            conflict: conflicts.into_iter().next(),
            complaint,
            answer: Answer::NotAsked,
            memory: Memory::default(),
        };
        world.answer = self.ask(&world).await;
        Ok(Some(world))
    }

    /// The master that may be asked, if one is ready.
    pub(crate) fn master(&self, world: &World) -> Option<MasterClient> {
        let address = world.service.as_ref()?.spec.as_ref()?.cluster_ip.as_deref()?;
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let token = self.key.token(&world.names.uid, &world.names.run_id);
        MasterClient::new(&format!("{host}:{CONTROL_PORT}"), &token).ok()
    }

    async fn ask(&self, world: &World) -> Answer {
        let runs = world.master.as_ref().is_some_and(|job| !is_finished(job))
            && world.master_pod().is_some_and(pods::is_ready);
        let Some(master) = Some(world).filter(|_| runs).and_then(|world| self.master(world)) else {
            return Answer::NotAsked;
        };
        let status = self.metrics.master_call("status", master.status().await);
        let status = match status {
            Ok(status) if status.state != RunState::Ended => return Answer::Going(Box::new(status)),
            Ok(status) => status,
            Err(error) => return Answer::Silent(words(&error)),
        };
        match self.metrics.master_call("result", master.result().await) {
            Ok(Some(report)) => Answer::Over(Box::new(report)),
            Ok(None) => Answer::Going(Box::new(status)),
            Err(error) => Answer::Silent(words(&error)),
        }
    }

    /// The aiotestfile with its neighbours, and the file of each data set; or what is missing, in a sentence.
    async fn source(&self, load_test: &LoadTest, namespace: &str) -> Result<Result<Source, String>, Error> {
        let file = &load_test.spec.aiotestfile;
        let files = match &file.config_map {
            Some(map) => self.files(namespace, &map.name, &map.key).await?,
            None => Ok(Source::inline(file.inline.as_deref().unwrap_or_default())),
        };
        let mut source = match files {
            Ok(files) => files,
            Err(missing) => return Ok(Err(missing)),
        };
        for DataSet { name, config_map, .. } in &load_test.spec.data {
            match self.files(namespace, &config_map.name, &config_map.key).await? {
                Ok(files) => source.sets.push(files.only(&config_map.key)),
                Err(missing) => return Ok(Err(format!("data set `{name}`: {missing}"))),
            }
        }
        Ok(Ok(source))
    }

    /// All files of a map that has this one among them.
    async fn files(&self, namespace: &str, name: &str, key: &str) -> Result<Result<Source, String>, Error> {
        let Some(map) = self.get::<ConfigMap>(namespace, name).await? else {
            return Ok(Err(format!("there is no ConfigMap `{name}` in namespace `{namespace}`")));
        };
        let (data, binary_data) = (map.data.unwrap_or_default(), map.binary_data.unwrap_or_default());
        let files = Source { data, binary_data, ..Source::default() };
        if files.has(key) { Ok(Ok(files)) } else { Ok(Err(format!("ConfigMap `{name}` has no key `{key}`"))) }
    }

    async fn pods(&self, names: &Names, jobs: [&Option<Job>; 2]) -> Result<Vec<Pod>, Error> {
        let owners: Vec<&str> =
            jobs.into_iter().flatten().filter_map(|job| job.metadata.uid.as_deref()).collect();
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let selector =
            format!("{},{LOAD_TEST}={},{RUN}={},{COMPONENT}", ours(), names.load_test, names.number);
        let mut pods: Vec<Pod> = self.list(&names.namespace, ListParams::default().labels(&selector)).await?;
        pods.retain(|pod| owner_uid(&pod.metadata).is_some_and(|uid| owners.contains(&uid)));
        Ok(pods)
    }

    /// What the Job controller says of a Job that has fewer pods than it wants.
    async fn complaint(&self, names: &Names, jobs: [&Option<Job>; 2]) -> Result<Option<String>, Error> {
        for job in jobs.into_iter().flatten().filter(|job| lacks_pods(job)) {
            let uid = job.metadata.uid.clone().unwrap_or_default();
            let fields = format!("involvedObject.uid={uid},reason=FailedCreate");
            let events: Vec<Event> =
                self.list(&names.namespace, ListParams::default().fields(&fields)).await?;
            let newest = events.into_iter().max_by_key(|event| event.metadata.creation_timestamp.clone());
            if let Some(words) = newest.and_then(|event| event.message) {
                return Ok(Some(format!("Job {}: {words}", job.name_any())));
            }
        }
        Ok(None)
    }

    async fn child<T>(
        &self,
        names: &Names,
        name: &str,
        conflicts: &mut Vec<String>,
    ) -> Result<Option<T>, Error>
    where
        T: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let found = self.get::<T>(&names.namespace, name).await?;
        let conflict = found.as_ref().and_then(|object| conflict(object, names));
        let foreign = conflict.is_some();
        conflicts.extend(conflict);
        Ok(found.filter(|_| !foreign))
    }

    async fn get<T>(&self, namespace: &str, name: &str) -> Result<Option<T>, Error>
    where
        T: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<T> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(|source| failed::<T>(name, source))
    }

    async fn list<T>(&self, namespace: &str, selection: ListParams) -> Result<Vec<T>, Error>
    where
        T: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<T> = Api::namespaced(self.client.clone(), namespace);
        let list = api.list(&selection).await.map_err(|source| failed::<T>("list", source))?;
        Ok(list.items)
    }
}

/// That an object is not this LoadTest's, in a sentence.
fn conflict<T: Resource<DynamicType = ()>>(object: &T, names: &Names) -> Option<String> {
    let owner = owner_uid(object.meta());
    if owner == Some(&names.uid) {
        return None;
    }
    let (kind, name) = (T::kind(&()), object.meta().name.as_deref().unwrap_or_default());
    let whose = owner.map_or("nobody's", |_| "another object's");
    Some(format!("{kind} `{name}` is there already and is {whose}: delete it or rename the LoadTest"))
}

fn lacks_pods(job: &Job) -> bool {
    let wanted = job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or_default();
    let active = job.status.as_ref().and_then(|status| status.active).unwrap_or_default();
    !is_finished(job) && active < wanted
}

fn failed<T: Resource<DynamicType = ()>>(name: &str, source: kube::Error) -> Error {
    Error::Read { kind: T::kind(&()).into_owned(), name: name.to_owned(), source: Box::new(source) }
}

/// An error with what caused it.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
