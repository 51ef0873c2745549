//! Requests over HTTP/2, with prior knowledge, to a real server. Method and path are fields, several requests
//! share a connection, and an extended `CONNECT` opens a WebSocket (RFC 8441). The oracle is the handlers'
//! marks.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, Version};
use h2::client::SendRequest;
use h2::ext::Protocol;
use opencode_auth::{NewToken, Permissions, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::attacks::{PATHS, spelled_out};
use crate::raw::Server;
use crate::support::{Received, permission_sets};

const ABSENT: &str = r#"Bearer realm="opencode""#;
const INVALID: &str = r#"Bearer realm="opencode", error="invalid_token""#;
const NEEDS_ALL: &str =
    r#"Bearer realm="opencode", error="insufficient_scope", scope="read write execute""#;

/// A connection to a server that has announced extended `CONNECT`.
pub async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let client = client.ready().await.unwrap();
    let told = async {
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("no extended CONNECT");
    client
}

pub async fn send(client: &SendRequest<Bytes>, request: Request<()>) -> Received {
    let mut client = client.clone().ready().await.unwrap();
    // A client of a tunnel leaves its side open.
    let ends = request.method() != Method::CONNECT;
    let (response, _sending) = client.send_request(request, ends).unwrap();
    let response = tokio::time::timeout(Duration::from_secs(10), response).await;
    let (parts, mut incoming) = response.expect("the server hangs").unwrap().into_parts();
    let mut body = Vec::new();
    // A tunnel that was opened has no body.
    while let Some(Ok(data)) = incoming.data().await {
        body.extend_from_slice(&data);
    }
    let body = String::from_utf8(body).unwrap();
    Received { status: parts.status, headers: parts.headers, body }
}

/// A request with these `authorization` fields.
fn request(method: &str, path: &str, authorization: &[String]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://h{path}"))
        .version(Version::HTTP_2)
        .body(())
        .unwrap();
    for value in authorization {
        request.headers_mut().append("authorization", value.parse().unwrap());
    }
    request
}

/// A request that opens a WebSocket.
fn web_socket(path: &str, authorization: &[String]) -> Request<()> {
    let mut request = request("CONNECT", path, authorization);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.expose_secret())
}

/// Each set of permissions, with a token that was granted it.
fn tokens(server: &Server) -> impl Iterator<Item = (Permissions, Token)> {
    permission_sets().filter(|permissions| !permissions.is_empty()).map(|permissions| {
        let new = NewToken::new().permissions(permissions);
        (permissions, server.store.create(new).unwrap().token)
    })
}

#[tokio::test]
async fn an_extended_connect_is_decided_like_any_request() {
    let server = Server::start().await;
    let client = connect(server.address).await;
    let unknown = Token::generate().unwrap();
    let mut rows = vec![
        ("absent".to_owned(), vec![], 401, Some(ABSENT)),
        ("another scheme".to_owned(), vec!["Basic dTpw".to_owned()], 401, Some(ABSENT)),
        ("malformed".to_owned(), vec!["Bearer x".to_owned()], 401, Some(INVALID)),
        ("unknown".to_owned(), vec![bearer(&unknown)], 401, Some(INVALID)),
    ];
    for (granted, token) in tokens(&server) {
        let all = granted == Permissions::ALL;
        let (status, challenge) = if all { (200, None) } else { (403, Some(NEEDS_ALL)) };
        if all {
            let twice = vec![bearer(&token), bearer(&token)];
            rows.push(("twice".to_owned(), twice, 401, Some(INVALID)));
        }
        rows.push((format!("{granted:?}"), vec![bearer(&token)], status, challenge));
    }
    for path in ["/pty", "/pty/1", "/session", "/session/1/message", "/config", "/nowhere"] {
        for (case, authorization, status, challenge) in &rows {
            let response = send(&client, web_socket(path, authorization)).await;
            assert_eq!(response.status, *status, "{path}, {case}");
            assert_eq!(response.header("www-authenticate"), *challenge, "{path}, {case}");
            let marks = server.marks.take();
            assert_eq!(marks.len(), usize::from(*status == 200), "{path}, {case}");
            assert!(marks.iter().all(|mark| mark.method == Method::CONNECT), "{path}, {case}");
        }
    }
    // The route of a real WebSocket opens one for the same requests.
    for (case, authorization, status, challenge) in &rows {
        let response = send(&client, web_socket("/pty/1/connect", authorization)).await;
        assert_eq!(response.status, *status, "{case}");
        assert_eq!(response.header("www-authenticate"), *challenge, "{case}");
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn a_request_requires_what_it_requires_over_http_1() {
    const READ: Permissions = Permissions::READ;
    const WRITE: Permissions = Permissions::WRITE;
    const EXECUTE: Permissions = Permissions::EXECUTE;
    let server = Server::start().await;
    // All of them share one connection, which carries no permission from one to the next.
    let client = connect(server.address).await;
    for (granted, token) in tokens(&server) {
        for (method, path, needed) in [
            ("GET", "/config", READ),
            ("HEAD", "/config", READ),
            ("OPTIONS", "/config", READ),
            ("GET", "/config?x=/session", READ),
            ("GET", "/session", READ | EXECUTE),
            ("GET", "/PTY/1", READ | EXECUTE),
            ("POST", "/config", WRITE),
            ("DELETE", "/config", WRITE),
            ("POST", "/session/1/message", WRITE | EXECUTE),
            ("PUT", "/%70ty/1", WRITE | EXECUTE),
            ("TRACE", "/config", Permissions::ALL),
            ("QUERY", "/config", Permissions::ALL),
            ("get", "/config", Permissions::ALL),
            ("GET", "/files/../pty", Permissions::ALL),
            ("GET", "/files/%2e%2e/pty", Permissions::ALL),
            ("GET", "/files%2f..%2fpty", Permissions::ALL),
            ("GET", "/files/%2Fpty", Permissions::ALL),
            ("GET", "//pty", Permissions::ALL),
        ] {
            let case = format!("{method} {path} with {granted:?}");
            let response = send(&client, request(method, path, &[bearer(&token)])).await;
            let allowed = granted.contains(needed);
            let status = response.status.as_u16();
            assert_eq!(status != 403, allowed, "{case}: {status}");
            // The router may have no route for it.
            assert!([200, 403, 404].contains(&status), "{case}: {status}");
            assert_eq!(server.marks.take().len(), usize::from(status == 200), "{case}");
            let response = send(&client, request(method, path, &[])).await;
            assert_eq!(response.status, 401, "{case}");
            assert_eq!(response.header("www-authenticate"), Some(ABSENT), "{case}");
            assert!(server.marks.take().is_empty(), "{case}");
        }
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn only_one_good_token_is_credentials() {
    let server = Server::start().await;
    let client = connect(server.address).await;
    let token = server.store.create(NewToken::new()).unwrap().token;
    let (good, secret) = (bearer(&token), token.expose_secret());
    for (case, authorization, status, challenge) in [
        ("good", vec![good.clone()], 200, None),
        ("scheme in upper case", vec![format!("BEARER {secret}")], 200, None),
        ("the same twice", vec![good.clone(), good.clone()], 401, Some(INVALID)),
        ("good and bad", vec![good.clone(), "Bearer x".into()], 401, Some(INVALID)),
        ("bad and good", vec!["Bearer x".into(), good.clone()], 401, Some(INVALID)),
        ("empty and good", vec![String::new(), good.clone()], 401, Some(INVALID)),
        ("two in one", vec![format!("{good}, {good}")], 401, Some(INVALID)),
        ("truncated", vec![good[..good.len() - 1].into()], 401, Some(INVALID)),
        ("8 KiB", vec![format!("Bearer {}", "A".repeat(8192))], 401, Some(INVALID)),
        ("no scheme", vec![secret.into()], 401, Some(ABSENT)),
    ] {
        let response = send(&client, request("GET", "/config", &authorization)).await;
        assert_eq!(response.status, status, "{case}");
        assert_eq!(response.header("www-authenticate"), challenge, "{case}");
        assert!(!response.body.contains(secret), "{case}: the response repeats the token");
        assert_eq!(server.marks.take().len(), usize::from(status == 200), "{case}");
    }
    server.assert_alive().await;
}

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

/// A field that neither side remembers (RFC 7541 section 6.2.2), without any compression.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length =
        |text: &[u8]| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    let (name, lengths) = (name.as_bytes(), [length(name.as_bytes()), length(value)]);
    [&[0, lengths[0]], name, &[lengths[1]], value].concat()
}

/// Sends one request with these fields, and waits for a response or a reset.
async fn send_fields(server: &Server, fields: &[(&str, &[u8])]) {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GO_AWAY: u8 = 7;
    const END_OF_STREAM_AND_HEADERS: u8 = 0x5;
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    let sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_OF_STREAM_AND_HEADERS, 1, &fields),
    ];
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&sent.concat()).await.unwrap();
    let decided = async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            if [HEADERS, RESET, GO_AWAY].contains(&head[3]) {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), decided).await.expect("the server hangs");
}

/// No client sends most of these, but an attacker may.
#[tokio::test]
async fn no_path_field_reaches_a_route_that_the_token_may_not_use() {
    let server = Server::start().await;
    let read = NewToken::new().permissions(Permissions::READ);
    let authorization = bearer(&server.store.create(read).unwrap().token).into_bytes();
    let mut paths: Vec<Vec<u8>> =
        PATHS.into_iter().flat_map(spelled_out).map(String::into_bytes).collect();
    paths.extend(
        [
            &b""[..],
            b"*",
            b"pty",
            b"session/1",
            b"../pty",
            b"?/pty",
            b"#/pty",
            b"h:80",
            b"http://h/pty",
            b"//h/pty",
            b" /pty",
            b"/pty ",
            b"/pty\t",
            b"/pty\0",
            b"/pty\r\nx: y",
            b"/pty HTTP/1.1",
            b"/pty\xff",
            b"/\xc0\xafpty",
        ]
        .map(<[u8]>::to_vec),
    );
    let mut reached = 0;
    for path in paths.iter().map(Vec::as_slice).chain([&b"/config"[..], b"/files/x"]) {
        for method in ["GET", "POST", "OPTIONS", "CONNECT"] {
            let mut fields: Vec<(&str, &[u8])> =
                vec![(":method", method.as_bytes()), (":scheme", b"http"), (":path", path)];
            if method == "CONNECT" {
                fields.push((":protocol", b"websocket"));
            }
            fields.extend([(":authority", &b"h"[..]), ("authorization", &authorization)]);
            send_fields(&server, &fields).await;
            for mark in server.marks.take() {
                let shown = format!("{method} {}", path.escape_ascii());
                assert!(Permissions::READ.contains(mark.needed()), "{shown} ran {mark:?}");
                reached += 1;
            }
        }
    }
    // Otherwise a server that reads no request at all would pass.
    assert!(reached >= 4, "{reached} reached");
    let get: [(&str, &[u8]); 3] =
        [(":method", b"GET"), (":scheme", b"http"), (":path", b"/config")];
    let pty: (&str, &[u8]) = (":path", b"/pty");
    let authorization: (&str, &[u8]) = ("authorization", &authorization);
    for (case, fields, runs) in [
        ("one path", [&get[..], &[authorization]].concat(), 1),
        ("two paths", [&get[..], &[pty, authorization]].concat(), 0),
        ("two paths, the other way", [&[pty][..], &get, &[authorization]].concat(), 0),
        ("a path behind the fields", [&get[..], &[authorization, pty]].concat(), 0),
        ("no path", [&get[..2], &[authorization]].concat(), 0),
        ("two methods", [&get[..], &[(":method", b"POST"), authorization]].concat(), 0),
        ("a name in upper case", [&get[..], &[("Authorization", authorization.1)]].concat(), 0),
    ] {
        send_fields(&server, &fields).await;
        assert_eq!(server.marks.take().len(), runs, "{case}");
    }
    server.assert_alive().await;
}
