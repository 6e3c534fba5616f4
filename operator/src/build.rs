//! The objects of a run, from the LoadTest and its source. Pure: the same inputs give the same bytes.
//!
//! All of them are made once; a live run's templates are never touched, so an upgrade of the operator restarts no pod.
//! Start at [`Blueprint`].

mod job;
mod meta;
mod pod;
mod report;

use std::collections::BTreeMap;

use aiotest_api::LoadTest;
use aiotest_api::load::Form;
use aiotest_core::run::{RunIdentity, RunSpec};
use aiotest_wire::plan;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(crate) use meta::{COMPONENT, LOAD_TEST, MANAGED_BY, Names, RUN, owner_uid};
pub(crate) use pod::Copies;
pub(crate) use report::{read_report, report_map};

use crate::settings::Settings;
use crate::token::{Key, hash};

/// Where runners report and the operator asks.
pub(crate) const CONTROL_PORT: u16 = 5557;
/// Where Prometheus scrapes and the kubelet probes.
pub(crate) const METRICS_PORT: u16 = 5558;
/// Where the source's keys lie in every pod.
const SOURCE_FOLDER: &str = "/etc/aiotest/source";
/// The key of an inline file.
const INLINE_KEY: &str = "aiotestfile.py";
/// Where the file of each data set lies in every pod, in a folder of the set's name.
const DATA_FOLDER: &str = "/etc/aiotest/data";

/// The files of a run, as its pods will see them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Source {
    /// Texts by file name.
    pub(crate) data: BTreeMap<String, String>,
    /// Other contents by file name.
    pub(crate) binary_data: BTreeMap<String, ByteString>,
    /// The one file of each data set, in the order of the LoadTest's.
    pub(crate) sets: Vec<Source>,
}

impl Source {
    /// An aiotestfile that is written in the LoadTest itself.
    pub(crate) fn inline(text: &str) -> Self {
        Self { data: BTreeMap::from([(INLINE_KEY.to_owned(), text.to_owned())]), ..Self::default() }
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.data.contains_key(key) || self.binary_data.contains_key(key)
    }

    /// This one of its files.
    pub(crate) fn only(mut self, key: &str) -> Self {
        self.data.retain(|name, _| name == key);
        self.binary_data.retain(|name, _| name == key);
        self
    }

    /// Tells this source from every other.
    pub(crate) fn hash(&self) -> String {
        let hashes: Vec<String> = self.sets.iter().map(Self::hash).collect();
        let texts = self.data.iter().flat_map(|(key, text)| [b"text", key.as_bytes(), text.as_bytes()]);
        let others =
            self.binary_data.iter().flat_map(|(key, bytes)| [&b"bytes"[..], key.as_bytes(), &bytes.0[..]]);
        let sets = hashes.iter().flat_map(|hash| [&b"set"[..], hash.as_bytes()]);
        hash(texts.map(|part: &[u8]| part).chain(others).chain(sets))
    }
}

/// Everything that a run's objects are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blueprint<'a> {
    /// Whose run it is; has a name, a namespace and a UID.
    pub(crate) load_test: &'a LoadTest,
    /// The run's names.
    pub(crate) names: &'a Names,
    /// How this operator makes pods.
    pub(crate) settings: &'a Settings,
}

impl Blueprint<'_> {
    /// The run's secret.
    pub(crate) fn token(&self, key: &Key) -> Secret {
        let token = key.token(&self.names.uid, &self.names.run_id);
        Secret {
            metadata: self.meta(self.names.token(key)),
            immutable: Some(true),
            string_data: Some(BTreeMap::from([("token".to_owned(), token)])),
            ..Secret::default()
        }
    }

    /// Copies of the source and of each data set, which no later edit reaches.
    pub(crate) fn snapshots(&self, source: &Source) -> Vec<ConfigMap> {
        let hash = source.hash();
        let sets = source.sets.iter().enumerate();
        let sets = sets.map(|(index, set)| self.copy(self.names.data(&hash, index), set));
        sets.chain([self.copy(self.names.snapshot(&hash), source)]).collect()
    }

    fn copy(&self, name: String, source: &Source) -> ConfigMap {
        ConfigMap {
            metadata: self.meta(name),
            immutable: Some(true),
            data: Some(source.data.clone()).filter(|data| !data.is_empty()),
            binary_data: Some(source.binary_data.clone()).filter(|data| !data.is_empty()),
        }
    }

    /// What the run does.
    pub(crate) fn plan(&self) -> ConfigMap {
        // Cannot fail: no map with keys that are no texts, no number that JSON lacks.
        let text = serde_json::to_string_pretty(&self.run_spec()).expect("a plan is JSON");
        ConfigMap {
            metadata: self.meta(self.names.plan()),
            immutable: Some(true),
            data: Some(BTreeMap::from([("plan.json".to_owned(), text)])),
            ..ConfigMap::default()
        }
    }

    /// Where runners and the operator find the master, and Prometheus its figures.
    pub(crate) fn service(&self) -> Service {
        let port = |name: &str, number: u16| ServicePort {
            name: Some(name.to_owned()),
            port: i32::from(number),
            target_port: Some(IntOrString::String(name.to_owned())),
            ..ServicePort::default()
        };
        let mut metadata = self.meta(self.names.master());
        metadata.labels = Some(self.labels_of("master"));
        Service {
            metadata,
            spec: Some(ServiceSpec {
                ip_family_policy: Some("PreferDualStack".to_owned()),
                ports: Some(vec![port("control", CONTROL_PORT), port("metrics", METRICS_PORT)]),
                selector: Some(self.labels_of("master")),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    /// The plan file.
    fn run_spec(&self) -> RunSpec {
        let run = RunIdentity {
            id: self.names.run_id.clone(),
            name: self.names.load_test.clone(),
            namespace: self.names.namespace.clone(),
            number: self.names.number.unsigned_abs(),
        };
        let file = &self.load_test.spec.aiotestfile;
        let key = file.config_map.as_ref().map_or(INLINE_KEY, |map| &map.key);
        let processes = self.settings.runner_cpu.processes();
        plan::run_spec(self.load_test, run, processes, format!("{SOURCE_FOLDER}/{key}"), DATA_FOLDER)
    }
}

/// Tells a run from one that would be another: what is read, where the load goes, its form, the file's own options.
pub(crate) fn spec_hash(load_test: &LoadTest) -> String {
    let spec = &load_test.spec;
    let form = match spec.load.form() {
        Some(Form::Constant(_)) => "constant",
        Some(Form::Stages(_)) => "stages",
        Some(Form::Arrivals(_)) => "arrivals",
        Some(Form::Shape(_)) | None => "shape",
    };
    let mut own = serde_json::json!([spec.aiotestfile, spec.host, form, spec.args]).to_string();
    if !spec.data.is_empty() {
        own += &serde_json::json!(spec.data).to_string();
    }
    hash([own.as_bytes()])
}

#[cfg(test)]
mod tests;
