//! Other processes: this test binary, run again in a role.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use opencode_auth::{FileTokenStore, NewToken};
use rustix::time::{ClockId, clock_gettime};

use crate::support::store::named;

const ROLE: &str = "OPENCODE_AUTH_TEST_ROLE";
const STORE: &str = "OPENCODE_AUTH_TEST_STORE";
const ARGUMENT: &str = "OPENCODE_AUTH_TEST_ARGUMENT";
/// The prefix of a line of a role's report. The test harness prints other lines.
const MARK: &str = "@";

/// The command that runs this binary in a role.
pub fn role(role: &str, store: &Path, argument: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "support::process::other_process", "--nocapture", "--test-threads=1"])
        .envs([(ROLE, role), (ARGUMENT, argument)])
        .env(STORE, store)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// A process in a role, ended with the test.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line of its report; `None` at its end.
    pub fn report(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(report) = line.strip_prefix(MARK) {
                return Some(report.trim_end().to_owned());
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    #[track_caller]
    pub fn finish(mut self) {
        while self.report().is_some() {}
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The time that all processes of this machine share, in nanoseconds.
pub fn shared_clock() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test, or a part of it, was not run here.
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// What [`role`] runs. Without a role it does nothing.
#[test]
fn other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let store = PathBuf::from(env::var_os(STORE).unwrap());
    let argument = env::var(ARGUMENT).unwrap();
    match role.as_str() {
        "open" => report(match FileTokenStore::open(&store) {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.to_string(),
        }),
        "create" => {
            report(match FileTokenStore::open(&store).map(|store| store.create(NewToken::new())) {
                Ok(Ok(_)) => "created".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            })
        }
        "delete-each" => delete_each(&store, &argument),
        "create-each" => create_each(&store, &argument),
        "work" => work(&store, &argument),
        "hold" => hold(&store),
        "starve" => crate::store::without_descriptors(&store),
        other => panic!("no such role: {other}"),
    }
}

fn report(line: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    // The harness may have begun a line.
    writeln!(out, "\n{MARK}{}", line.as_ref()).unwrap();
    out.flush().unwrap();
}

/// Deletes the ids, one by one, and reports when each deletion returned.
fn delete_each(store: &Path, ids: &str) {
    let store = FileTokenStore::open(store).unwrap();
    for id in ids.split(',') {
        let _ = store.delete(id).unwrap();
        report(format!("{id} {}", shared_clock()));
    }
}

/// Creates so many tokens, and reports each with when its creation returned.
fn create_each(store: &Path, count: &str) {
    let store = FileTokenStore::open(store).unwrap();
    for _ in 0..count.parse().unwrap() {
        let created = store.create(NewToken::new()).unwrap();
        report(format!("{} {}", created.token.expose_secret(), shared_clock()));
    }
}

/// Creates tokens with this prefix, and deletes every other one, in between the same of others.
fn work(store: &Path, argument: &str) {
    let (prefix, count) = argument.split_once(' ').unwrap();
    let store = FileTokenStore::open(store).unwrap();
    let mut slowest = Duration::ZERO;
    for number in 0..count.parse::<usize>().unwrap() {
        let began = Instant::now();
        let _ = store.create(named(&format!("{prefix}-{number}"))).unwrap();
        slowest = slowest.max(began.elapsed());
        if number % 2 == 1 {
            let began = Instant::now();
            let _ = store.delete(&format!("{prefix}-{}", number - 1)).unwrap();
            slowest = slowest.max(began.elapsed());
        }
    }
    report(slowest.as_millis().to_string());
}

/// Takes the lock as a writer does, and keeps it.
fn hold(store: &Path) {
    let path = lock_of(store);
    let lock = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    lock.lock().unwrap();
    report("held");
    thread::sleep(Duration::from_secs(600));
}

pub fn lock_of(store: &Path) -> PathBuf {
    let mut lock = store.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}
