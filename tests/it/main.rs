//! One integration test binary: each module is one kind of behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test says what went wrong by panicking; its helpers are not an API"
)]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some kinds of tests take Linux"))]

mod support;
mod support_store;
#[cfg(target_os = "linux")]
mod support_process;
#[cfg(target_os = "linux")]
mod support_hammer;
#[cfg(target_os = "linux")]
mod support_mounts;

mod layer;
mod store_format;
mod store_fields;
mod store_unknown;
mod store_file;
mod store_model;
#[cfg(target_os = "linux")]
mod store_trust;
#[cfg(target_os = "linux")]
mod store_concurrency;
#[cfg(target_os = "linux")]
mod store_revocation;
#[cfg(target_os = "linux")]
mod store_editing;
#[cfg(target_os = "linux")]
mod store_mounts;
