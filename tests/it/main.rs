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
    reason = "a test says what went wrong by panicking; its tables are long, and its helpers are not an API"
)]

mod support;
mod support_store;
mod lenient;
mod marked;
mod recorder;

mod values;
mod credentials;
mod explain;
mod policy_opencode;
mod answers;
mod truth_table;
mod layer;
mod service;
mod attacks;
mod raw;
mod properties;
mod events;
mod secrets;

mod store_format;
mod store_fields;
mod store_unknown;
mod store_file;

mod example_server;

mod tidy;
