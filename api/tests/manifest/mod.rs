//! A good manifest, and changes to it.

use serde_json::{Value, json};

/// The smallest manifest with a constant load.
pub(crate) fn good() -> Value {
    json!({
        "apiVersion": "aiotest.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": { "name": "checkout" },
        "spec": {
            "aiotestfile": { "configMap": { "name": "checkout" } },
            "load": { "constant": { "users": 100, "spawnRate": 50, "duration": "15s" } }
        }
    })
}

/// The good manifest with a field set; `path` is a JSON pointer whose parent exists.
pub(crate) fn with(path: &str, value: Value) -> Value {
    let mut manifest = good();
    let (parent, name) = path.rsplit_once('/').unwrap();
    manifest.pointer_mut(parent).unwrap()[name] = value;
    manifest
}

/// The problems that a manifest has, a line each.
pub(crate) fn problems(manifest: &Value) -> Vec<String> {
    let problems = aiotest_api::check(manifest).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}
