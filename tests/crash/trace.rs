//! One run of this program under `strace`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// The variable that makes this program the one that changes a store: `create` or `delete`.
pub const CHANGE: &str = "OPENCODE_AUTH_TEST_CHANGE";
/// The variable with the store's file.
pub const STORE: &str = "OPENCODE_AUTH_TEST_STORE";

/// A system call of a change: the `number`th with this name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    pub number: usize,
}

/// What happens at the call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The process is killed before the call.
    Kill,
    /// The call is not made, and fails so.
    Error(&'static str),
}

/// What came of a run.
pub struct Outcome {
    pub status: ExitStatus,
    pub report: Option<String>,
}

/// Runs a change without the tracer and returns its report.
pub fn run_untraced(change: &str, store: &Path) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.env(CHANGE, change).env(STORE, store).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a change under `strace`.
pub fn run(change: &str, store: &Path, log: &Path, injection: Option<(&Call, Fault)>) -> Outcome {
    let mut strace = Command::new("strace");
    strace.args(["-y".as_ref(), "-o".as_ref(), log.as_os_str()] as [&OsStr; 3]);
    if let Some((Call { name, number }, fault)) = injection {
        let fault = match fault {
            Fault::Kill => "signal=KILL".to_owned(),
            Fault::Error(error) => format!("error={error}"),
        };
        strace.args(["-e", &format!("trace={name}")]);
        strace.args(["-e", &format!("inject={name}:{fault}:when={number}")]);
    }
    let output = strace
        .arg(env::current_exe().unwrap())
        .env(CHANGE, change)
        .env(STORE, store)
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    Outcome { status: output.status, report: report.lines().next().map(str::to_owned) }
}

/// The calls in a log, in order, and whether each of them touches something in the directory.
pub fn calls(log: &Path, directory: &Path) -> Vec<(Call, bool)> {
    let text = fs::read_to_string(log).unwrap();
    let directory = directory.to_str().unwrap();
    let mut calls: Vec<(Call, bool)> = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        if name.contains(|character: char| !character.is_ascii_alphanumeric() && character != '_') {
            continue;
        }
        let number = 1 + calls.iter().filter(|(call, _)| call.name == name).count();
        calls.push((Call { name: name.to_owned(), number }, rest.contains(directory)));
    }
    calls
}
