//! The stamps of every request received so far. Never forgets; a request is there from the moment it was received,
//! whether or not its reply could be written.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::Nanoseconds;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stamp {
    /// The generator's own number of the call.
    pub(crate) id: u64,
    /// Whether it was answered with a redirect, so that another request with this id follows.
    pub(crate) hop: bool,
    /// Its number on its own connection, from 1.
    pub(crate) nth: u64,
    /// When its connection was accepted, or brought its first byte, whichever is known to be earlier.
    pub(crate) opened: Nanoseconds,
    /// When the kernel had its last byte.
    pub(crate) received: Nanoseconds,
    /// When the kernel had taken the reply's last byte; `null` if it has not.
    pub(crate) written: Option<Nanoseconds>,
    /// How long it was to be held.
    pub(crate) delay: Nanoseconds,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Stamps(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    connections: u64,
    stamps: Vec<Stamp>,
}

impl Stamps {
    /// Counts an accepted connection.
    pub(crate) fn connected(&self) {
        self.table().connections += 1;
    }

    /// Keeps a request; returns its place, for [`Stamps::written`].
    pub(crate) fn received(&self, stamp: Stamp) -> usize {
        let mut table = self.table();
        table.stamps.push(stamp);
        table.stamps.len() - 1
    }

    /// The reply to the request at `place` was written.
    pub(crate) fn written(&self, place: usize, at: Nanoseconds) {
        if let Some(stamp) = self.table().stamps.get_mut(place) {
            stamp.written = Some(at);
        }
    }

    /// How much was received, as JSON.
    pub(crate) fn count(&self) -> String {
        let table = self.table();
        serde_json::json!({"requests": table.stamps.len(), "connections": table.connections}).to_string()
    }

    /// One line of JSON for each request, in the order of their arrival.
    pub(crate) fn lines(&self) -> String {
        let stamps = self.table().stamps.clone();
        let line = |stamp| serde_json::to_string(&stamp).expect("numbers are JSON") + "\n";
        stamps.into_iter().map(line).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_before_its_reply_is_written() {
        let stamps = Stamps::default();
        stamps.connected();
        let stamp = Stamp { id: 7, hop: false, nth: 1, opened: 1, received: 2, written: None, delay: 3 };
        let place = stamps.received(stamp);
        assert_eq!(stamps.count(), r#"{"connections":1,"requests":1}"#);
        assert!(stamps.lines().contains(r#""written":null"#));
        stamps.written(place, 9);
        let line = r#"{"id":7,"hop":false,"nth":1,"opened":1,"received":2,"written":9,"delay":3}"#;
        assert_eq!(stamps.lines(), format!("{line}\n"));
    }
}
