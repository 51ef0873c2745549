//! The changes, the faults, and what must hold after each.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use opencode_auth::{ChangeError, Durability, FileTokenStore, NewToken, Token};
use tempfile::TempDir;

use crate::trace::{self, Call, Fault, Outcome, STORE};

const CHANGES: [&str; 2] = ["create", "delete"];
const ERRORS: [&str; 4] = ["ENOSPC", "EIO", "EDQUOT", "EINTR"];

/// The change itself, in the process that is going to be hit, and one line on how it went.
pub fn make(change: &str) {
    let path = env::var_os(STORE).unwrap();
    let result =
        FileTokenStore::open(path).map_err(ChangeError::from).and_then(|store| match change {
            "create" => store
                .create(NewToken::new().name("new"))
                .map(|created| (created.durability, created.token.expose_secret().to_owned())),
            _ => store
                .delete("old")
                .map(|deleted| (deleted.durability, deleted.records.len().to_string())),
        });
    match result {
        Ok((Durability::Confirmed, what)) => println!("confirmed {what}"),
        Ok((Durability::Unconfirmed(error), what)) => println!("unconfirmed {what} {error}"),
        Err(error) => println!("refused {error}"),
    }
}

/// A store with the tokens `kept` and `old`.
struct Scene {
    directory: TempDir,
    before: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("auth-tokens.json");
        let store = quick(&path);
        for name in ["kept", "old"] {
            let _ = store.create(NewToken::new().name(name)).unwrap();
        }
        Self { before: fs::read(&path).unwrap(), directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("auth-tokens.json")
    }

    fn log(&self) -> PathBuf {
        env::temp_dir()
            .join(format!("{}.strace", self.directory.path().file_name().unwrap().display()))
    }

    fn run(&self, change: &str, injection: Option<(&Call, Fault)>) -> Outcome {
        trace::run(change, &self.path(), &self.log(), injection)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.log());
    }
}

/// Without the wait for other processes' snapshots: no other process reads this store.
fn quick(path: &Path) -> FileTokenStore {
    FileTokenStore::options().freshness_window(Duration::ZERO).open(path).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let records = quick(path).list().unwrap();
    records.iter().map(|record| record.name().unwrap().to_owned()).collect()
}

/// What a run without a fault calls, from the store's first call on.
fn calls_of(change: &str) -> Result<Vec<(Call, bool)>, String> {
    let untraced = trace::run_untraced(change, &Scene::new().path());
    assert!(untraced.starts_with("confirmed "), "{untraced}");
    let scene = Scene::new();
    let outcome = scene.run(change, None);
    if outcome.report.is_none_or(|report| !report.starts_with("confirmed ")) {
        return Err(format!("strace cannot trace here: {}", outcome.status));
    }
    let calls = trace::calls(&scene.log(), scene.directory.path());
    let first = calls.iter().position(|(_, touches)| *touches).unwrap();
    Ok(calls[first..].to_vec())
}

/// The faults of one change, each with whether the file has been replaced by then.
fn faults_of(change: &str, all: bool) -> Result<Vec<(Call, Fault, bool)>, String> {
    let calls = calls_of(change)?;
    let renamed = calls.iter().position(|(call, _)| call.name.starts_with("rename")).unwrap();
    let last = calls.iter().rposition(|(_, touches)| *touches).unwrap();
    let mut faults = Vec::new();
    let mut kills = BTreeSet::new();
    for (position, (call, touches)) in calls.iter().enumerate() {
        let replaced = position > renamed;
        // Killed before each call that touches the store, and after it, which is before the next one.
        let after = position > 0 && calls[position - 1].1;
        if (*touches || after && position <= last + 1) && kills.insert(call.clone()) {
            faults.push((call.clone(), Fault::Kill, replaced));
        }
        if *touches {
            let errors: &[&str] = if all { &ERRORS } else { &[ERRORS[position % ERRORS.len()]] };
            faults.extend(errors.iter().map(|error| (call.clone(), Fault::Error(error), replaced)));
        }
    }
    Ok(faults)
}

/// Runs one change with one fault and returns what is wrong afterwards.
fn check(change: &str, call: &Call, fault: Fault, replaced: bool) -> Result<String, String> {
    let scene = Scene::new();
    let outcome = scene.run(change, Some((call, fault)));
    let log = fs::read_to_string(scene.log()).unwrap_or_default();
    let was_hit = log.contains("(INJECTED)") || log.contains("killed by SIGKILL");
    ensure(was_hit, || format!("no fault was injected: {log}"))?;

    let after = fs::read(scene.path()).unwrap();
    let found = names(&scene.path());
    let is_old = after == scene.before;
    let is_new = match change {
        "create" => found == ["kept", "old", "new"],
        _ => found == ["kept"],
    };
    ensure(is_old || is_new, || format!("neither old nor new: {found:?}"))?;

    let report = outcome.report.unwrap_or_default();
    let (word, rest) = report.split_once(' ').unwrap_or_default();
    match (fault, word) {
        (Fault::Kill, "") => ensure(is_new == replaced, || format!("killed: {found:?}"))?,
        (Fault::Error(_), "refused") => ensure(is_old, || format!("{report}, but it was made"))?,
        (Fault::Error(error), "confirmed") => {
            ensure(is_new, || format!("{report}, but it was not"))?;
            // What was not synced is not confirmed; only a call that was interrupted may be made again.
            let syncs = call.name == "fsync" || call.name == "openat" && replaced;
            ensure(!syncs || error == "EINTR", || format!("{report}, but it was not synced"))?;
        }
        (Fault::Error(_), "unconfirmed") => {
            ensure(is_new && replaced, || format!("{report}, but it was not made"))?;
        }
        _ => return Err(format!("reported `{report}`, {}", outcome.status)),
    }
    if change == "create" && word.ends_with("confirmed") {
        let token: Token = rest.split(' ').next().unwrap().parse().unwrap();
        let records = quick(&scene.path()).list().unwrap();
        ensure(*records[2].digest() == token.digest(), || "another token was reported".to_owned())?;
    }

    // The next command works, and clears up.
    let _ = quick(&scene.path())
        .create(NewToken::new().name("next"))
        .map_err(|error| error.to_string())?;
    let mut expected = found;
    expected.push("next".to_owned());
    ensure(names(&scene.path()) == expected, || "the next change lost something".to_owned())?;
    let mut entries: Vec<_> = fs::read_dir(scene.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    entries.sort();
    ensure(entries == ["auth-tokens.json", "auth-tokens.json.lock"], || {
        format!("left: {entries:?}")
    })?;
    Ok(if word.is_empty() { "killed".to_owned() } else { word.to_owned() })
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub fn run() -> ExitCode {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("crash: skipped, for there is no strace");
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let all = env::var("OPENCODE_AUTH_TEST_CRASHES").is_ok_and(|wanted| wanted == "all");
    let mut cases = Vec::new();
    for change in CHANGES {
        match faults_of(change, all) {
            Ok(faults) => cases.extend(faults.into_iter().map(|fault| (change, fault))),
            Err(why) => {
                println!("crash: skipped, for {why}");
                return ExitCode::SUCCESS;
            }
        }
    }
    // They mostly wait.
    let workers = 2 * thread::available_parallelism().map_or(1, usize::from);
    let chunks: Vec<_> =
        (0..workers).map(|worker| cases.iter().skip(worker).step_by(workers)).collect();
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = chunks
            .into_iter()
            .map(|chunk| {
                scope.spawn(move || {
                    chunk
                        .map(|(change, (call, fault, replaced))| {
                            let result = check(change, call, *fault, *replaced);
                            (format!("{change}, {} {}, {fault:?}", call.name, call.number), result)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });

    let mut summary = String::new();
    for outcome in ["killed", "refused", "confirmed", "unconfirmed"] {
        let count = results.iter().filter(|(_, result)| result.as_deref() == Ok(outcome)).count();
        write!(summary, ", {count} {outcome}").unwrap();
    }
    let wrong: Vec<_> =
        results.iter().filter_map(|(case, result)| Some((case, result.as_ref().err()?))).collect();
    for (case, why) in &wrong {
        println!("crash: {case}: {why}");
    }
    println!(
        "crash: {} cases{summary}, {} wrong, in {:.1?}",
        results.len(),
        wrong.len(),
        began.elapsed()
    );
    if env::var_os("OPENCODE_AUTH_TEST_VERBOSE").is_some() {
        for (case, result) in &results {
            println!("crash: {case}: {result:?}");
        }
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
