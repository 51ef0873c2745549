//! One integration test binary: each module is one kind of behaviour.
#![cfg(test)] // clippy.toml's exceptions for tests hold in their helpers too.
#![allow(
    clippy::pedantic,
    missing_debug_implementations,
    unreachable_pub,
    reason = "the tables of a test are long, and its helpers are not an API"
)]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some kinds of tests take Linux"))]

mod lenient;
mod marked;
mod recorder;
mod support;

mod attacks;
#[cfg(all(feature = "cli", unix))]
mod cli;
mod credentials;
mod denials;
mod events;
mod example_server;
mod existing_server;
mod http2;
mod layer;
mod policy_decision;
mod policy_nesting;
mod policy_host;
mod policy_opencode;
mod policy_review;
mod properties;
mod raw;
mod secrets;
mod service;
mod streams;
mod uploads;
mod store;
mod tidy;
mod truth_table;
mod values;
