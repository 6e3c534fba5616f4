//! Names, labels and owners of a run's objects. Start at [`Names`].

use std::collections::BTreeMap;

use aiotest_api::LoadTest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::Blueprint;
use crate::token::{Key, hash};

/// The label by which everything of this operator is found.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "aiotest-operator");
/// The label that names the load test of an object.
pub(crate) const LOAD_TEST: &str = "aiotest.dev/load-test";
/// The label that holds the number of an object's run.
pub(crate) const RUN: &str = "aiotest.dev/run";
/// The label that tells masters and runners apart.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";

/// The names of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) load_test: String,
    pub(crate) uid: String,
    pub(crate) number: i64,
    /// Unique among all runs of all load tests, and always the same for this one.
    pub(crate) run_id: String,
}

impl Names {
    /// Of the load test's run with this number.
    pub(crate) fn of(load_test: &LoadTest, number: i64) -> Self {
        let meta = &load_test.metadata;
        let uid = meta.uid.clone().unwrap_or_default();
        let run_id = hash([uid.as_bytes(), &number.to_be_bytes()]).chars().take(16).collect();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            load_test: meta.name.clone().unwrap_or_default(),
            uid,
            number,
            run_id,
        }
    }

    /// Of the master's Service and Job.
    pub(crate) fn master(&self) -> String {
        self.child("master")
    }

    /// Of the runners' Job.
    pub(crate) fn runner(&self) -> String {
        self.child("runner")
    }

    /// Of the ConfigMap with the plan.
    pub(crate) fn plan(&self) -> String {
        self.child("plan")
    }

    /// Of the ConfigMap with the report.
    pub(crate) fn report(&self) -> String {
        self.child("report")
    }

    /// Of the copy of a source with this hash.
    pub(crate) fn snapshot(&self, hash: &str) -> String {
        self.child(&format!("source-{}", &hash[..hash.len().min(8)]))
    }

    /// Of the copy of a data set's file, of a source with this hash.
    pub(crate) fn data(&self, hash: &str, index: usize) -> String {
        self.child(&format!("data-{}-{index}", &hash[..hash.len().min(8)]))
    }

    /// Of the Secret with the token.
    pub(crate) fn token(&self, key: &Key) -> String {
        self.child(&format!("token-{}", key.secret_mark(&self.uid, &self.run_id)))
    }

    fn child(&self, what: &str) -> String {
        format!("{}-{}-{what}", self.load_test, self.number)
    }
}

impl Blueprint<'_> {
    /// The metadata of a child.
    pub(super) fn meta(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.names.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// What every child and pod is labelled with.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "aiotest"),
            ("app.kubernetes.io/instance", &self.names.load_test),
            MANAGED_BY,
            (LOAD_TEST, &self.names.load_test),
            (RUN, &self.names.number.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// As [`Self::labels`], of the master or a runner.
    pub(super) fn labels_of(&self, component: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert(COMPONENT.to_owned(), component.to_owned());
        labels
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: LoadTest::api_version(&()).into_owned(),
            kind: LoadTest::kind(&()).into_owned(),
            name: self.names.load_test.clone(),
            uid: self.names.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// The UID of the object that controls another.
pub(crate) fn owner_uid(meta: &ObjectMeta) -> Option<&str> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}
