//! An upstream that fails.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Gateway, Received, eventually, open, send};

/// How many connections an upstream has accepted.
#[derive(Clone, Default)]
struct Accepted(Arc<AtomicUsize>);

/// An upstream that misbehaves by path, on the level of bytes.
async fn faulty() -> (SocketAddr, Accepted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Accepted::default();
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.0.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(misbehave(stream));
        }
    });
    (address, accepted)
}

async fn misbehave(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    for number in 0.. {
        let (mut target, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            target = target.or_else(|| Some(line.split(' ').nth(1)?.to_owned()));
            if line == "\r\n" {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let response = match &*target.unwrap() {
            "/global/health" => {
                format!("{ok}content-length: 21\r\n\r\n{{\"version\":\"1.18.33\"}}")
            }
            "/good" => format!("{ok}content-length: 2\r\n\r\n{{}}"),
            // The second request on a connection finds it closed.
            "/stale" if number == 0 => format!("{ok}content-length: 2\r\n\r\n{{}}"),
            "/garbage" => "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
            "/half" => format!("{ok}content-length: 100\r\n\r\nhalf"),
            "/half-chunked" => format!("{ok}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                format!("{ok}content-length: 2\r\n\r\n{{}}")
            }
            "/huge-head" => format!("{ok}x-filler: {}\r\n\r\n", "x".repeat(1 << 20)),
            _ => String::new(),
        };
        stream.write_all(response.as_bytes()).await?;
        let goes_on = ["21\r\n", "2\r\n\r\n{}"].iter().any(|end| response.contains(end));
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

#[track_caller]
fn assert_gateway_error(response: &Received, status: u16, name: &str, message: &str) {
    assert_eq!(
        (response.status, response.header("content-type")),
        (status, Some("application/json"))
    );
    let body = response.json();
    assert_eq!((&body["name"], &body["_tag"]), (&name.into(), &name.into()));
    assert_eq!(body["message"], body["data"]["message"]);
    assert!(body["message"].as_str().unwrap().contains(message), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_responses_are_clear_errors_and_leak_nothing() {
    let (upstream, _) = faulty().await;
    let gateway = Gateway::start(upstream);
    gateway.get("/good").await;
    let before = gateway.descriptors();
    for round in 0..5 {
        assert_gateway_error(
            &gateway.get("/garbage").await,
            502,
            "BadGatewayError",
            "did not respond with HTTP",
        );
        assert_gateway_error(
            &gateway.get("/close").await,
            502,
            "BadGatewayError",
            "closed the connection",
        );
        assert_gateway_error(
            &gateway.get("/huge-head").await,
            502,
            "BadGatewayError",
            "did not respond with HTTP",
        );
        for target in ["/half", "/half-chunked"] {
            let response = open(gateway.request("GET", target)).await;
            assert_eq!(response.status(), 200);
            // The client can tell that something is missing.
            assert!(response.into_body().collect().await.is_err(), "{target} in round {round}");
        }
        assert_eq!(gateway.get("/slow").await.status, 200);
        assert_eq!(gateway.get("/good").await.status, 200);
    }
    // The upstream's idle connections stay in the pool for 4 s.
    eventually("nothing leaks", || gateway.descriptors() <= before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_sent_twice_is_sent_again_after_a_stale_connection() {
    let (upstream, accepted) = faulty().await;
    let gateway = Gateway::start(upstream);
    let connections = || accepted.0.load(Ordering::SeqCst);
    // The connection of the health check is the first, and has delivered a response.
    assert_eq!(gateway.get("/stale").await.status, 200);
    let before = connections();
    assert_eq!(gateway.get("/stale").await.status, 200);
    assert_eq!(connections(), before + 1, "a GET is sent again on a new connection");

    let post = || send(gateway.request("POST", "/stale").map(|_| Body::from("{}")));
    assert_gateway_error(&post().await, 502, "BadGatewayError", "closed the connection");
    assert_eq!(connections(), before + 1, "a POST is not");
    assert_eq!(post().await.status, 200);
    // A new connection that closes without a response is no stale one.
    let before = connections();
    assert_gateway_error(
        &gateway.get("/close").await,
        502,
        "BadGatewayError",
        "closed the connection",
    );
    assert!(connections() <= before + 1);
}

/// A server of the child's kind, in another process, so that it can be stopped and killed.
struct Upstream {
    process: Child,
    address: SocketAddr,
}

impl Upstream {
    fn start() -> Self {
        use std::io::BufRead as _;
        let mut process = crate::child::server(&mut Command::new(std::env::current_exe().unwrap()))
            .env("OPENCODE_SERVER_PASSWORD", crate::support::PASSWORD)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.map(Result::unwrap).find_map(|line| {
            line.split_once("listening on http://").map(|(_, address)| address.parse().unwrap())
        });
        Self { process, address: address.unwrap() }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_upstream_is_a_502_and_open_streams_break_off() {
    let mut upstream = Upstream::start();
    let gateway = Gateway::start(upstream.address);
    gateway.get("/config").await;
    let before = gateway.descriptors();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut body = open(gateway.request("GET", "/event")).await.into_body();
        body.frame().await.unwrap().unwrap();
        streams.push(body);
    }
    upstream.process.kill().unwrap();
    upstream.process.wait().unwrap();
    for body in streams {
        assert!(body.collect().await.is_err());
    }
    let response = gateway.get("/config").await;
    assert_gateway_error(&response, 502, "BadGatewayError", "cannot be reached");
    let health = Request::get(format!("http://{}/opencode-auth/health", gateway.address));
    assert_eq!(send(health.body(Body::empty()).unwrap()).await.status, 503);
    eventually("nothing leaks", || gateway.descriptors() <= before);
}

/// It takes the gateway 15 s to tell a stopped upstream from a slow one.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_upstream_is_a_504_and_goes_on_when_it_does() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(upstream.address);
    gateway.get("/config").await;
    upstream.signal(Signal::STOP);
    let response = gateway.get("/config").await;
    assert_gateway_error(&response, 504, "GatewayTimeoutError", "not even to a health check");
    upstream.signal(Signal::CONT);
    assert_eq!(gateway.get("/config").await.status, 200);
}
