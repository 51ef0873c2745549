//! The gateway as a program, in front of an upstream that behaves as opencode does.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails with a panic, and skips with a line"
)]

mod child;
mod clients;
mod cors;
mod faults;
mod first_run;
mod log;
mod passing;
mod second;
mod sockets;
mod streams;
mod stub;
mod support;
