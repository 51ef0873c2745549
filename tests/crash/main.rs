//! Writers that die, and disks that fail, at each system call of a change.
//!
//! The program runs itself under `strace`, which kills it before a call, or makes the call fail. Whatever
//! happens, the file is the old one or the new one, what was reported is true, and the next change works
//! and leaves no temporary file. It skips itself where there is no `strace`, or no permission to trace.
//!
//! By default each call meets a kill and one of the failures in turn. `OPENCODE_AUTH_TEST_CRASHES=all`
//! makes it each call with each of them: see `scripts/crash-matrix.sh`.
#![cfg(test)] // clippy.toml's exceptions for tests hold in their helpers too.
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the helpers of a test are not an API"
)]

mod trace;

use std::env;
use std::process::ExitCode;

const NAME: &str = "crash_at_every_system_call_of_a_change";

fn main() -> ExitCode {
    if let Some(change) = env::var_os(trace::CHANGE) {
        #[cfg(target_os = "linux")]
        cases::make(change.to_str().unwrap());
        return ExitCode::SUCCESS;
    }
    // The part of the test harness's command line that its callers use.
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        if !has("--ignored") {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|filter| NAME.contains(filter.as_str())) {
        println!("{NAME}: filtered out");
        return ExitCode::SUCCESS;
    }
    #[cfg(target_os = "linux")]
    return cases::run();
    #[cfg(not(target_os = "linux"))]
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
mod cases;
