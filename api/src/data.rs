//! The data sets that a scenario may ask for. Start at [`DataSet`].

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows of a file, handed out among the users: `aiotest.data(NAME)` in the aiotestfile.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSet {
    /// What the aiotestfile asks for, made of a-z, 0-9 and -.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Who gets which row. `Unique`: a row is one live user's at a time, of all runners, and comes back when that
    /// user ends. `Shared`: every runner process goes through all rows for itself. `Sharded`: all of them go through
    /// the rows together, and each row is handed out once in a pass. Defaults to `Unique`.
    #[serde(default)]
    pub policy: Policy,
    /// What happens when no row is left. `Loop`: the rows begin again, and of `Unique` ones a user waits for one that
    /// comes back. `Stop`: the user that asks gets a `DataExhausted`. Defaults to `Loop`.
    #[serde(default)]
    pub at_end: AtEnd,
    /// A key of a `ConfigMap` in the same namespace, of which the run reads a copy.
    pub config_map: DataKey,
}

/// Who gets which row.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// One live user at a time.
    #[default]
    Unique,
    /// Every process for itself.
    Shared,
    /// All processes together.
    Sharded,
}

/// What happens when no row is left.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtEnd {
    /// The rows begin again.
    #[default]
    Loop,
    /// The user that asks is told so.
    Stop,
}

/// One key of a `ConfigMap` that holds rows.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataKey {
    /// The name of the `ConfigMap`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key that holds the rows: CSV with a header, or a JSON object a line, as its name's end says.
    #[schemars(length(min = 5, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+\.(csv|jsonl)$"))]
    pub key: String,
}
