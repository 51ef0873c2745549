//! What is the same for all that changes a store: the lock, and the disk.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use snapbox::str;

use super::support::{BINARY, Home, Outcome, can_run, token};

fn locked_home() -> (Home, File) {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let lock = File::create(home.store_directory().join("auth-tokens.json.lock")).unwrap();
    lock.lock().unwrap();
    (home, lock)
}

#[test]
fn a_command_says_that_it_waits_for_another_process_and_continues() {
    let (home, lock) = locked_home();
    let began = Instant::now();
    let mut child = home.command(&["delete", "one"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200));
    drop(lock);
    stderr.read_to_string(&mut said).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    Outcome { code, stdout: String::new(), stderr: said }.is(
        0,
        "",
        str![[r#"
Another process is changing the tokens. Waiting for it.
Deleted the token [ID] (one).
Servers deny it from now on and end its open streams.

"#]],
    );
    assert!(home.records().is_empty());
}

#[test]
fn a_command_gives_up_after_ten_seconds() {
    let (home, _lock) = locked_home();
    let before = fs::read(home.store_path()).unwrap();
    let began = Instant::now();
    home.run(&["create"]).is(1, "", str![[r#"
Another process is changing the tokens. Waiting for it.
error: failed to lock `[HOME]/.config/opencode/auth-tokens.json.lock`: another process or thread has held it for 10 s; end that process, or try again

"#]]);
    assert!((10..20).contains(&began.elapsed().as_secs()));
    assert_eq!(fs::read(home.store_path()).unwrap(), before);
}

/// Runs the binary with a disk that does not confirm the second thing it is told to keep, which is the
/// directory; the first is the file.
fn on_a_bad_disk(home: &Home, arguments: &[&str]) -> Outcome {
    let log = home.path().join("strace.log");
    let mut strace = home.program("strace");
    strace.args(["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=2"]);
    strace.arg("-o").arg(log).args([BINARY, "token"]).args(arguments);
    Outcome::of(&mut strace)
}

#[test]
fn an_unconfirmed_change_is_made_with_a_warning() {
    if !can_run("strace", &["-qq", "-e", "inject=fsync:error=EIO:when=2", "true"]) {
        return;
    }
    let home = Home::with_tokens(&[]);
    let outcome = on_a_bad_disk(&home, &["create", "--name", "ci"]);
    outcome.is(3, str![[r#"
[TOKEN]

"#]], str![[r#"
Created the token [ID] (ci).
  permissions  read,write,execute
  expires      [TIME], in 90 days
  stored in    [HOME]/.config/opencode/auth-tokens.json (as a hash)
The token is shown only this once. To try it, put it into the variable TOKEN and run:
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/config
warning: the token was created, but a power cut may undo that: the disk did not confirm it (Input/output error (os error 5))

"#]]);
    assert!(home.knows(outcome.stdout.trim_end()));

    let outcome = on_a_bad_disk(&home, &["rotate", "ci", "--json"]);
    outcome.is(3, str![[r#"
{
  "token": "[TOKEN]",
  "id": "[ID]",
  "name": "ci",
  "permissions": [
    "read",
    "write",
    "execute"
  ],
  "created_at": "[TIME]",
  "expires_at": "[TIME]"
}

"#]], str![[r#"
warning: the token was rotated, but a power cut may undo that and restore the old one: the disk did not confirm it (Input/output error (os error 5))

"#]]);

    on_a_bad_disk(&home, &["delete", "ci"]).is(3, "", str![[r#"
Deleted the token [ID] (ci).
Servers deny it from now on and end its open streams.
warning: that was done, but a power cut may restore the deleted tokens: the disk did not confirm it (Input/output error (os error 5))

"#]]);
    assert!(home.records().is_empty());
}

#[test]
fn a_disk_that_fails_changes_nothing() {
    if !can_run("strace", &["-qq", "-e", "inject=fsync:error=EIO:when=1", "true"]) {
        return;
    }
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let before = fs::read(home.store_path()).unwrap();
    let mut strace = home.program("strace");
    strace.args(["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC:when=1"]);
    strace.args(["-o", "strace.log", BINARY, "token", "rotate", "one"]);
    let outcome = Outcome::of(&mut strace);
    assert_eq!((outcome.code, &*outcome.stdout), (1, ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("make room and try again"), "{}", outcome.stderr);
    assert_eq!(fs::read(home.store_path()).unwrap(), before);
}
