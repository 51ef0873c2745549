//! One integration test binary: each module is one kind of behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test says what went wrong by panicking; its tables are long, and its helpers are not an API"
)]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some kinds of tests take Linux"))]

mod lenient;
mod marked;
mod recorder;
mod support;
#[cfg(target_os = "linux")]
mod support_hammer;
#[cfg(target_os = "linux")]
mod support_mounts;
#[cfg(target_os = "linux")]
mod support_process;
mod support_store;

mod answers;
mod attacks;
#[cfg(all(feature = "cli", unix))]
mod cli;
mod credentials;
mod events;
mod example_server;
mod http2;
mod layer;
mod policy_decision;
mod policy_opencode;
mod properties;
mod raw;
mod secrets;
mod service;
#[cfg(target_os = "linux")]
mod store_concurrency;
#[cfg(target_os = "linux")]
mod store_editing;
#[cfg(target_os = "linux")]
mod store_editors;
mod store_fields;
mod store_file;
mod store_format;
mod store_model;
#[cfg(target_os = "linux")]
mod store_mounts;
#[cfg(target_os = "linux")]
mod store_revocation;
#[cfg(target_os = "linux")]
mod store_races;
mod store_trust;
mod store_unknown;
mod tidy;
mod truth_table;
mod undo_rotation;
mod values;
