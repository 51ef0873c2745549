//! One integration test binary: each module is one kind of behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test says what went wrong by panicking; its helpers are not an API"
)]

mod support;
mod support_store;

mod example_server;
mod layer;

mod policy_opencode;
mod store_format;
mod store_fields;
mod store_unknown;
mod store_file;
