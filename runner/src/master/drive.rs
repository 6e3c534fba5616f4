//! The master's thread: a clock and two ports around the state machine, until the run's result is in its reader's
//! hands. It waits, feeds and flushes; what happens when is the state machine's. Start at [`drive`].

use std::sync::Arc;
use std::time::Duration;

use aiotest_core::master::{Master as Core, MasterEvent};
use aiotest_core::message::StopReason;
use aiotest_wire::server::{self, Limits};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Command;
use super::desk::Desk;
use crate::outbox::Outbox;

/// Runner processes keep one connection each; a flood from elsewhere may not take all descriptors.
const CONTROL: Limits =
    Limits { header: Duration::from_secs(5), silence: Duration::from_secs(30), connections: 4096 };
const METRICS: Limits =
    Limits { header: Duration::from_secs(5), silence: Duration::from_secs(30), connections: 64 };
/// How long running requests may take once the master is over.
const GRACE: Duration = Duration::from_secs(2);
/// How long processes that the run still counts on have to ask, and so hear of its end.
const NEWS: Duration = Duration::from_secs(5);
/// Scrapes after the end that release a lingering metrics port early.
const LAST_SCRAPES: u32 = 2;

/// Both listeners, bound.
pub(super) struct Bound {
    pub(super) control: TcpListener,
    pub(super) metrics: TcpListener,
}

/// What the end of the run waits for before Python is told of it.
#[derive(Clone, Copy)]
pub(super) struct Farewell {
    /// The result's reader, for `deadlines.results` at most.
    pub(super) result: bool,
    /// The last scrapes; so long from the end.
    pub(super) linger: Option<Duration>,
}

/// Serves and ticks until it is told to close.
pub(super) async fn drive(
    desk: Arc<Desk>,
    bound: Bound,
    (control, metrics): (Router, Router),
    farewell: Farewell,
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: Arc<Outbox<MasterEvent>>,
) {
    let (end, ended) = watch::channel(false);
    let mut open = JoinSet::new();
    open.spawn(server::serve(bound.control, control, CONTROL, ended.clone(), crate::complain));
    open.spawn(server::serve(bound.metrics, metrics, METRICS, ended, crate::complain));
    let whole = async {
        let exit_code = carry_out(&desk, &events).await;
        say_farewell(&desk, farewell).await;
        events.push(MasterEvent::Ended { exit_code });
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = whole => {}
        () = obey(&desk, &mut commands) => {}
    }
    end.send_replace(true);
    let _ = timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
}

/// Passes Python's words on, until it says to close or is gone.
async fn obey(desk: &Desk, commands: &mut mpsc::UnboundedReceiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Shape(answer)) => desk.with(|core, now| core.handle_shape(now, answer)),
            Some(Command::Setup(outcome)) => desk.with(|core, now| core.handle_setup(now, outcome)),
            Some(Command::Teardown(outcome)) => desk.with(|core, now| core.handle_teardown(now, outcome)),
            Some(Command::Stop(reason)) => {
                if reason == StopReason::ParentGone {
                    // Nobody is left who would read the result.
                    desk.acknowledge();
                }
                desk.with(|core, now| core.handle_stop(now, reason));
            }
            Some(Command::Close) | None => return,
        }
    }
}

/// The run itself, to its exit code.
async fn carry_out(desk: &Desk, events: &Outbox<MasterEvent>) -> u8 {
    loop {
        while let Some(event) = desk.poll(Core::poll_event) {
            match event {
                MasterEvent::Ended { exit_code } => return exit_code,
                event => events.push(event),
            }
        }
        tokio::select! {
            () = desk.due() => desk.with(Core::handle_timeout),
            () = desk.changed.notified() => {}
        }
    }
}

/// Waits until every process has heard of the end, the result is read, and the last scrapes are answered; for each of
/// them as long as it may be expected at all, and for none because of another.
async fn say_farewell(desk: &Desk, farewell: Farewell) {
    let news = async {
        let told = waited(desk, NEWS, || desk.look(|core, _| core.everybody_told())).await;
        // After a restart nobody knows whom the last life of this master has told.
        if !told && !desk.is_restored() {
            crate::complain(&format!(
                "not every runner process asked within {} s of the end",
                NEWS.as_secs()
            ));
        }
    };
    let result = async {
        let limit = desk.look(|core, _| core.deadlines().results);
        if farewell.result && !waited(desk, limit, || desk.is_acknowledged()).await {
            crate::complain(&format!("nobody read the result within {} s", limit.as_secs()));
        }
    };
    let scrapes = async {
        if let Some(limit) = farewell.linger {
            waited(desk, limit, || LAST_SCRAPES <= desk.late_scrapes()).await;
        }
    };
    tokio::join!(news, result, scrapes);
}

/// Waits for `limit` at most. False: it is not done by then.
async fn waited(desk: &Desk, limit: Duration, done: impl Fn() -> bool) -> bool {
    let waiting = async {
        while !done() {
            desk.changed.notified().await;
        }
    };
    timeout(limit, waiting).await.is_ok()
}
