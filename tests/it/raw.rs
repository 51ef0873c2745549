//! Requests as bytes, over a socket, to a real server: client libraries would normalize them. The oracle is the
//! handlers' marks. After each row the server has to be alive.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::any;
use opencode_auth::{AuthLayer, MemoryTokenStore, NewToken, Permissions, Policy, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::attacks::{PATHS, spelled_out};
use crate::marked::{Marks, routes};

pub struct Server {
    pub address: SocketAddr,
    pub marks: Marks,
    pub store: MemoryTokenStore,
    all: Token,
    read: Token,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        let (store, marks) = (MemoryTokenStore::new(), Marks::default());
        let token =
            |permissions| store.create(NewToken::new().permissions(permissions)).unwrap().token;
        let (all, read) = (token(Permissions::ALL), token(Permissions::READ));
        let connect = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(async |_socket| ()) };
        let policy = Policy::default().public("GET".parse().unwrap(), "/global/health");
        let app: Router = routes(&marks)
            .route("/pty/{id}/connect", any(connect))
            .layer(AuthLayer::new(store.clone()).policy(policy));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { address, marks, store, all, read, task }
    }

    /// Sends bytes and returns all that comes back.
    async fn exchange(&self, sent: &[u8]) -> String {
        let received = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            // The server may have denied it already and closed the connection.
            let _ = stream.write_all(sent).await;
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received).await;
            String::from_utf8_lossy(&received).into_owned()
        };
        tokio::time::timeout(Duration::from_secs(10), received).await.expect("the server hangs")
    }

    /// The status of the response; 0 if there is none.
    async fn status(&self, sent: &[u8]) -> u16 {
        status_of(&self.exchange(sent).await)
    }

    pub async fn assert_alive(&self) {
        let health = b"GET /global/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        assert_eq!(self.status(health).await, 200, "the server is not alive");
        assert_eq!(self.marks.take().len(), 1);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn status_of(response: &str) -> u16 {
    let status = response.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    status.map_or(0, |status| status.parse().unwrap())
}

/// A request with these bytes as its target.
fn raw(method: &str, target: &[u8], headers: &str) -> Vec<u8> {
    let mut sent = Vec::new();
    sent.extend_from_slice(method.as_bytes());
    sent.push(b' ');
    sent.extend_from_slice(target);
    sent.extend_from_slice(b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
    sent.extend_from_slice(headers.as_bytes());
    sent.extend_from_slice(b"\r\n");
    sent
}

#[tokio::test]
async fn no_request_target_reaches_a_route_that_the_token_may_not_use() {
    let server = Server::start().await;
    let mut targets: Vec<Vec<u8>> =
        PATHS.into_iter().flat_map(spelled_out).map(String::into_bytes).collect();
    targets.extend(
        [
            &b"*"[..],
            b"session",
            b"pty/1",
            b"../pty",
            b"?/pty",
            b"#/pty",
            b"h:80",
            b"http://h/pty",
            b"http://h",
            b"http://h?x=/pty",
            b"HTTP://H/session/1",
            b"http://h//pty",
            b"http://user:pw@h/pty",
            b"http://h/config/../pty",
            b"https://h:443/message",
            b"ftp://h/pty",
            b"//h/pty",
            b"///pty",
            b"/pty\xff",
            b"/\xc5\xbfession",
            b"/\xe2\x84\xaa",
            b"/\xc0\xafpty",
            b"/pty\xc2\x85",
            b"/pty\x00",
            b"/pty\x7f",
            b"/pty\t",
            b"/\x0bpty",
            b"/pty HTTP/1.1\r\nX: ",
            b"",
            b" /pty",
            b"/pty\\..",
            b"/pty|x",
            b"/pty\"<>^`{}",
        ]
        .map(<[u8]>::to_vec),
    );
    let authorization = format!("Authorization: Bearer {}\r\n", server.read.expose_secret());
    for target in &targets {
        for method in ["GET", "POST", "OPTIONS", "CONNECT"] {
            for headers in ["", &*authorization] {
                let status = server.status(&raw(method, target, headers)).await;
                let shown = format!("{method} {}", target.escape_ascii());
                let marks = server.marks.take();
                for mark in &marks {
                    assert!(!headers.is_empty(), "{shown} ran {mark:?} without a token");
                    assert!(Permissions::READ.contains(mark.needed()), "{shown} ran {mark:?}");
                }
                assert!([0, 200, 400, 401, 403, 404, 405].contains(&status), "{shown}: {status}");
                if headers.is_empty() {
                    assert!([0, 400, 401].contains(&status), "{shown}: {status}");
                }
            }
        }
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn an_absolute_target_is_read_by_its_path() {
    let server = Server::start().await;
    let token = format!("Authorization: Bearer {}\r\n", server.read.expose_secret());
    for (target, expected) in [
        (&b"http://elsewhere/config"[..], 200),
        (b"http://elsewhere/session", 403),
        (b"http://elsewhere//config", 403),
        (b"http://elsewhere", 200),
    ] {
        let status = server.status(&raw("GET", target, &token)).await;
        assert_eq!(status, expected, "{}", target.escape_ascii());
    }
    server.marks.take();
    server.assert_alive().await;
}

#[tokio::test]
async fn only_one_good_token_in_one_header_is_credentials() {
    let server = Server::start().await;
    let token = server.all.expose_secret();
    let good = format!("Authorization: Bearer {token}\r\n").into_bytes();
    let long = |length| format!("Authorization: Bearer {}\r\n", "A".repeat(length)).into_bytes();
    let row = |bytes: &[u8]| {
        let mut line = b"Authorization: ".to_vec();
        for part in bytes.split(|byte| *byte == b'@') {
            line.extend_from_slice(part);
            line.extend_from_slice(token.as_bytes());
        }
        line.truncate(line.len() - token.len());
        line.extend_from_slice(b"\r\n");
        line
    };
    for (case, headers, expected) in [
        ("good", good.clone(), &[200][..]),
        ("name in another case", format!("AUTHORIZATION: bEARER  {token}\r\n").into(), &[200]),
        ("white space around the value", row(b"  Bearer @ \t "), &[200]),
        ("good and bad", [&good[..], b"Authorization: Bearer x\r\n"].concat(), &[401]),
        ("bad and good", [b"Authorization: Bearer x\r\n", &good[..]].concat(), &[401]),
        ("the same twice", [&good[..], &good].concat(), &[401]),
        ("empty and good", [b"Authorization:\r\n", &good[..]].concat(), &[401]),
        ("obs-text", b"Authorization: Bearer \xff\xfe\x80\r\n".to_vec(), &[401]),
        ("obs-text behind the token", row(b"Bearer @\xa0"), &[401]),
        ("UTF-8", "Authorization: Bearer żółw\r\n".into(), &[401]),
        ("TAB", row(b"Bearer\t@"), &[401]),
        ("two tokens", row(b"Bearer @, Bearer @"), &[401]),
        ("two words", row(b"Bearer @ @"), &[401]),
        ("truncated", format!("Authorization: Bearer {}\r\n", &token[..31]).into(), &[401]),
        ("another scheme", row(b"Foo @"), &[401]),
        ("Basic", row(b"Basic @"), &[401]),
        ("no scheme", row(b"@"), &[401]),
        ("NUL", row(b"Bearer @\0"), &[400]),
        ("folded line", row(b"Bearer\r\n @"), &[400, 401]),
        (
            "space before the colon",
            format!("Authorization : Bearer {token}\r\n").into(),
            &[400, 401],
        ),
        ("64 KiB", long(65_536), &[401]),
        ("1 MiB", long(1 << 20), &[0, 400, 401, 431]),
        ("10,000 headers", b"Authorization: Bearer x\r\n".repeat(10_000), &[0, 400, 431]),
        ("proxy", format!("Proxy-Authorization: Bearer {token}\r\n").into(), &[401]),
        ("cookie", format!("Cookie: Authorization=Bearer {token}\r\n").into(), &[401]),
    ] {
        let mut sent = b"GET /config HTTP/1.1\r\nHost: h\r\nConnection: close\r\n".to_vec();
        sent.extend_from_slice(&headers);
        sent.extend_from_slice(b"\r\n");
        let response = server.exchange(&sent).await;
        assert!(expected.contains(&status_of(&response)), "{case}: {response}");
        assert!(!response.contains(token), "{case}: the response repeats the token");
        let marks = server.marks.take();
        assert_eq!(marks.len(), usize::from(expected == [200]), "{case}");
        server.assert_alive().await;
    }
}

#[tokio::test]
async fn an_upgrade_is_decided_like_any_request() {
    let server = Server::start().await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let connect = |token: Option<&Token>| {
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {}\r\n", token.expose_secret())
        });
        format!("GET /pty/1/connect HTTP/1.1\r\nHost: h\r\n{upgrade}{authorization}\r\n")
    };
    for (token, expected) in [(None, 401), (Some(&server.read), 403), (Some(&server.all), 101)] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(connect(token).as_bytes()).await.unwrap();
        let mut received = [0; 12];
        stream.read_exact(&mut received).await.unwrap();
        assert_eq!(status_of(&String::from_utf8_lossy(&received)), expected);
    }
    // So is a switch to HTTP/2, and a request that is sent behind a denied one.
    let smuggled = format!(
        "POST /session HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcdGET /config HTTP/1.1\r\nHost: h\r\n\
         Connection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        server.read.expose_secret()
    );
    let response = server.exchange(smuggled.as_bytes()).await;
    assert_eq!(status_of(&response), 401, "{response}");
    for mark in server.marks.take() {
        assert!(Permissions::READ.contains(mark.needed()), "{mark:?}");
    }
    let h2c =
        b"GET /pty HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(h2c).await.unwrap();
    let mut received = [0; 12];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(status_of(&String::from_utf8_lossy(&received)), 401);
    server.assert_alive().await;
}

#[tokio::test]
async fn an_endless_body_of_a_denied_request_is_not_waited_for() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"POST /session HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut received = [0; 12];
    let response = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut received));
    response.await.expect("the response waits for the body").unwrap();
    assert_eq!(status_of(&String::from_utf8_lossy(&received)), 401);
    server.assert_alive().await;
}

#[tokio::test]
async fn methods_of_all_kinds_are_decided() {
    let server = Server::start().await;
    let token = format!("Authorization: Bearer {}\r\n", server.read.expose_secret());
    let long = "M".repeat(300);
    for (method, expected) in [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 200),
        ("POST", 403),
        ("PUT", 403),
        ("PATCH", 403),
        ("DELETE", 403),
        ("TRACE", 403),
        ("CONNECT", 403),
        ("PROPFIND", 403),
        ("QUERY", 403),
        ("get", 403),
        (&*long, 403),
        ("G\0T", 400),
        ("", 400),
    ] {
        let response = server.exchange(&raw(method, b"/config", &token)).await;
        // `CONNECT` takes an authority, so hyper may reject the path.
        let expected = if method == "CONNECT" { &[400, 403][..] } else { &[expected] };
        assert!(expected.contains(&status_of(&response)), "{method}: {response}");
        let reached = usize::from(expected == [200]);
        assert_eq!(server.marks.take().len(), reached, "{method}");
    }
    server.assert_alive().await;
}
