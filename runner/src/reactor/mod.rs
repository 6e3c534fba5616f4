//! The HTTP engine: sockets, HTTP/1.1, timeouts, cookies and the record of each call.
//!
//! It knows no Python: a call is a [`CallId`], and whoever waits for it keeps the waiter. It never blocks and owns no
//! thread ([`engine::Engine`] does); the same [`Reactor`] is driven by the loop's thread and, while that is busy, by a
//! stand-in. Start at [`Reactor::start`] and [`Reactor::drive`].
//!
//! The life of a call: `start` → (`wait` for the head → `take_ready` names it) → `head` or `failure` → body →
//! `leave` (the scenario's verdict) → recorded once, at the later of `leave` and the end of the body → `release`.

pub mod failure;
pub mod request;
pub mod response;

/// A user's own connections and cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u32);
