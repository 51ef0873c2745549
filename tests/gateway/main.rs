//! The gateway as a program, in front of an upstream that behaves as opencode does.
#![cfg(target_os = "linux")]
#![cfg(test)] // clippy.toml's exceptions for tests hold in their helpers too.
#![allow(
    clippy::pedantic,
    missing_debug_implementations,
    unreachable_pub,
    reason = "the tables of a test are long, and its helpers are not an API"
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
