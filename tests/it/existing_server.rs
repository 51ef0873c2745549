//! The example of an existing server as processes: it serves, its own client gets in, and others must send a token.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use opencode_auth::{FileTokenStore, NewToken, Permissions};

use crate::support::example;

fn command(binary: &Path, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).env("HOME", home).env_remove("OPENCODE_AUTH_TOKENS");
    command.env("XDG_CONFIG_HOME", home.join("config"));
    command
}

/// A running server, killed with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(binary: &Path, home: &Path) -> Self {
        let mut child = command(binary, home, &["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { child, address }
    }

    fn open(&self, request: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            self.address
        )
        .unwrap();
        stream
    }

    fn status(&self, request: &str, headers: &str) -> u16 {
        let mut response = String::new();
        self.open(request, headers).read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn own_client_gets_in_and_everyone_else_must_send_a_token() {
    let binary = example("existing_server");
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&binary, home.path());
    let store = FileTokenStore::open(home.path().join("config/opencode/auth-tokens.json")).unwrap();
    let token = |permissions| {
        let created = store.create(NewToken::new().permissions(permissions)).unwrap();
        format!("Authorization: Bearer {}\r\n", created.token.expose_secret())
    };
    let (read, write, all) = (
        token(Permissions::READ),
        token(Permissions::READ | Permissions::WRITE),
        token(Permissions::ALL),
    );
    for (request, headers, expected) in [
        ("GET /api/v1/health", "", 200),
        ("GET /api/v1/sessions", "", 401),
        ("GET /api/v1/sessions", &*read, 200),
        ("POST /api/v1/sessions/ses_1/prompt", &read, 403),
        ("POST /api/v1/sessions/ses_1/prompt", &write, 403),
        ("POST /api/v1/sessions/ses_1/prompt", &all, 200),
        // Outside the mount nothing is known, so everything is required.
        ("GET /", "", 401),
        ("GET /", &read, 403),
        ("GET /", &all, 200),
        ("GET /api/v1/nowhere", &read, 404),
        (
            "OPTIONS /api/v1/sessions",
            "Origin: http://localhost:1\r\nAccess-Control-Request-Method: GET\r\n",
            200,
        ),
    ] {
        assert_eq!(server.status(request, headers), expected, "{request} {headers}");
    }

    let client = command(&binary, home.path(), &["client"]).output().unwrap();
    assert!(printed(&client).starts_with("HTTP/1.1 200 OK\r\n"), "{client:?}");
    let in_process = command(&binary, home.path(), &["sessions"]).output().unwrap();
    assert_eq!(printed(&in_process), "[\"ses_1\"]\n");

    let connection = home.path().join("config/opencode/connection.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(connection.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let content = std::fs::read_to_string(connection).unwrap();
    assert!(content.contains("\"token\":\"oct_"), "{content}");
    // The token of the server's own client lives in the process, and not in the users' file.
    assert!(!store.list().unwrap().iter().any(|record| record.name() == Some("own client")));
}

/// An open event stream does not hold up Ctrl-C.
#[cfg(unix)]
#[test]
fn server_ends_with_an_open_stream() {
    let binary = example("existing_server");
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(&binary, home.path());
    let store = FileTokenStore::open(home.path().join("config/opencode/auth-tokens.json")).unwrap();
    let created = store.create(NewToken::new().permissions(Permissions::READ)).unwrap();
    let header = format!("Authorization: Bearer {}\r\n", created.token.expose_secret());
    let mut stream = server.open("GET /api/v1/events", &header);
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    let id = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: 0"), "{rest}");
    assert!(server.child.wait().unwrap().success());
    assert!(!home.path().join("config/opencode/connection.json").exists());
}
