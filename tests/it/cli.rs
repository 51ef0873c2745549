//! The binary `opencode-auth`, run as a person or a script runs it.
//!
//! `SNAPSHOTS=overwrite cargo test --features cli` writes what it says into the tests.
#![allow(clippy::needless_raw_string_hashes, reason = "snapbox writes them")]

mod change;
mod check;
mod create;
mod delete;
mod host;
mod identify;
#[cfg(target_os = "linux")]
mod hints;
mod list;
mod policy;
mod rotate;
mod signals;
mod support;
mod usage;
