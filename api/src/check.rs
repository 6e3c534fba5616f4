//! Checks a manifest as a cluster's strict validation would, with no cluster, and reads it.
//!
//! In the API server's order: fields by the schema (unknown ones are refused, nulls count as absent, defaults are
//! filled in), then the rules in CEL, then decoding. All problems come back at once. Nothing that a manifest can hold
//! makes it panic. Start at [`check()`].

mod metadata;
mod near;
mod structure;

use std::sync::LazyLock;

use kube_cel::{ErrorKind, ValidationError};
use serde_json::Value;

use crate::LoadTest;
use structure::Walk;

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Problem {
    /// The field, such as `spec.load.constant.users` or `spec.args[3]`.
    pub path: String,
    /// The rule that is broken and what was found.
    pub why: String,
}

/// The schema of a whole manifest: the CRD's, with the metadata filled in.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(crate::crd()).unwrap_or_default();
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned();
    metadata::complete(schema.unwrap_or_default())
});

/// Checks a manifest and reads it, with all defaults filled in. A `status` in it is left out, as a cluster does.
///
/// Errors: every problem, those of single fields first; never an empty list.
pub fn check(manifest: &Value) -> Result<LoadTest, Vec<Problem>> {
    let mut walk = Walk::new(&SCHEMA);
    let cleaned = walk.root(manifest);
    let mut problems = walk.problems;
    if let Some(cleaned) = &cleaned {
        let broken = broken_rules(cleaned, &problems);
        problems.extend(broken);
    }
    match cleaned {
        Some(cleaned) if problems.is_empty() => serde_json::from_value(cleaned).map_err(|error| {
            vec![Problem { path: "manifest".to_owned(), why: format!("cannot be read: {error}") }]
        }),
        _ => Err(problems),
    }
}

/// The CEL rules that do not hold. A rule about a refused field, or one that cannot be evaluated for want of it, has
/// nothing to add.
fn broken_rules(cleaned: &Value, known: &[Problem]) -> Vec<Problem> {
    let Err(errors) = kube_cel::validate(&SCHEMA, cleaned, None) else { return Vec::new() };
    let tells_more = |error: &ValidationError| {
        let path = rule_path(error);
        known.is_empty()
            || (error.kind == ErrorKind::ValidationFailure && known.iter().all(|known| known.path != path))
    };
    let errors = errors.into_vec().into_iter().filter(tells_more);
    errors.map(|error| Problem { path: rule_path(&error), why: error.message }).collect()
}

/// Kubernetes lets no rule point into the metadata, so one about the name reports at the root.
fn rule_path(error: &ValidationError) -> String {
    if error.field_path.is_empty() { "metadata.name".to_owned() } else { error.field_path.clone() }
}
