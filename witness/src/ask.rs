//! What a request asks for: pure, from the head's text. Start at [`Ask::of`].
//!
//! `GET /{fixed|uniform|tail|bimodal}/{mean in ms}/{bytes}?id=N` is answered 200 with so many bytes, after the delay
//! that N has. `GET /hop/…` is answered 302 to the rest of the path, with the same id, after a delay of its own.
//! `&stall=MS` holds that one request for so long beside its delay.

use std::time::Duration;

use crate::delays::{Delays, Kind};

/// The largest body, in bytes.
const LARGEST: usize = 1 << 20;
/// The longest mean and the longest stall, so that a mistyped number cannot hold a connection for days.
const LONGEST: Duration = Duration::from_secs(60);

/// One request, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    /// The generator's own number of the call.
    pub(crate) id: u64,
    pub(crate) delays: Delays,
    pub(crate) size: usize,
    /// How long it is held beside its delay.
    pub(crate) stall: Duration,
    /// Where it is redirected to.
    pub(crate) redirect: Option<String>,
}

impl Ask {
    /// What `target`, a path with its query, asks for; an error says what is wrong with it.
    pub(crate) fn of(target: &str) -> Result<Self, &'static str> {
        let (path, query) = target.split_once('?').ok_or("there is no `?id=`")?;
        let (rest, redirect) = match path.strip_prefix("/hop/") {
            Some(rest) => (rest, Some(format!("/{rest}?{query}"))),
            None => (path.strip_prefix('/').ok_or("it is no path")?, None),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let [kind, mean, size] = parts[..] else { return Err("it is not /{delays}/{mean in ms}/{bytes}") };
        let kind = Kind::of(kind).ok_or("its delays are none of fixed, uniform, tail, bimodal")?;
        let mean = milliseconds(mean).ok_or("its mean is no number of milliseconds up to a minute")?;
        let size = size.parse().ok().filter(|size| *size <= LARGEST).ok_or("its size is above 1 MiB")?;
        let value = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let id = value("id").and_then(|id| id.parse().ok()).ok_or("its id is no number")?;
        let stall = match value("stall") {
            None => Duration::ZERO,
            Some(stall) => {
                milliseconds(stall).ok_or("its stall is no number of milliseconds up to a minute")?
            }
        };
        Ok(Self { id, delays: Delays { kind, mean }, size, stall, redirect })
    }

    /// How long this request is held.
    pub(crate) fn delay(&self) -> Duration {
        // Both hops of a call have its id; their delays have nothing to do with each other.
        let salt = if self.redirect.is_some() { 1 << 63 } else { 0 };
        self.delays.of(self.id ^ salt) + self.stall
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis).filter(|time| *time <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_how_long_and_how_much() {
        let ask = Ask::of("/tail/20/16384?id=7").unwrap();
        let delays = Delays { kind: Kind::Tail, mean: Duration::from_millis(20) };
        assert_eq!(ask, Ask { id: 7, delays, size: 16384, stall: Duration::ZERO, redirect: None });
        assert_eq!(ask.delay(), delays.of(7));
    }

    #[test]
    fn a_hop_leads_to_the_rest_with_the_same_query_and_has_a_delay_of_its_own() {
        let hop = Ask::of("/hop/uniform/20/100?id=7&stall=5").unwrap();
        let next = Ask::of(hop.redirect.as_deref().unwrap()).unwrap();
        assert_eq!((next.id, next.redirect.clone()), (7, None));
        assert_ne!(hop.delay(), next.delay());
    }

    #[test]
    fn a_stall_comes_on_top() {
        let ask = Ask::of("/fixed/20/100?id=7&stall=2000").unwrap();
        assert_eq!(ask.delay(), Duration::from_millis(2020));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for target in [
            "/fixed/20/100",
            "/fixed/20/100?id=x",
            "/slow/20/100?id=1",
            "/fixed/20?id=1",
            "/fixed/20/99999999?id=1",
            "/fixed/99999999/1?id=1",
            "/fixed/20/1?id=1&stall=99999999",
            "fixed/20/1?id=1",
        ] {
            assert!(Ask::of(target).is_err(), "{target}");
        }
    }
}
