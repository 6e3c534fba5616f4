//! Counts by text that cannot grow without bound, whatever a scenario puts into its error messages.
//!
//! Never decides what counts as an error. Start at [`Known`].

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{MAX_ERRORS, MAX_TEXT, OTHER};

/// The first [`MAX_TEXT`] characters.
pub(super) fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end])
}

/// The error texts seen so far, of all rows together.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(HashSet<Box<str>>);

impl Known {
    /// The text itself as long as there is room, then [`OTHER`].
    pub(super) fn admit<'a>(&mut self, text: &'a str) -> &'a str {
        if text == OTHER || self.0.contains(text) {
            return text;
        }
        if MAX_ERRORS <= self.0.len() {
            return OTHER;
        }
        self.0.insert(text.into());
        text
    }
}

/// Counts by text, in the texts' order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Counts(BTreeMap<Box<str>, u64>);

impl Counts {
    pub(super) fn add(&mut self, text: &str, count: u64) {
        match self.0.get_mut(text) {
            Some(known) => *known = known.saturating_add(count),
            None if count == 0 => {}
            None => {
                self.0.insert(text.into(), count);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(text, count)| (&**text, *count))
    }
}
