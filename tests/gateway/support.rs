//! The gateway as a process, and requests to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opencode_auth::{FileTokenStore, NewToken, Permissions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub const PASSWORD: &str = "the upstream's own";

/// A gateway with a token for everything. It is killed on drop.
pub struct Gateway {
    pub address: SocketAddr,
    pub token: String,
    pub store: FileTokenStore,
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    directory: TempDir,
}

/// The command with its own home directory and an empty store.
pub fn command(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opencode-auth"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory.path())
        .args(["gateway", "--listen", "127.0.0.1:0", "--store"])
        .arg(directory.path().join("tokens.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

impl Gateway {
    /// In front of an upstream that runs already.
    pub fn start(upstream: SocketAddr) -> Self {
        Self::start_with(upstream, &[])
    }

    pub fn start_with(upstream: SocketAddr, arguments: &[&str]) -> Self {
        Self::spawn(|command| {
            command
                .arg(format!("--upstream=http://{upstream}"))
                .args(arguments)
                .env("OPENCODE_SERVER_PASSWORD", PASSWORD);
        })
    }

    /// `prepare` says where the upstream is.
    pub fn spawn(prepare: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = FileTokenStore::open(directory.path().join("tokens.json")).unwrap();
        let token = token(&store, "all", Permissions::ALL);
        let mut command = command(&directory);
        command.stderr(fs::File::create(directory.path().join("stderr")).unwrap());
        prepare(&mut command);
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("Listening on http://")
            .and_then(|line| line.split(' ').next()?.parse().ok());
        let mut gateway =
            Self { address: ([0, 0, 0, 0], 0).into(), token, store, process, output, directory };
        match address {
            Some(address) => gateway.address = address,
            None => panic!("the gateway did not start: {line}{}", gateway.stderr()),
        }
        gateway
    }

    /// Another token.
    pub fn token(&self, name: &str, permissions: Permissions) -> String {
        token(&self.store, name, permissions)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// What the gateway has written to standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }

    /// What it prints after the first line.
    pub fn rest_of_output(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        text
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway did not end: {}", self.stderr());
    }

    /// How many descriptors the gateway has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Its memory, in KiB: `VmRSS` now, or `VmHWM` at most.
    pub fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A request with the token that may do everything.
    pub fn request(&self, method: &str, target: &str) -> Request<Body> {
        request(self.address, method, target, &basic(&self.token))
    }

    pub async fn get(&self, target: &str) -> Received {
        send(self.request("GET", target)).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn token(store: &FileTokenStore, name: &str, permissions: Permissions) -> String {
    let created = store.create(NewToken::new().name(name).permissions(permissions)).unwrap();
    created.token.expose_secret().to_owned()
}

/// `Authorization` as opencode's clients send it.
pub fn basic(token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("opencode:{token}")))
}

pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    authorization: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{target}"));
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    request.body(Body::empty()).unwrap()
}

/// A response that was received whole.
#[derive(Debug)]
pub struct Received {
    pub status: u16,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http()
}

/// The head of the response, over a new connection.
pub async fn open(request: Request<Body>) -> Response<Incoming> {
    client().request(request).await.unwrap()
}

pub async fn send(request: Request<Body>) -> Received {
    let (head, body) = open(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Received { status: head.status.as_u16(), headers: head.headers, body }
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
