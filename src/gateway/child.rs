//! The opencode server that the gateway starts.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::Stdio;
use std::time::Duration;

use axum::http::uri::Authority;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the server may take until it says where it listens.
const START: Duration = Duration::from_secs(60);

/// How long the server may take to end.
const END: Duration = Duration::from_secs(5);

/// How long to wait for output after the server has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Output that has no line break is cut after so many bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// The user name that opencode expects beside its password, unless its environment names another one.
pub(super) const USER: &str = "opencode";

/// The server, and what ends it if the gateway is killed.
pub(super) struct Server {
    process: Child,
    /// They end with the output that they pass on.
    outputs: Vec<JoinHandle<()>>,
    #[cfg(unix)]
    watcher: Option<Child>,
}

impl Server {
    /// Starts the command, and waits until it prints the address that it listens on.
    pub(super) async fn start(
        command: &[OsString],
        password: &str,
    ) -> Result<(Self, Authority), String> {
        let [program, arguments @ ..] = command else {
            return Err("no command to start opencode with".to_owned());
        };
        let name = program.to_string_lossy();
        let mut process = spawn(program, arguments, password).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!(
                "failed to start opencode: there is no program `{name}`; install it with \
                 `npm install -g opencode-ai`, name it with `-- /path/to/opencode serve`, or guard a server \
                 that runs already with --upstream"
            ),
            _ => format!("failed to start `{name}`: {error}"),
        })?;
        #[cfg(unix)]
        let watcher = watch(&process);
        let (sender, mut addresses) = mpsc::channel(1);
        let mut outputs = Vec::new();
        if let Some(output) = process.stdout.take() {
            outputs.push(tokio::spawn(pass_output_on(output, Some(sender))));
        }
        if let Some(output) = process.stderr.take() {
            outputs.push(tokio::spawn(pass_output_on(output, None)));
        }
        let mut server = Self {
            process,
            outputs,
            #[cfg(unix)]
            watcher,
        };
        match timeout(START, addresses.recv()).await {
            Ok(Some(address)) => Ok((server, address)),
            // Its output is closed without an address, as a program does that ends.
            Ok(None) => match timeout(END, server.ended()).await {
                Ok(ended) => Err(ended),
                Err(_) => Err(format!(
                    "`{name}` closed its output without the address that it listens on"
                )),
            },
            Err(_) => Err(format!(
                "`{name}` did not print the address that it listens on within {} s",
                START.as_secs()
            )),
        }
    }

    /// Waits until the server ends by itself, and says how.
    pub(super) async fn ended(&mut self) -> String {
        let status = self.process.wait().await;
        // What it still printed comes before the message. A process that it left behind may hold the pipe.
        let _ = timeout(LAST_OUTPUT, async {
            for output in &mut self.outputs {
                let _ = output.await;
            }
        })
        .await;
        match status {
            Ok(status) => format!("opencode ended ({status}); its last lines are above"),
            Err(error) => format!("opencode ended: {error}"),
        }
    }

    /// Ends the server: first politely.
    pub(super) async fn stop(mut self) {
        #[cfg(unix)]
        {
            use rustix::process::Signal;
            self.signal(Signal::TERM);
            if timeout(END, self.process.wait()).await.is_err() {
                self.signal(Signal::KILL);
            }
        }
        let _ = self.process.start_kill();
        let _ = self.process.wait().await;
        #[cfg(unix)]
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.kill().await;
        }
    }

    /// Signals the server and the processes that it started: npm's `opencode` may be one that starts another.
    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = group(&self.process) {
            // An error says that it is gone.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

fn spawn(program: &OsStr, arguments: &[OsString], password: &str) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        // The name in opencode 1.18, and that in 2.0.
        .env("OPENCODE_SERVER_PASSWORD", password)
        .env("OPENCODE_PASSWORD", password)
        .env("OPENCODE_SERVER_USERNAME", USER)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Ctrl-C in a terminal is for the gateway, which ends the server when its own requests are done.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

#[cfg(unix)]
fn group(process: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(process.id()?).ok()?)
}

/// A shell that ends the server when its own input ends, which is when the gateway does, however it ends.
#[cfg(unix)]
fn watch(process: &Child) -> Option<Child> {
    let group = group(process)?;
    let watcher = Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -s TERM -- "-$1""#, "sh"])
        .arg(group.as_raw_nonzero().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    watcher.ok()
}

/// Prints each line with a prefix, and sends the first address in them.
async fn pass_output_on(
    output: impl AsyncRead + Unpin,
    mut addresses: Option<mpsc::Sender<Authority>>,
) {
    let mut reader = BufReader::with_capacity(LONGEST_LINE, output);
    let mut line = Vec::new();
    // An error of the pipe is its end.
    while let Ok(bytes) = reader.fill_buf().await {
        if bytes.is_empty() {
            break;
        }
        let (length, is_whole) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (bytes.len(), false),
        };
        line.extend_from_slice(&bytes[..length]);
        reader.consume(length);
        if is_whole || line.len() >= LONGEST_LINE {
            print(&line);
            if let Some(address) = address_in(&line)
                && let Some(addresses) = addresses.take()
            {
                let _ = addresses.try_send(address);
            }
            line.clear();
        }
    }
    if !line.is_empty() {
        print(&line);
    }
}

fn print(line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = [b"opencode: ", line, b"\n"].concat();
    // There is nobody to tell that standard error is closed.
    let _ = io::stderr().write_all(&text);
}

/// The address in `opencode server listening on http://127.0.0.1:4097`.
fn address_in(line: &[u8]) -> Option<Authority> {
    let line = String::from_utf8_lossy(line);
    let (_, rest) = line.split_once("listening on http://")?;
    let authority =
        rest.split(|character: char| character.is_whitespace() || character == '/').next()?;
    let authority: Authority = authority.parse().ok()?;
    let port = authority.port_u16()?;
    match authority.host() {
        "0.0.0.0" => format!("127.0.0.1:{port}").parse().ok(),
        "[::]" => format!("[::1]:{port}").parse().ok(),
        _ => Some(authority),
    }
}
