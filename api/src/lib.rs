//! The `LoadTest`: its types, its rules and its small grammars.
//!
//! Knows serde, schemars and the kube types, and evaluates the schema's CEL rules without a cluster, so that a
//! laptop refuses what a cluster refuses. Never a client, never a runtime. Without the feature `crd` only the
//! grammars are built ([`duration`], [`threshold`]), which is all that the heart knows of Kubernetes. Start at
//! [`LoadTest`], or at [`check()`] with a manifest in hand.

#![cfg_attr(
    feature = "crd",
    allow(unreachable_pub, reason = "KubeSchema derives a public copy of each struct inside a function")
)]

pub mod duration;
pub mod threshold;

#[cfg(feature = "crd")]
pub mod check;
#[cfg(feature = "crd")]
pub mod conditions;
#[cfg(feature = "crd")]
pub mod data;
#[cfg(feature = "crd")]
pub mod load;
#[cfg(feature = "crd")]
pub mod load_test;
#[cfg(feature = "crd")]
pub mod status;

mod grammar;
#[cfg(feature = "crd")]
mod schema;

#[cfg(feature = "crd")]
pub use check::{Problem, check};
#[cfg(feature = "crd")]
pub use load_test::{LoadTest, LoadTestSpec};
#[cfg(feature = "crd")]
pub use schema::crd;
