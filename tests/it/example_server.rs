//! The example server as a person meets it: its binary, its printed tokens, `curl` lines and link, and its page
//! in a real browser.

mod browser;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opencode_auth::FileTokenStore;

use crate::support::example;

/// A running server, which ends with the test.
struct Server {
    child: Child,
    address: String,
    printed: String,
}

impl Server {
    fn start(binary: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("HOME", "/nonexistent")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // What is printed comes in one piece, and then nothing more.
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
        let mut printed = String::new();
        let mut patience = Duration::from_secs(20);
        while let Ok(line) = lines.recv_timeout(patience) {
            printed.push_str(&line);
            printed.push('\n');
            patience = Duration::from_millis(300);
        }
        assert!(printed.contains("curl"), "printed: {printed}");
        let address =
            printed.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { child, address, printed }
    }

    /// The tokens that were printed, by the name of their shell variable.
    fn tokens(&self) -> HashMap<&str, &str> {
        let assignments = self.printed.lines().filter_map(|line| line.trim().split_once('='));
        assignments
            .filter_map(|(name, rest)| Some((name, rest.split_whitespace().next()?)))
            .filter(|(name, value)| !name.contains('/') && value.starts_with("oct_"))
            .collect()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends a request and returns the whole response, head and body.
    fn exchange(&self, method: &str, path: &str, credentials: Option<&str>, body: &str) -> String {
        let authorization =
            credentials.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        let mut stream = self.connect();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{authorization}\r\n{body}",
            self.address,
            body.len(),
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn assert_status(response: &str, expected: &str) {
    assert_eq!(response.split(' ').nth(1), Some(expected), "{response}");
}

/// How a printed line sends its token.
#[derive(Clone, Copy)]
enum Scheme {
    Bearer,
    Basic,
}

impl Scheme {
    fn header(self, token: &str) -> String {
        match self {
            Self::Bearer => format!("Bearer {token}"),
            Self::Basic => format!("Basic {}", STANDARD.encode(format!("any:{token}"))),
        }
    }
}

/// Reads a printed `curl` line: method, path, scheme and variable of the token, and body.
fn parse_curl(command: &str) -> (&str, &str, Option<(Scheme, &str)>, &str) {
    let after = |mark: &str| command.split_once(mark).map(|(_, rest)| rest);
    let method = after("-X ").map_or("GET", |rest| rest.split(' ').next().unwrap());
    let url = after("http://").unwrap().trim();
    let bearer = after("Bearer $").map(|rest| (Scheme::Bearer, rest.split('"').next().unwrap()));
    let basic = after("-u any:$").map(|rest| (Scheme::Basic, rest.split(' ').next().unwrap()));
    let body = after("--json '").map_or("", |rest| rest.split('\'').next().unwrap());
    (method, &url[url.find('/').unwrap()..], bearer.or(basic), body)
}

#[test]
fn every_printed_curl_line_does_what_the_line_above_says() {
    let binary = example("server");
    let server = Server::start(&binary, &[]);
    let tokens = server.tokens();
    assert_eq!(tokens.len(), 3, "{}", server.printed);
    let mut seen = Vec::new();
    let lines: Vec<_> = server.printed.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].trim().starts_with("curl -i")) {
        let (method, path, credentials, body) = parse_curl(pair[1]);
        let status = pair[0].rsplit_once(": ").unwrap().1;
        let authorization = credentials.map(|(scheme, variable)| scheme.header(tokens[variable]));
        assert_status(&server.exchange(method, path, authorization.as_deref(), body), status);
        seen.push(status);
    }
    assert_eq!(seen, ["401", "200", "200", "403", "200", "200", "200"]);
}

#[test]
fn a_web_socket_requires_execute_and_echoes() {
    let binary = example("server");
    let server = Server::start(&binary, &[]);
    let upgrade = |token: &str| {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /pty/1/connect HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Authorization: Bearer {token}\r\n\r\n",
            server.address,
        )
        .unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        (head, stream)
    };
    assert_status(&upgrade(server.tokens()["WRITE"]).0, "403");

    let (head, mut stream) = upgrade(server.tokens()["ALL"]);
    assert_status(&head, "101");
    // A text frame with a mask of zeros, as RFC 6455 section 5.2 has it, and the same without one.
    stream.get_mut().write_all(b"\x81\x82\0\0\0\0hi").unwrap();
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x81\x02hi");
}

#[test]
fn the_printed_link_opens_the_page_and_streams_end_with_their_token() {
    let binary = example("server");
    let server = Server::start(&binary, &[]);
    let link = server.printed.lines().find(|line| line.contains("/?auth_token=")).unwrap();
    let path = &link[link.find("/?").unwrap()..];
    let page = server.exchange("GET", path, None, "");
    assert_status(&page, "200");
    assert!(page.contains("<title>opencode-auth example</title>"), "{page}");
    assert_status(&server.exchange("GET", "/", None, ""), "401");

    let open = |authorization: &str| {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /event HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n"
        )
        .unwrap();
        let mut stream = BufReader::new(stream);
        let mut begun = String::new();
        while !begun.contains("server.connected") {
            assert_ne!(stream.read_line(&mut begun).unwrap(), 0, "{begun}");
        }
        stream
    };
    let mut stream = open(&Scheme::Basic.header(server.tokens()["READ"]));
    let command = server.printed.lines().find(|line| line.contains("token delete read")).unwrap();
    let store = command.split('\'').nth(1).unwrap();
    let _ = FileTokenStore::open(store).unwrap().delete("read").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut off: {rest}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_cleanly_with_a_stream_open() {
    let binary = example("server");
    let mut server = Server::start(&binary, &[]);
    let mut stream = server.connect();
    let token = server.tokens()["READ"].to_owned();
    write!(stream, "GET /event HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
        .unwrap();
    let mut stream = BufReader::new(stream);
    let mut begun = String::new();
    while !begun.contains("server.connected") {
        assert_ne!(stream.read_line(&mut begun).unwrap(), 0, "{begun}");
    }
    assert_status(&begun, "200");

    server.interrupt();
    assert!(server.child.wait().unwrap().success());
    stream.read_to_string(&mut begun).unwrap();
    assert!(begun.ends_with("0\r\n\r\n"), "the stream was cut off: {begun}");
    let store = server.printed.split("hashed, in\n").nth(1).unwrap().split(',').next().unwrap();
    assert!(!Path::new(store).exists(), "{store} was left behind");
}

#[test]
fn your_own_store_gets_one_token_only_if_it_is_empty() {
    let binary = example("server");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.json");
    let argument = path.to_str().unwrap();

    let server = Server::start(&binary, &["--store", argument]);
    assert_status(
        &server.exchange(
            "GET",
            "/config",
            Some(&Scheme::Bearer.header(server.tokens()["TOKEN"])),
            "",
        ),
        "200",
    );
    let records = FileTokenStore::open(&path).unwrap().list().unwrap();
    assert_eq!(records.len(), 1);
    drop(server);

    let server = Server::start(&binary, &["--store", argument]);
    assert!(server.tokens().is_empty(), "{}", server.printed);
    assert!(server.printed.contains("token create --store"), "{}", server.printed);
    assert_eq!(FileTokenStore::open(&path).unwrap().list().unwrap(), records);
}

#[test]
fn a_failed_start_says_what_to_do() {
    let binary = example("server");
    let run = |arguments: &[&str]| -> Output {
        Command::new(&binary).args(arguments).env("HOME", "/nonexistent").output().unwrap()
    };
    let server = Server::start(&binary, &[]);
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.json");
    std::fs::write(&broken, "[]").unwrap();
    for (arguments, code, said) in [
        (vec!["--listen", &server.address], 1, "choose another address with --listen"),
        (
            vec!["--listen", "4096"],
            2,
            "--listen takes an address and a port such as 127.0.0.1:4096, not `4096`",
        ),
        (vec!["--listen"], 2, "--listen takes a value"),
        (vec!["--port", "1"], 2, "`--port` is not known"),
        (
            vec!["--listen=127.0.0.1:0", "--store", broken.to_str().unwrap()],
            1,
            "a JSON object expected",
        ),
    ] {
        let output = run(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
