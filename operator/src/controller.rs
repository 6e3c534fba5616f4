//! What makes the operator look: changes of LoadTests, of their Jobs and of their pods, and time. Start at [`run`].

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aiotest_api::LoadTest;
use clap::Args;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;

use crate::apply::Writer;
use crate::build::LOAD_TEST;
use crate::gather::{self, Cluster, Reader};
use crate::health::{self, Health};
use crate::metrics::Metrics;
use crate::reconcile::{self, Reconciler};
use crate::settings::Settings;
use crate::token::{Key, KeyError};

/// LoadTests that are looked at at the same time.
const CONCURRENCY: u16 = 16;
/// Changes that come together are one reason to look.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How often to ask whether the LoadTests have been listed.
const READY: Duration = Duration::from_millis(500);
/// When to try again what failed for a reason that may pass.
const RETRY: Duration = Duration::from_secs(5);

/// `aiotest-operator run`
#[derive(Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    settings: Settings,
    /// File with the key that the tokens of runs are made from; at least 16 bytes.
    #[arg(long, value_name = "PATH")]
    key_file: PathBuf,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8080")]
    address: String,
    /// Look after the LoadTests of this namespace only.
    #[arg(long, value_name = "NAMESPACE")]
    watch_namespace: Option<String>,
}

/// Why the operator does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No key.
    #[error(transparent)]
    Key(KeyError),
    /// No cluster.
    #[error(transparent)]
    Cluster(gather::Error),
    /// No port.
    #[error("failed to serve on {address}: {source}")]
    Serve {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Looks after LoadTests until it is told to end.
pub(crate) async fn run(arguments: RunArguments) -> Result<(), Error> {
    let key = Key::read(&arguments.key_file).map_err(Error::Key)?;
    let metrics = Metrics::new();
    let health = Health::default();
    health::serve(&arguments.address, metrics.clone(), health.clone())
        .await
        .map_err(|source| Error::Serve { address: arguments.address.clone(), source })?;
    let cluster = Cluster::find().await.map_err(Error::Cluster)?;
    let namespace = arguments.watch_namespace.as_deref();
    let reporter = Reporter { controller: "aiotest-operator".to_owned(), instance: None };
    let reconciler = Reconciler::new(
        Reader { client: cluster.calls.clone(), key, metrics: metrics.clone() },
        Writer {
            client: cluster.calls.clone(),
            metrics: metrics.clone(),
            recorder: Recorder::new(cluster.calls.clone(), reporter),
        },
        arguments.settings,
        metrics,
    );
    let reconciler = Arc::new(reconciler);
    let remembering = Arc::clone(&reconciler);
    let ours = watcher::Config::default().labels(&gather::ours());
    let controller = Controller::new(cluster.load_tests(namespace), watcher::Config::default());
    let store = controller.store();
    let listed = health.clone();
    tokio::spawn(async move {
        // kube wakes one of those who wait, and the controller waits too: so this one asks again.
        while tokio::time::timeout(READY, store.wait_until_ready()).await.is_err() {}
        listed.is_ready();
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "looking after LoadTests");
    controller
        .owns(cluster.jobs(namespace), ours.clone())
        .watches(cluster.pods(namespace), ours, |pod: Pod| load_test_of(&pod))
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .shutdown_on_signal()
        .run(look, after_failure, reconciler)
        .for_each(|outcome| async {
            match outcome {
                Ok(_) => {}
                // Deleted: what is left to do the garbage collector does, and kube looks no more.
                Err(kube::runtime::controller::Error::ObjectNotFound(gone)) => {
                    remembering.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
                }
                Err(error) => tracing::warn!("{}", gather::words(&error)),
            }
        })
        .await;
    Ok(())
}

fn load_test_of(pod: &Pod) -> Option<ObjectRef<LoadTest>> {
    let name = pod.metadata.labels.as_ref()?.get(LOAD_TEST)?;
    Some(ObjectRef::new(name).within(pod.metadata.namespace.as_deref()?))
}

/// One LoadTest's panic is nobody else's.
async fn look(load_test: Arc<LoadTest>, reconciler: Arc<Reconciler>) -> Result<Action, Failure> {
    let (namespace, name) = (load_test.namespace().unwrap_or_default(), load_test.name_any());
    let look = AssertUnwindSafe(Box::pin(reconciler.reconcile(&namespace, &name))).catch_unwind().await;
    match look {
        Ok(Ok(Some(patience))) => Ok(Action::requeue(patience)),
        Ok(Ok(None)) => Ok(Action::await_change()),
        Ok(Err(error)) => Err(Failure::Error(error)),
        Err(_) => Err(Failure::Panic),
    }
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Error(reconcile::Error),
    #[error("the operator panicked: this is a fault of its own, see the lines above")]
    Panic,
}

fn after_failure(_: Arc<LoadTest>, _: &Failure, _: Arc<Reconciler>) -> Action {
    Action::requeue(RETRY)
}
