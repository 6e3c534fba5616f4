//! The `LoadTest`: its types, its rules and its small grammars.
//!
//! Knows serde, schemars and the kube types, and evaluates the schema's CEL rules without a cluster, so that a
//! laptop refuses what a cluster refuses. Never a client, never a runtime. Without the feature `crd` only the
//! grammars are built ([`duration`], [`threshold`]), which is all that the heart knows of Kubernetes.

pub mod duration;
pub mod threshold;

mod grammar;
