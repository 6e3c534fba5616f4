//! One look at one LoadTest: gather, decide, do at most one thing, write the status if it says something new.
//!
//! Holds no cluster client of its own. Start at [`Reconciler::reconcile`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aiotest_api::status::LoadTestStatus;

use crate::apply::{self, Writer};
use crate::gather::{self, Reader};
use crate::metrics::Metrics;
use crate::planner::{self, Write};
use crate::settings::Settings;
use crate::standing::{Refused, Standing};
use crate::status;
use crate::world::{Memory, World};

/// Figures of the moment are written at most so often.
const LIVE: Duration = Duration::from_secs(10);
/// How soon to try again what the cluster refused.
const REFUSED: Duration = Duration::from_secs(5);
/// The longest that one look may take.
const LOOK: Duration = Duration::from_secs(60);

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The cluster was not read.
    #[error(transparent)]
    Gather(gather::Error),
    /// Something was not written.
    #[error(transparent)]
    Apply(apply::Error),
    /// It took too long.
    #[error("not done after {} s", LOOK.as_secs())]
    TooLong,
}

/// What is remembered of one LoadTest, by its namespace and name.
#[derive(Default)]
struct Remembered {
    memory: Memory,
    /// Whose memory it is.
    run_id: String,
    /// When its status was last written.
    written: Option<Instant>,
}

/// Looks at LoadTests.
pub(crate) struct Reconciler {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    remembered: Mutex<BTreeMap<(String, String), Remembered>>,
}

impl Reconciler {
    pub(crate) fn new(reader: Reader, writer: Writer, settings: Settings, metrics: Metrics) -> Self {
        Self { reader, writer, settings, metrics, remembered: Mutex::default() }
    }

    /// Looks once. Returns when to look again; `None`: not before something changes.
    pub(crate) async fn reconcile(&self, namespace: &str, name: &str) -> Result<Option<Duration>, Error> {
        let began = Instant::now();
        let look = tokio::time::timeout(LOOK, Box::pin(self.look(namespace, name))).await;
        let outcome = look.unwrap_or(Err(Error::TooLong));
        self.metrics.reconciled(outcome.is_ok(), began.elapsed());
        outcome
    }

    async fn look(&self, namespace: &str, name: &str) -> Result<Option<Duration>, Error> {
        let Some(mut world) = Box::pin(self.reader.gather(namespace, name)).await.map_err(Error::Gather)?
        else {
            self.forget(namespace, name);
            return Ok(None);
        };
        self.renew(&mut world, namespace, name);
        let standing = Standing::of(&world, None);
        let mut refused = None;
        // A run is written down before anything of it is made, so that it is begun once.
        if world.run() == Some(&status::run(&world, &self.settings))
            && let Some(write) = planner::next(&world, &self.settings, &self.reader.key, &standing)
        {
            match self.writer.write(namespace, &write, self.reader.master(&world)).await {
                Ok(()) => {
                    self.remember(namespace, name, |known| learn(&mut known.memory, &write));
                    return Ok(Some(Duration::ZERO));
                }
                Err(apply::Error::Refused { what, refused: words }) => {
                    tracing::warn!(namespace, name, what, words = words.words, "refused");
                    refused = Some(words);
                }
                Err(error) => return Err(Error::Apply(error)),
            }
        }
        self.tell(&world, namespace, name, refused.as_ref()).await
    }

    /// Writes the status, if it says something new.
    async fn tell(
        &self,
        world: &World,
        namespace: &str,
        name: &str,
        refused: Option<&Refused>,
    ) -> Result<Option<Duration>, Error> {
        let standing = Standing::of(world, refused);
        let wanted = status::of(world, &self.settings, &standing);
        let patience = planner::patience(world, &standing);
        let patience = if refused.is_some() { Some(REFUSED) } else { patience };
        if !world.is_deleted() && self.is_worth_writing(world, &wanted, namespace, name) {
            self.writer.status(&world.load_test, &wanted).await.map_err(Error::Apply)?;
            self.remember(namespace, name, |known| known.written = Some(Instant::now()));
            if let Some((reason, message)) = status::transition(world.status(), &wanted) {
                tracing::info!(namespace, name, reason, message, "transition");
                self.writer.publish(&world.load_test, &reason, &message).await;
            }
            self.metrics.stands(namespace, name, Some(status::state(Some(&wanted))));
            // What was waiting for the status to be written is due now.
            return Ok(if refused.is_some() { patience } else { Some(Duration::ZERO) });
        }
        self.metrics.stands(namespace, name, Some(status::state(world.status())));
        // What is only a figure waits for its turn, also after the end.
        let withheld = world.status() != Some(&wanted) && !world.is_deleted();
        Ok(if withheld { Some(patience.unwrap_or(LIVE).min(LIVE)) } else { patience })
    }

    fn is_worth_writing(&self, world: &World, wanted: &LoadTestStatus, namespace: &str, name: &str) -> bool {
        let Some(known) = world.status() else { return true };
        if known == wanted {
            return false;
        }
        let last = self.remember(namespace, name, |known| known.written);
        status::differ_in_substance(known, wanted) || last.is_none_or(|last| LIVE <= last.elapsed())
    }

    /// A memory is of one run: another one starts without.
    fn renew(&self, world: &mut World, namespace: &str, name: &str) {
        let run_id = world.names.run_id.clone();
        world.memory = self.remember(namespace, name, |known| {
            if known.run_id != run_id {
                *known = Remembered { run_id, ..Remembered::default() };
            }
            known.memory.clone()
        });
    }

    fn remember<T>(&self, namespace: &str, name: &str, visit: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        visit(all.entry((namespace.to_owned(), name.to_owned())).or_default())
    }

    /// That there is no such LoadTest any more.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.metrics.stands(namespace, name, None);
    }
}

fn learn(memory: &mut Memory, write: &Write) {
    match write {
        Write::Secret(_) => memory.secret_made = true,
        Write::Acknowledge => memory.acknowledged = true,
        Write::Departed { uid, .. } => drop(memory.departed.insert(uid.clone())),
        _ => {}
    }
}
