//! The Rust half of the `aiotest` Python package: everything that happens once per request.
//!
//! - [`reactor`]: the HTTP engine; sockets, parsers, timeouts and counters. Knows no Python.
//!
//! Without the feature `python` the crate is plain Rust, so that all but the interpreter's side is tested by
//! `cargo test`.

pub mod reactor;
