//! The response to a WebSocket handshake whose subprotocols carry the token: a browser closes the connection if
//! it selects none of those that were offered.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::any;
use opencode_auth::{AuthLayer, CredentialSources, MemoryTokenStore, NewToken, Permissions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// A server whose handlers select no protocol, or `v2`.
async fn serve(store: &MemoryTokenStore, forward: bool) -> std::net::SocketAddr {
    let app = Router::new()
        .route("/none", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| ())))
        .route(
            "/v2",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.protocols(["v2"]).on_upgrade(async |_| ())
            }),
        )
        .route("/plain", any(async || "no upgrade"))
        .layer(
            AuthLayer::new(store.clone())
                .credentials(CredentialSources::opencode())
                .forward_credentials(forward),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

/// The head of the response.
async fn handshake(address: std::net::SocketAddr, path: &str, protocols: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocols}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.windows(4).any(|window| window == b"\r\n\r\n") {
        assert_ne!(socket.read_buf(&mut received).await.unwrap(), 0);
    }
    String::from_utf8(received).unwrap().to_lowercase()
}

#[tokio::test]
async fn the_101_selects_a_protocol_and_the_token_only_if_there_is_no_other() {
    let store = MemoryTokenStore::new();
    let token = store.create(NewToken::new()).unwrap().token;
    let token = token.expose_secret();
    let (pair, single) = (format!("bearer, {token}"), format!("opencode.bearer.{token}"));
    let link = &*format!("/none?auth_token={token}");
    for forward in [false, true] {
        let address = serve(&store, forward).await;
        for (path, offered, selected) in [
            // The query decides alone, and the browser still has to get a protocol.
            (link, pair.clone(), "bearer"),
            (link, format!("{single}, v1"), "v1"),
            ("/none", pair.clone(), "bearer"),
            ("/none", format!("v1, {pair}, v2"), "bearer"),
            ("/none", single.clone(), &*single),
            ("/none", format!("{single}, v1, v2"), "v1"),
            ("/v2", format!("v1, {pair}, v2"), "v2"),
            ("/v2", format!("v1, {single}, v2"), "v2"),
            ("/v2", pair.clone(), "bearer"),
        ] {
            let head = handshake(address, path, &offered).await;
            let case = format!("{path} {offered} {forward}: {head}");
            assert!(head.starts_with("http/1.1 101 "), "{case}");
            let lines: Vec<_> = head
                .lines()
                .filter_map(|line| line.strip_prefix("sec-websocket-protocol: "))
                .collect();
            assert_eq!(lines, [selected.to_lowercase()], "{case}");
        }
        // A response that is no upgrade, and a denial, select nothing.
        for offered in [&pair, &single] {
            let head = handshake(address, "/plain", offered).await;
            assert!(head.starts_with("http/1.1 200 "), "{head}");
            assert!(!head.contains("sec-websocket-protocol"), "{head}");
        }
        let head = handshake(address, "/none", "bearer, x").await;
        assert!(head.starts_with("http/1.1 401 "), "{head}");
        assert!(!head.contains("sec-websocket-protocol"), "{head}");
    }
}

/// A layer outside may log the headers of responses.
#[tokio::test]
async fn a_selected_token_is_sensitive() {
    let (store, token) = MemoryTokenStore::with_token(Permissions::ALL).unwrap();
    let upgraded = service_fn(async |_: Request<Body>| {
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
    });
    let layer = AuthLayer::new(store).credentials(CredentialSources::opencode());
    let only = format!("opencode.bearer.{}", token.expose_secret());
    let request = Request::get("/config")
        .header("upgrade", "websocket")
        .header("sec-websocket-protocol", &only)
        .body(Body::empty())
        .unwrap();
    let response = layer.layer(upgraded).oneshot(request).await.unwrap();
    let selected = &response.headers()["sec-websocket-protocol"];
    assert_eq!((selected.to_str().unwrap(), selected.is_sensitive()), (&*only, true));
}

#[tokio::test]
async fn over_http_2_the_200_selects_it() {
    let store = MemoryTokenStore::new();
    let token = store.create(NewToken::new()).unwrap().token;
    let address = serve(&store, false).await;
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://h/none")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", format!("bearer, {}", token.expose_secret()))
        .body(())
        .unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, _stream) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "bearer");
}
