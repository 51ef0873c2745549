//! A signal does not lose a new secret: either the store has the token that was printed, or it is as before.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{Home, can_run};

fn signal(name: &str, process: u32) {
    let _ = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
}

/// Runs the command, sends it the signal after `delay`, and returns what it printed.
fn interrupted(home: &Home, arguments: &[&str], signal_name: &str, delay: Duration) -> String {
    let mut command = home.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while began.elapsed() < delay {
        thread::yield_now();
    }
    signal(signal_name, child.id());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.wait().unwrap();
    stdout.trim_end().to_owned()
}

#[test]
fn a_rotation_is_printed_or_not_made() {
    let home = Home::new();
    let mut current = home.create(&["--name", "ci"]);
    let mut rotated = 0;
    for round in 0..60_u32 {
        let name = ["-INT", "-TERM", "-HUP", "-QUIT"][round as usize % 4];
        // From right after the start to after the end, which takes at least the window of 10 ms.
        let delay = Duration::from_micros(500 * u64::from(round));
        let printed = interrupted(&home, &["rotate", "ci"], name, delay);
        if printed.is_empty() {
            assert!(home.knows(&current), "round {round}: {name} after {delay:?} lost the secret");
        } else {
            assert!(home.knows(&printed), "round {round}: {name} after {delay:?}");
            current = printed;
            rotated += 1;
        }
    }
    assert!(rotated > 0, "some rotations are made");
}

#[test]
fn a_creation_is_printed_or_not_made() {
    let home = Home::new();
    home.create(&["--name", "first"]);
    let mut tokens = home.records().len();
    for round in 0..60_u32 {
        let delay = Duration::from_micros(500 * u64::from(round));
        let printed = interrupted(&home, &["create"], "-INT", delay);
        let now = home.records().len();
        assert_eq!(now, tokens + usize::from(!printed.is_empty()), "round {round}: {delay:?}");
        tokens = now;
    }
}

/// strace makes the signal arrive between the rename and the output, where it was lost before.
#[test]
fn a_signal_after_the_change_waits_for_the_output_and_then_ends_the_process() {
    if !can_run("strace", &["-qq", "-e", "inject=fsync:signal=SIGURG", "true"]) {
        return;
    }
    let home = Home::new();
    for (number, name) in [(2, "SIGINT"), (15, "SIGTERM"), (1, "SIGHUP"), (3, "SIGQUIT")] {
        let old = home.create(&["--name", name]);
        let mut strace = home.program("strace");
        strace.args([
            "-f",
            "-qq",
            "-o",
            "strace.log",
            "-e",
            "trace=rename,renameat,renameat2,fsync",
        ]);
        strace.args(["-e", &format!("inject=rename,renameat,renameat2:signal={name}")]);
        strace.args([super::support::BINARY, "token", "rotate", name]);
        let output = strace.output().unwrap();
        let log = fs::read_to_string(home.path().join("strace.log")).unwrap();
        assert!(log.contains("rename"), "{log}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(home.knows(printed.trim_end()), "{name}: {printed}");
        assert!(!home.knows(&old));
        // strace ends with the signal that ended its process.
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(output.status.signal(), Some(number), "{name}: {:?}", output.status);
    }
}
