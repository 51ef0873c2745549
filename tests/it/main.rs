//! One integration test binary: each module is one kind of behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test says what went wrong by panicking; its helpers are not an API"
)]

mod lenient;
mod marked;
mod recorder;
mod support;
mod support_store;

mod answers;
mod attacks;
#[cfg(all(feature = "cli", unix))]
mod cli;
mod credentials;
mod events;
mod example_server;
mod layer;
mod policy_opencode;
mod properties;
mod raw;
mod secrets;
mod service;
mod store_fields;
mod store_file;
mod store_format;
mod store_unknown;
mod truth_table;
mod undo_rotation;
mod values;
