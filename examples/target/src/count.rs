//! What the target has received so far. Counting never fails and never forgets; keys are the fixed route patterns,
//! so no request can make the table grow. Start at [`Counts::request`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// Counts of requests and connections since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    requests: BTreeMap<&'static str, u64>,
    returning: u64,
    handshakes: BTreeMap<&'static str, u64>,
    accepted: u64,
    open: u64,
    peak: u64,
}

impl Counts {
    /// Counts one request under its route's pattern, and whether it came with the visitor's cookie.
    pub(crate) fn request(&self, pattern: &'static str, returning: bool) {
        let mut table = self.table();
        *table.requests.entry(pattern).or_default() += 1;
        table.returning += u64::from(returning);
    }

    /// Counts one finished TLS handshake under its kind.
    pub(crate) fn handshake(&self, kind: &'static str) {
        *self.table().handshakes.entry(kind).or_default() += 1;
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection<'_> {
        let mut table = self.table();
        table.accepted += 1;
        table.open += 1;
        table.peak = table.peak.max(table.open);
        OpenConnection(self)
    }

    /// All counts as JSON: `total`, `paths` by pattern, `returning` with the visitor's cookie, `connections` accepted,
    /// open and at their peak, and TLS `handshakes` by kind.
    pub(crate) fn to_json(&self) -> Value {
        let table = self.table();
        json!({
            "total": table.requests.values().sum::<u64>(),
            "paths": table.requests,
            "returning": table.returning,
            "handshakes": table.handshakes,
            "connections": {"accepted": table.accepted, "open": table.open, "peak": table.peak},
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection; dropping it counts it as closed.
#[derive(Debug)]
pub(crate) struct OpenConnection<'a>(&'a Counts);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.table().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_in_the_total_and_under_its_pattern() {
        let counts = Counts::default();
        for (pattern, returning) in [("/", false), ("/item/{n}", true), ("/item/{n}", false)] {
            counts.request(pattern, returning);
        }
        let json = counts.to_json();
        assert_eq!((&json["total"], &json["returning"]), (&json!(3), &json!(1)));
        assert_eq!(json["paths"], json!({"/": 1, "/item/{n}": 2}));
    }

    #[test]
    fn the_peak_stays_when_connections_close() {
        let counts = Counts::default();
        let both = (counts.connection(), counts.connection());
        drop(both);
        let _third = counts.connection();
        assert_eq!(counts.to_json()["connections"], json!({"accepted": 3, "open": 1, "peak": 2}));
    }
}
