//! What the upstream receives, and what the client gets back.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opencode_auth::Permissions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stub::{self, GZIP};
use crate::support::{Gateway, PASSWORD, basic, open, request, send};

/// The values of a header that the upstream received.
fn received(echo: &Value, name: &str) -> Vec<String> {
    let entries = echo["headers"].as_array().unwrap();
    let values = entries.iter().filter(|entry| entry[0] == name);
    values.map(|entry| entry[1].as_str().unwrap().to_owned()).collect()
}

/// What the gateway writes on a connection until it closes it.
async fn exchange(gateway: &Gateway, sent: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_receives_its_own_credential_and_none_of_the_clients() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let host = gateway.address.to_string();
    let mut request = gateway.request("POST", "/echo?a=1&b=%2F&a=1");
    *request.body_mut() = Body::from("hello");
    for (name, value) in [
        ("cookie", "a=1; opencode_session=secret; opencode_session.sig=x; b=2"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-user", "root"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("connection", "x-private"),
        ("x-private", "hop by hop"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("te", "gzip"),
        ("x-opencode-directory", "/srv"),
        ("accept-encoding", "gzip"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let response = send(request).await;
    assert_eq!(response.status, 200);
    let echo = response.json();
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["target"], "/echo?a=1&b=%2F&a=1");
    assert_eq!(echo["body"], "hello");
    for (name, expected) in [
        ("authorization", &[&*basic(PASSWORD)][..]),
        ("host", &[&*host]),
        ("cookie", &["a=1; b=2"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-host", &[&*host]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-user", &[]),
        ("x-real-ip", &[]),
        ("forwarded", &[&*format!("for=127.0.0.1;proto=http;host=\"{host}\"")]),
        ("connection", &[]),
        ("x-private", &[]),
        ("keep-alive", &[]),
        ("proxy-authorization", &[]),
        ("te", &[]),
        ("via", &["1.1 opencode-auth"]),
        ("content-length", &["5"]),
        ("x-opencode-directory", &["/srv"]),
        ("accept-encoding", &["gzip"]),
    ] {
        assert_eq!(received(&echo, name), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_accepted_wherever_a_client_carries_it_and_removed() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let token = &gateway.token;
    let link = basic(token).replace("Basic ", "").replace('=', "%3D");
    for (target, authorization) in [
        ("/echo".to_owned(), format!("Bearer {token}")),
        ("/echo".to_owned(), basic(token)),
        (format!("/echo?auth_token={token}"), String::new()),
        (format!("/echo?auth_token={link}"), String::new()),
        // A browser adds what it remembers.
        (format!("/echo?auth_token={link}"), basic("stale")),
    ] {
        let response = send(request(gateway.address, "GET", &target, &authorization)).await;
        assert_eq!(response.status, 200, "{target}");
        let echo = response.json();
        assert_eq!(echo["target"], "/echo");
        assert_eq!(received(&echo, "authorization"), [basic(PASSWORD)]);
        assert!(!echo.to_string().contains(token), "{echo}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_does_not_allow_never_reaches_the_upstream() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let read = gateway.token("viewer", Permissions::READ);
    for (method, target, authorization, status, name) in [
        ("GET", "/config", String::new(), 401, "UnauthorizedError"),
        ("GET", "/config", basic(PASSWORD), 401, "UnauthorizedError"),
        ("POST", "/session/ses_1/message", basic(&read), 403, "ForbiddenError"),
        ("POST", "/echo", basic(&read), 403, "ForbiddenError"),
        ("GET", "/assets/../config", String::new(), 401, "UnauthorizedError"),
        ("GET", "/site.webmanifest/", String::new(), 401, "UnauthorizedError"),
    ] {
        let response = send(request(gateway.address, method, target, &authorization)).await;
        assert_eq!(response.status, status, "{method} {target}");
        let body = response.json();
        assert!(body["data"]["message"].is_string() && body["message"].is_string(), "{body}");
        assert_eq!(body["name"], name, "{body}");
    }
    assert_eq!(send(request(gateway.address, "GET", "/config", &basic(&read))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_head_and_cookies_pass() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let response = gateway.get("/gzip").await;
    assert_eq!((response.header("content-encoding"), &*response.body), (Some("gzip"), GZIP));

    let response = send(gateway.request("HEAD", "/gzip")).await;
    let length = GZIP.len().to_string();
    assert_eq!((response.status, response.header("content-length")), (200, Some(&*length)));
    assert_eq!(response.body, b"");

    let response = gateway.get("/cookies").await;
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["theme=dark"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_in_both_directions() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let mut request = gateway.request("GET", "/trailers");
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let collected = open(request).await.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "abc");

    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let frames = [Frame::data(Bytes::from_static(b"body")), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let mut request = gateway.request("POST", "/echo").map(|_| Body::new(body));
    request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    let echo = send(request).await.json();
    assert_eq!((&echo["body"], &echo["trailers"]), (&json!("body"), &json!([["x-sum", "1"]])));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_served_and_the_host_is_that_of_the_target() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let response = client.request(gateway.request("GET", "/echo")).await.unwrap();
    assert_eq!(response.version(), axum::http::Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let echo: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(echo["version"], "HTTP/1.1");
    assert_eq!(received(&echo, "host"), [gateway.address.to_string()]);
    assert_eq!(received(&echo, "via"), ["2.0 opencode-auth"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_expects_100_continue_is_told_to_go_on() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-length: 4\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n",
        basic(&gateway.token)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"late").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains(r#""body":"late""#), "{response}");

    // Without a token there is no invitation to send a body.
    let denied = exchange(
        &gateway,
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(denied.starts_with("HTTP/1.1 401 "), "{denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_requests_on_the_wire() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let basic = basic(&gateway.token);
    let handshake = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (head, status) in [
        // RFC 9110 section 7.8: there is no upgrade over HTTP/1.0.
        (
            format!(
                "GET /pty/pty_1/connect HTTP/1.0\r\nhost: a\r\nauthorization: {basic}\r\n{handshake}"
            ),
            "400",
        ),
        (format!("GET /config HTTP/1.0\r\nauthorization: {basic}\r\n"), "200"),
        (
            format!(
                "GET http://other.example/config HTTP/1.1\r\nhost: a\r\nauthorization: {basic}\r\nconnection: close\r\n"
            ),
            "200",
        ),
        (
            format!(
                "CONNECT other.example:443 HTTP/1.1\r\nhost: a\r\nauthorization: {basic}\r\nconnection: close\r\n"
            ),
            "400",
        ),
        (
            format!(
                "GET /config HTTP/1.1\r\nhost: a\r\nauthorization: {basic}\r\nauthorization: {basic}\r\nconnection: close\r\n"
            ),
            "401",
        ),
    ] {
        let response = exchange(&gateway, &format!("{head}\r\n")).await;
        assert_eq!(response.split(' ').nth(1), Some(status), "{head}\n{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_public_and_says_what_works() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let health = || {
        send(
            Request::get(format!("http://{}/opencode-auth/health", gateway.address))
                .body(Body::empty())
                .unwrap(),
        )
    };
    let response = health().await;
    assert_eq!((response.status, response.header("cache-control")), (200, Some("no-store")));
    assert_eq!(response.json(), json!({ "healthy": true, "upstream": true, "store": true }));

    std::fs::write(gateway.store.path(), "not JSON").unwrap();
    // A snapshot counts for 10 ms.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let response = health().await;
    assert_eq!(response.status, 503);
    assert_eq!(response.json(), json!({ "healthy": false, "upstream": true, "store": false }));
    assert_eq!(gateway.get("/config").await.status, 503);
}

#[cfg(unix)]
#[test]
fn a_password_that_is_not_utf_8_is_no_missing_password() {
    use std::os::unix::ffi::OsStrExt as _;

    let directory = tempfile::tempdir().unwrap();
    let output = crate::support::command(&directory)
        .arg("--upstream=http://127.0.0.1:9")
        .env("OPENCODE_SERVER_PASSWORD", std::ffi::OsStr::from_bytes(b"\xff"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: the variable OPENCODE_SERVER_PASSWORD is not UTF-8\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_of_the_upstream_is_not_the_clients_fault() {
    let (upstream, _) = stub::first().await;
    let directory = tempfile::tempdir().unwrap();
    let output = crate::support::command(&directory)
        .arg(format!("--upstream=http://{upstream}"))
        .env("OPENCODE_SERVER_PASSWORD", "wrong")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "error: opencode at http://{upstream} does not accept the password: set OPENCODE_SERVER_PASSWORD to the \
             one that it was started with\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_fetch_icons_and_assets_without_a_token_and_the_upstream_gets_its_password() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    for target in ["/site.webmanifest", "/assets/index.js"] {
        let response = send(request(gateway.address, "GET", target, "")).await;
        assert_eq!(response.status, 200, "{target}");
    }
    for target in ["/assets/..%2fconfig", "/assets/%2e%2e/config", "/assets//x", "/assets/a;b"] {
        let response = send(request(gateway.address, "GET", target, "")).await;
        assert_eq!(response.status, 401, "{target}");
    }
    // A stale token beside what is public goes no further.
    let response =
        send(request(gateway.address, "GET", "/site.webmanifest?auth_token=x", "Bearer x")).await;
    assert_eq!(response.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_without_a_token_decides_nothing_but_its_path() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let token = &gateway.token;
    let target = format!("/assets/echo?directory=/tmp/evil&auth_token={token}");
    let mut request = request(gateway.address, "GET", &target, &basic(token));
    *request.body_mut() = Body::from("GET /config HTTP/1.1\r\n\r\n");
    let link = format!("http://{}/?auth_token={token}", gateway.address);
    for (name, value) in [
        ("referer", &*link),
        ("sec-websocket-protocol", &format!("bearer, {token}")),
        ("x-opencode-directory", "/tmp/evil"),
        ("cookie", "a=1"),
        ("if-none-match", "\"etag\""),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = send(request).await;
    assert_eq!(response.status, 200);
    let echo = response.json();
    assert_eq!((&echo["target"], &echo["body"]), (&json!("/assets/echo"), &json!("")));
    assert_eq!(received(&echo, "if-none-match"), ["\"etag\""]);
    assert!(!echo.to_string().contains(token) && !echo.to_string().contains("evil"), "{echo}");
    for name in ["cookie", "content-length", "referer"] {
        assert_eq!(received(&echo, name), [""; 0], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_page_of_the_first_generation_takes_read_alone() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let read = basic(&gateway.token("viewer", Permissions::READ));
    for (target, status) in [
        ("/", 200),
        ("/new-session", 200),
        ("/L3RtcA/session/ses_1", 200),
        ("/server/abc/session/ses_1", 200),
        ("/pty/pty_1/connect", 403),
        ("/unknown", 403),
    ] {
        let response = send(request(gateway.address, "GET", target, &read)).await;
        assert_eq!(response.status, status, "{target}");
        assert_eq!(send(request(gateway.address, "GET", target, "")).await.status, 401, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_those_of_the_option() {
    let (upstream, _) = stub::first().await;
    let gateway =
        Gateway::start_with(upstream, &["--directory=/srv/work", "--directory=/srv/docs"]);
    let read = basic(&gateway.token("viewer", Permissions::READ));
    for (target, status) in [
        ("/config", 200),
        ("/config?directory=/srv/work/app", 200),
        ("/config?directory=/srv/docs", 200),
        ("/config?directory=/srv/workers", 403),
        ("/config?directory=/tmp", 403),
        ("/config?directory=/srv/work/../../tmp", 403),
    ] {
        let response = send(request(gateway.address, "GET", target, &read)).await;
        assert_eq!(response.status, status, "{target}");
    }
    assert_eq!(gateway.get("/config?directory=/tmp").await.status, 200);
}

#[test]
fn a_relative_directory_is_an_error_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let output = crate::support::command(&directory).arg("--directory=work").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = "error: invalid value 'work' for '--directory <DIR>': ";
    assert!(error.starts_with(expected), "{error}");
}
