//! One integration test binary: each module is one kind of behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test says what went wrong by panicking; its helpers are not an API"
)]

mod support;
mod lenient;
mod marked;
mod recorder;

mod answers;
mod attacks;
mod credentials;
mod events;
mod explain;
mod layer;
mod properties;
mod raw;
mod secrets;
mod service;
mod tidy;
mod truth_table;
mod values;
