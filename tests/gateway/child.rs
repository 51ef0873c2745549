//! The server that the gateway starts.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::stub;
use crate::support::{Gateway, command, eventually, open};

const ROLE: &str = "OPENCODE_AUTH_TEST_ROLE";

/// This program again, as a server that says where it listens, as `opencode serve` does.
pub fn server(command: &mut Command) -> &mut Command {
    command.args(["--exact", "child::as_a_server", "--nocapture"]).env(ROLE, "server")
}

#[test]
fn as_a_server() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let password = std::env::var("OPENCODE_SERVER_PASSWORD").unwrap();
    stub::set_password(password.clone());
    let (address, _) = runtime.block_on(stub::first());
    if let Some(path) = std::env::var_os("OPENCODE_AUTH_TEST_REPORT") {
        fs::write(path, format!("{} {password}", std::process::id())).unwrap();
    }
    let mut output = std::io::stdout();
    writeln!(output, "\nopencode server listening on http://{address}").unwrap();
    // Its parent may have been killed, and nobody else would end it.
    std::thread::sleep(Duration::from_secs(60));
}

/// A gateway that has started its own server.
fn with_child() -> (Gateway, u32, String) {
    let gateway = Gateway::spawn(|command| {
        let report = std::path::Path::new(
            command.get_envs().find(|(name, _)| *name == "HOME").unwrap().1.unwrap(),
        )
        .join("report");
        command.env("OPENCODE_AUTH_TEST_REPORT", report).arg("--");
        let program = std::env::current_exe().unwrap();
        server(command.arg(program));
    });
    let report = fs::read_to_string(gateway.path("report")).unwrap();
    let (pid, password) = report.split_once(' ').unwrap();
    (gateway, pid.parse().unwrap(), password.to_owned())
}

fn runs(pid: u32) -> bool {
    let is_zombie =
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()).is_ok() && !is_zombie
}

#[tokio::test(flavor = "multi_thread")]
async fn child_has_a_random_password_in_its_environment_alone() {
    let (gateway, pid, password) = with_child();
    assert_eq!(password.len(), 43);
    assert_eq!(gateway.get("/config").await.status, 200);
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(&password));
    let stderr = gateway.stderr();
    assert!(
        stderr.contains("opencode: opencode server listening on http://127.0.0.1:"),
        "{stderr}"
    );
    assert!(!stderr.contains(&password) && !stderr.contains(&gateway.token), "{stderr}");
    assert_ne!(with_child().2, password);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_gateway_and_child_with_streams_open() {
    for signal in [Signal::INT, Signal::TERM] {
        let (mut gateway, pid, _) = with_child();
        let mut body = open(gateway.request("GET", "/event")).await.into_body();
        body.frame().await.unwrap().unwrap();
        let sent = Instant::now();
        gateway.signal(signal);
        let status = gateway.wait();
        assert!(status.success(), "{status}: {}", gateway.stderr());
        assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
        assert!(!runs(pid));
        // The stream breaks off: SDK 1 connects again after that, and gives up after a clean end.
        assert!(body.collect().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn child_ends_with_a_gateway_that_is_killed() {
    let (mut gateway, pid, _) = with_child();
    assert!(runs(pid));
    gateway.signal(Signal::KILL);
    gateway.wait();
    eventually("the child has ended", || !runs(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_ends_with_its_child_and_says_how() {
    let (mut gateway, pid, _) = with_child();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let status = gateway.wait();
    assert_eq!(status.code(), Some(1));
    let stderr = gateway.stderr();
    assert!(
        stderr.ends_with("error: opencode ended (signal: 9 (SIGKILL)); its last lines are above\n"),
        "{stderr}"
    );
}

fn failure(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = command(&directory).env("PATH", "/usr/bin:/bin").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn child_that_fails_shows_its_last_lines() {
    assert_eq!(
        failure(&["--", "/bin/sh", "-c", "echo 'config is broken' >&2; exit 3"]),
        "opencode: config is broken\nerror: opencode ended (exit status: 3); its last lines are above\n"
    );
}

#[test]
fn missing_opencode_is_an_error_that_says_how_to_install_or_name_it() {
    assert_eq!(
        failure(&["--", "opencode-is-not-here", "serve"]),
        "error: failed to start opencode: there is no program `opencode-is-not-here`; install it with \
         `npm install -g opencode-ai`, name it with `-- /path/to/opencode serve`, or guard a server that runs already \
         with --upstream\n"
    );
}

#[test]
fn port_in_use_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_opencode-auth"))
        .env("HOME", directory.path())
        .args(["gateway", "--upstream=http://127.0.0.1:1", "--store"])
        .arg(directory.path().join("tokens.json"))
        .arg(format!("--listen={address}"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with(&format!("error: failed to listen on `{address}`: ")), "{error}");
    assert!(error.ends_with("; choose another address with --listen\n"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_beyond_loopback_is_warned_about_once() {
    let (upstream, _) = stub::first().await;
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::spawn(|command| {
        // The flag that comes last would be a second one.
        let mut anew = Command::new(env!("CARGO_BIN_EXE_opencode-auth"));
        anew.env("HOME", directory.path())
            .env("OPENCODE_SERVER_PASSWORD", crate::support::PASSWORD)
            .args(["gateway", "--listen", "0.0.0.0:0", "--store"])
            .arg(directory.path().join("tokens.json"))
            .arg(format!("--upstream=http://{upstream}"))
            .stdout(std::process::Stdio::piped())
            .stderr(fs::File::create(directory.path().join("stderr")).unwrap());
        *command = anew;
    });
    let stderr = fs::read_to_string(directory.path().join("stderr")).unwrap();
    assert_eq!(
        stderr.matches("warning: other machines can reach `0.0.0.0:0`").count(),
        1,
        "{stderr}"
    );
    assert_eq!(gateway.address.ip().to_string(), "127.0.0.1");
}
