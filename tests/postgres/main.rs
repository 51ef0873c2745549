//! `PostgresTokenStore` against a real cluster, which the tests start. Where there is no PostgreSQL they
//! print `skipped:` and why.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    unused_must_use,
    clippy::cloned_ref_to_slice_refs,
    clippy::items_after_statements,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test says what went wrong by panicking; its tables are long, and its helpers are not an API"
)]

mod cluster;
mod proxy;
mod support;
mod way;
mod changes;
mod commands;
mod conformance;
mod edits;
mod faults;
mod lost_commit;
mod revocation;
mod url;
