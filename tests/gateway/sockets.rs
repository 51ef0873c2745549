//! WebSockets through the gateway.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use opencode_auth::Permissions;
use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use crate::stub;
use crate::support::{Gateway, PASSWORD, basic, eventually, send};

type Socket = WebSocket<TcpStream>;

/// A handshake with these headers. Otherwise the status of the response.
fn connect(
    gateway: &Gateway,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, u16> {
    let stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = format!("ws://{}{target}", gateway.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn read(socket: &mut Socket) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

fn in_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let work = tokio::task::spawn_blocking(work);
    async { work.await.unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_close_codes_pass_in_both_directions() {
    let (upstream, open) = stub::first().await;
    let gateway = Gateway::start(upstream);
    in_a_thread(move || {
        let authorization = basic(&gateway.token);
        let mut socket =
            connect(&gateway, "/pty/pty_1/connect?cursor=-1", &[("authorization", &authorization)])
                .unwrap();
        let received: Value = serde_json::from_str(&read(&mut socket)).unwrap();
        assert_eq!(received["query"], serde_json::json!([["cursor", "-1"]]));
        assert!(received.to_string().contains(&basic(PASSWORD)), "{received}");
        assert!(!received.to_string().contains(&gateway.token), "{received}");

        socket.send(Message::text("hello")).unwrap();
        assert_eq!(read(&mut socket), "hello");
        let large = vec![7; 1 << 20];
        socket.send(Message::binary(large.clone())).unwrap();
        assert_eq!(socket.read().unwrap().into_data(), large);

        socket.send(Message::text("bye")).unwrap();
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close frame") };
        assert_eq!((frame.code, &*frame.reason), (CloseCode::from(4001), "as you wish"));
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
        eventually("the upstream's side is closed", || open.count() == 0);

        // A client that vanishes ends the upstream's side.
        let socket =
            connect(&gateway, "/pty/pty_1/connect", &[("authorization", &authorization)]).unwrap();
        eventually("the upstream's side is open", || open.count() == 1);
        drop(socket);
        eventually("the upstream's side is closed", || open.count() == 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_travels_as_a_subprotocol_and_goes_no_further() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    in_a_thread(move || {
        let offer = format!("bearer, {}", gateway.token);
        let mut socket =
            connect(&gateway, "/pty/pty_1/connect", &[("sec-websocket-protocol", &offer)]).unwrap();
        let received = read(&mut socket);
        assert!(!received.contains(&gateway.token), "{received}");
        assert!(received.contains(&basic(PASSWORD)), "{received}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_of_the_upstream_opens_a_terminal_once() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let mut request = gateway.request("POST", "/pty/pty_1/connect-token");
    request.headers_mut().insert("x-opencode-ticket", HeaderValue::from_static("1"));
    request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
    let response = send(request).await;
    assert_eq!((response.status, &response.json()["ticket"]), (200, &"one-time".into()));
    in_a_thread(move || {
        let target = "/pty/pty_1/connect?ticket=one-time";
        assert_eq!(connect(&gateway, "/pty/pty_2/connect?ticket=one-time", &[]).unwrap_err(), 403);
        let mut socket = connect(&gateway, target, &[]).unwrap();
        // The upstream's handler checks it again.
        assert!(read(&mut socket).contains(r#"["ticket","one-time"]"#));
        assert_eq!(connect(&gateway, target, &[]).unwrap_err(), 403);
        assert_eq!(connect(&gateway, "/pty/pty_1/connect?ticket=forged", &[]).unwrap_err(), 403);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_of_another_site_opens_no_socket_with_the_browsers_password() {
    let (upstream, open) = stub::first().await;
    let gateway = Gateway::start_with(upstream, &["--cors", "https://app.example"]);
    in_a_thread(move || {
        let authorization = basic(&gateway.token);
        let own = format!("http://{}", gateway.address);
        for (origin, expected) in [
            ("https://evil.example", Err(403)),
            ("null", Err(403)),
            (&*own, Ok(())),
            ("https://app.example", Ok(())),
            ("https://app.opencode.ai", Ok(())),
        ] {
            let headers = [("authorization", &*authorization), ("origin", origin)];
            assert_eq!(
                connect(&gateway, "/pty/pty_1/connect", &headers).map(drop),
                expected,
                "{origin}"
            );
        }
        eventually("all are closed", || open.count() == 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_ends_with_its_token() {
    let (upstream, open) = stub::first().await;
    let gateway = Gateway::start(upstream);
    in_a_thread(move || {
        let token = gateway.token("terminal", Permissions::ALL);
        let mut socket =
            connect(&gateway, "/pty/pty_1/connect", &[("authorization", &basic(&token))]).unwrap();
        read(&mut socket);
        let _ = gateway.store.delete("terminal").unwrap();
        let deleted = Instant::now();
        assert!(socket.read().is_err());
        let elapsed = deleted.elapsed();
        assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
        eventually("the upstream's side is closed", || open.count() == 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_does_not_upgrade_is_heard() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    in_a_thread(move || {
        let authorization = basic(&gateway.token);
        let status =
            connect(&gateway, "/config", &[("authorization", &authorization)]).unwrap_err();
        assert_eq!(status, 200);
        let read = basic(&gateway.token("viewer", Permissions::READ));
        let status =
            connect(&gateway, "/pty/pty_1/connect", &[("authorization", &read)]).unwrap_err();
        assert_eq!(status, 403);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_socket_does_not_keep_a_gateway_that_stops() {
    let (upstream, open) = stub::first().await;
    let mut gateway = Gateway::start(upstream);
    in_a_thread(move || {
        let authorization = basic(&gateway.token);
        let mut socket =
            connect(&gateway, "/pty/pty_1/connect", &[("authorization", &authorization)]).unwrap();
        read(&mut socket);
        let stopped = Instant::now();
        gateway.signal(rustix::process::Signal::INT);
        assert!(gateway.wait().success());
        assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
        assert!(socket.read().is_err());
        eventually("the upstream's side is closed", || open.count() == 0);
    })
    .await;
}
