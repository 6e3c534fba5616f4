//! The one place that knows which crate reads YAML (`serde_yaml` was the habit, and is archived).
//!
//! Text goes in, JSON values come out, which is what the LoadTest's rules are checked against. It never reads a
//! file and never expands more than the budget below: a manifest may come from anywhere. Start at [`documents`].

use serde_json::Value;

/// Why a text is no YAML that a manifest may hold.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{line}:{column}: {message}")]
pub(super) struct YamlError {
    /// Line of the fault, from 1; 0 where the fault has no place.
    pub(super) line: u64,
    /// Column of the fault, from 1.
    pub(super) column: u64,
    /// What is wrong, without the excerpt.
    pub(super) message: String,
}

/// Every document of `text` that is not empty, in order. Merge keys and aliases are followed within the budget;
/// a key that stands twice is an error.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        YamlError { line, column, message: one_line(&error.without_snippet().to_string()) }
    })
}

/// Aliases may repeat what a person would have typed, never multiply it: at most 1,000 replayed nodes out of at
/// most 64 KiB of anchored text, so that no file of 3 MiB becomes gigabytes.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_documents: 1_024,
            max_nodes: 250_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 10_000,
            max_recorded_anchor_bytes: 64 * 1024,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 1_000,
            max_replay_stack_depth: 16,
        },
        with_snippet: false,
    }
}

/// The parser's message without the place it repeats and without line breaks.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_documents_are_skipped_and_the_others_keep_their_order() {
        assert_eq!(
            documents("---\n---\na: 1\n---\n# nothing\n---\nb: [x]\n").unwrap(),
            [json!({"a": 1}), json!({"b": ["x"]})]
        );
    }

    #[test]
    fn a_fault_has_its_line_and_column() {
        let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(2 <= error.line && 0 < error.column, "{error}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = documents("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.line, 2, "{error}");
        assert!(error.message.contains("duplicate"), "{error}");
    }

    #[test]
    fn aliases_cannot_multiply_a_file_into_gigabytes() {
        let level = |level: usize| {
            let row = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{row}]\n")
        };
        let first = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        let laughs: String = std::iter::once(first).chain((1..9).map(level)).collect();
        assert!(documents(&laughs).is_err());

        let long = "x".repeat(100_000);
        assert!(documents(&format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 900].join(", "))).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        assert!(documents(&"[".repeat(5_000)).is_err());
        assert!(documents(&format!("{}1{}", "{a: ".repeat(100), "}".repeat(100))).is_err());
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text_only_when_quoted() {
        assert_eq!(
            documents("a: \"20\"\nb: 20\nc: 20m\n").unwrap(),
            [json!({"a": "20", "b": 20, "c": "20m"})]
        );
    }
}
