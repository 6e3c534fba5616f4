//! The files that a `ConfigMap` holds, side by side as the cluster would mount them. Start at [`files_of`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The content of files by their names; a name is one safe path segment.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The most bytes that a cluster takes in one `ConfigMap`.
const LARGEST_MAP: usize = 1024 * 1024;
/// The longest key that a cluster takes.
const LONGEST_KEY: usize = 253;

/// The files of a `ConfigMap`, or everything that is wrong with it, each with its field's path.
pub(crate) fn files_of(config_map: &Value) -> Result<Files, Vec<String>> {
    let mut problems = unknown_fields(config_map);
    let mut files = Files::new();
    for (field, decode) in [("data", text as fn(&str) -> Result<Vec<u8>, String>), ("binaryData", decoded)] {
        for (key, value) in entries(config_map, field, &mut problems) {
            let content = match value {
                Value::String(content) => decode(content),
                other => Err(format!("must be a text, found {}; put it in quotes", kind_of(other))),
            };
            match key_problem(key).map_or(content, Err) {
                Ok(_) if files.contains_key(key) => {
                    problems.push(format!("{field}.{key}: stands in both data and binaryData"));
                }
                Ok(content) => {
                    files.insert(key.clone(), content);
                }
                Err(why) => problems.push(format!("{field}.{key}: {why}")),
            }
        }
    }
    let size: usize = files.values().map(Vec::len).sum();
    if LARGEST_MAP < size {
        problems.push(format!("data: holds {size} bytes; a cluster takes at most {LARGEST_MAP}"));
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// Writes every file into `folder`, which exists.
pub(crate) fn write(files: &Files, folder: &Path) -> io::Result<()> {
    files.iter().try_for_each(|(name, content)| fs::write(folder.join(name), content))
}

fn unknown_fields(config_map: &Value) -> Vec<String> {
    let known = ["apiVersion", "kind", "metadata", "data", "binaryData", "immutable"];
    let fields = config_map.as_object().into_iter().flatten();
    fields
        .filter(|(field, _)| !known.contains(&field.as_str()))
        .map(|(field, _)| format!("{field}: unknown field; a ConfigMap has {}", known.join(", ")))
        .collect()
}

fn entries<'a>(
    config_map: &'a Value,
    field: &str,
    problems: &mut Vec<String>,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let map: Option<&'a Map<String, Value>> = match config_map.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(map),
        Some(other) => {
            problems.push(format!("{field}: must map keys to texts, found {}", kind_of(other)));
            None
        }
    };
    map.into_iter().flatten()
}

/// Kubernetes' own rule for keys, which also keeps every file inside its folder.
fn key_problem(key: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(allowed) {
        Some("a key is made of letters, digits, `-`, `_` and `.`".to_owned())
    } else if LONGEST_KEY < key.len() {
        Some(format!("a key is at most {LONGEST_KEY} characters long"))
    } else if key == "." || key.starts_with("..") {
        Some("a key is not `.` and does not begin with `..`".to_owned())
    } else {
        None
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the same form as `decoded`")]
fn text(content: &str) -> Result<Vec<u8>, String> {
    Ok(content.as_bytes().to_vec())
}

fn decoded(content: &str) -> Result<Vec<u8>, String> {
    let packed: String = content.split_ascii_whitespace().collect();
    STANDARD.decode(packed).map_err(|error| format!("must be base64: {error}"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_bytes_lie_side_by_side() {
        let files = files_of(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"aiotestfile.py": "import cards\n"}, "binaryData": {"cards.bin": "AP8B\n"},
        }));
        let expected = [("aiotestfile.py", b"import cards\n".to_vec()), ("cards.bin", vec![0, 255, 1])];
        assert_eq!(files, Ok(expected.map(|(name, content)| (name.to_owned(), content)).into()));
    }

    #[test]
    fn a_key_cannot_leave_its_folder() {
        for key in
            ["../evil.py", "/etc/passwd", "a/b", "..", ".", "..data", "", "a\0b", "ключ", &"k".repeat(254)]
        {
            let problems = files_of(&json!({"data": {key: "x"}})).unwrap_err();
            assert_eq!(problems.len(), 1, "{key}");
            assert!(problems[0].starts_with(&format!("data.{key}: a key")), "{problems:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let problems = files_of(&json!({
            "datas": {}, "data": {"port": 8080, "both": "x"}, "binaryData": {"b": "?", "both": "eA=="},
        }));
        let expected = [
            "datas: unknown field; a ConfigMap has apiVersion, kind, metadata, data, binaryData, immutable",
            "data.port: must be a text, found a number; put it in quotes",
            "binaryData.b: must be base64: Invalid symbol 63, offset 0.",
            "binaryData.both: stands in both data and binaryData",
        ];
        assert_eq!(problems.unwrap_err(), expected);
        assert_eq!(
            files_of(&json!({"data": ["a"]})).unwrap_err(),
            ["data: must map keys to texts, found a list"]
        );
    }

    #[test]
    fn a_map_that_no_cluster_would_take_is_refused() {
        let half = "x".repeat(LARGEST_MAP / 2);
        assert!(files_of(&json!({"data": {"a": half, "b": half}})).is_ok());
        assert!(files_of(&json!({"data": {"a": half, "b": half, "c": "x"}})).is_err());
    }
}
