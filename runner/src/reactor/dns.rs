//! Asks for the addresses of names, in a thread of its own: the hosts file and DNS, with the servers, search domains and
//! attempts of `resolv.conf`, by a library that tells how long an answer holds, which the system's own functions do not. A name
//! that these do not know is asked of the system, which may have other sources (mDNS, a directory).
//!
//! Holds no answer; see [`super::resolver`]. Start at [`spawn`].

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task;

use super::failure::{Failure, FailureKind};
use crate::ffi;

/// How long an answer of the system holds, as it does not say.
const UNTOLD: Duration = Duration::from_secs(5);
/// How long a failure holds, so that ten thousand users do not ask ten thousand times at once.
const FAILED: Duration = Duration::from_secs(1);
/// An answer holds no shorter, that a name of no time to live is not asked for at every connection, …
const SHORTEST: Duration = Duration::from_secs(1);
/// … and no longer: a day, as of the hosts file, is longer than any run.
const LONGEST: Duration = Duration::from_secs(300);
/// Questions to the system at a time; each has a thread.
const SYSTEM_THREADS: usize = 4;
/// What names are known by; read again when they have changed.
const SOURCES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// A host and the port to go to.
pub(super) type Key = (String, u16);
/// All addresses of a name.
pub(super) type Outcome = Result<Arc<[SocketAddr]>, Failure>;

/// What is known of a name, and for how long.
pub(super) struct Answer {
    pub(super) key: Key,
    pub(super) outcome: Outcome,
    pub(super) holds: Duration,
}

/// Starts the thread; it ends when what it gives is dropped. `post` is called for every question, soon or late.
pub(super) fn spawn(post: impl Fn(Answer) + Clone + Send + 'static) -> UnboundedSender<Key> {
    let (sender, receiver) = unbounded_channel();
    // Where no thread can be started the receiver is dropped, and sending fails.
    let _ = thread::Builder::new().name("aiotest-resolver".to_owned()).spawn(move || run(receiver, post));
    sender
}

fn run(mut questions: UnboundedReceiver<Key>, post: impl Fn(Answer) + Clone + Send + 'static) {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(SYSTEM_THREADS).build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut sources = Sources::default();
        while let Some(key) = questions.recv().await {
            let (resolver, post) = (sources.resolver(), post.clone());
            task::spawn(async move {
                let (outcome, holds) = resolve(resolver, &key).await;
                post(Answer { key, outcome, holds });
            });
        }
    });
}

/// What the files say.
#[derive(Default)]
struct Sources {
    changed: Option<[Option<SystemTime>; 2]>,
    resolver: Option<TokioResolver>,
}

impl Sources {
    /// By the files as they are now; `None` where they name no server.
    fn resolver(&mut self) -> Option<TokioResolver> {
        let changed = SOURCES.map(|file| fs::metadata(file).and_then(|file| file.modified()).ok());
        if self.changed.replace(changed) != Some(changed) {
            self.resolver = configured();
        }
        self.resolver.clone()
    }
}

fn configured() -> Option<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().ok()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    builder.build().ok()
}

async fn resolve(resolver: Option<TokioResolver>, (host, port): &Key) -> (Outcome, Duration) {
    let Some(resolver) = resolver else { return ask_system(host, *port).await };
    match resolver.lookup_ip(host.as_str()).await {
        Ok(found) => {
            let holds = found.valid_until().saturating_duration_since(Instant::now());
            let addresses = found.iter().map(|address| SocketAddr::new(address, *port)).collect();
            (Ok(addresses), holds.clamp(SHORTEST, LONGEST))
        }
        // The system would wait for the same servers once more.
        Err(NetError::Timeout) => {
            (failed(FailureKind::ResolverFailed, host, "no DNS server has answered"), FAILED)
        }
        Err(_) => ask_system(host, *port).await,
    }
}

/// A name that does not exist is the target's; a resolver that does not say so is the generator's own fault.
async fn ask_system(host: &str, port: u16) -> (Outcome, Duration) {
    let name = host.to_owned();
    match task::spawn_blocking(move || ffi::addresses(&name, port)).await {
        Ok(Ok(addresses)) => (Ok(addresses.into()), UNTOLD),
        Ok(Err(error)) if error.no_such_name => {
            (failed(FailureKind::NameNotFound, host, &error.text), FAILED)
        }
        Ok(Err(error)) => (failed(FailureKind::ResolverFailed, host, &error.text), FAILED),
        Err(error) => (failed(FailureKind::ResolverFailed, host, &error.to_string()), FAILED),
    }
}

fn failed(kind: FailureKind, host: &str, why: &str) -> Outcome {
    Err(Failure::with(kind, format!("failed to resolve `{host}`: {why}")))
}
