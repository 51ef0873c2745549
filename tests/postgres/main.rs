//! `PostgresTokenStore` against a real cluster, which the tests start. Where there is no PostgreSQL they
//! print `skipped:` and why.
#![cfg(target_os = "linux")]
#![cfg(test)] // clippy.toml's exceptions for tests hold in their helpers too.
#![allow(
    clippy::cloned_ref_to_slice_refs,
    clippy::pedantic,
    missing_debug_implementations,
    unreachable_pub,
    unused_must_use,
    reason = "the tables of a test are long, and its helpers are not an API"
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
