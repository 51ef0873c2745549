//! An upstream that behaves as opencode does. It runs in the test's own process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{PASSWORD, basic};

static OTHER_PASSWORD: OnceLock<String> = OnceLock::new();

/// Takes another password than [`PASSWORD`].
pub fn set_password(password: String) {
    OTHER_PASSWORD.set(password).unwrap();
}

fn password() -> &'static str {
    OTHER_PASSWORD.get().map_or(PASSWORD, String::as_str)
}

/// How many event streams and terminals are open.
#[derive(Clone, Default)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Inside {
        self.0.fetch_add(1, Ordering::SeqCst);
        Inside(self.clone())
    }
}

struct Inside(Open);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// opencode 1.18: everything but preflights takes the password.
pub async fn first() -> (SocketAddr, Open) {
    let open = Open::default();
    let health = async || Json(json!({ "healthy": true, "version": "1.18.33" }));
    let router = routes("").route("/global/health", get(health)).with_state(open.clone());
    (serve(router.fallback(page).layer(middleware::from_fn(guard))).await, open)
}

/// opencode 2.0: the API is under `/api`, and a public page everywhere else.
pub async fn second() -> (SocketAddr, Open) {
    let open = Open::default();
    let info = async || Json(json!({ "version": "2.0.3" }));
    let api = routes("/api").route("/api/info", get(info)).with_state(open.clone());
    (serve(api.layer(middleware::from_fn(guard)).fallback(page)).await, open)
}

async fn page() -> Html<&'static str> {
    Html("<title>OpenCode</title>")
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

fn routes(base: &str) -> Router<Open> {
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&at("/echo"), any(echo))
        .route(&at("/upload"), post(upload))
        .route(&at("/gzip"), get(gzip))
        .route(&at("/trailers"), get(trailers))
        .route(&at("/cookies"), get(cookies))
        .route(&at("/config"), get(async || Json(json!({ "model": "stub" }))))
        .route(&at("/event"), get(events))
        .route(&at("/pty/{id}/connect-token"), post(ticket))
        .route(&at("/pty/{id}/connect"), get(terminal))
        .route(&at("/assets/index.js"), get(async || "export {}"))
        .route(&at("/assets/echo"), any(echo))
        .route(&at("/site.webmanifest"), get(async || "{}"))
}

async fn guard(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if request.method() == "OPTIONS" {
        assert!(!headers.contains_key(AUTHORIZATION), "a preflight has no credential");
        return preflight(request.uri(), headers);
    }
    let has_ticket = request.uri().query().is_some_and(|query| query.contains("ticket=one-time"));
    let password = headers.get(AUTHORIZATION).is_some_and(|value| *value == basic(password()));
    let origin = headers.get("origin").cloned();
    let mut response = if password || has_ticket {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    };
    if let Some(origin) = origin.filter(|origin| origin == "http://localhost:3000") {
        response.headers_mut().insert("access-control-allow-origin", origin);
    }
    response
}

/// The response says what the request was.
fn preflight(uri: &Uri, headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    for (name, value) in [("x-target", uri.to_string()), ("x-headers", names.join(" "))] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    if headers["origin"] == "http://localhost:3000" {
        let headers = response.headers_mut();
        headers.insert(
            "access-control-allow-origin",
            HeaderValue::from_static("http://localhost:3000"),
        );
        headers.insert("access-control-max-age", HeaderValue::from_static("86400"));
    }
    response
}

/// What the upstream received.
async fn echo(request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().map(entries);
    let body = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    Json(json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": entries(&head.headers),
        "body": body,
        "trailers": trailers,
    }))
}

fn entries(headers: &HeaderMap) -> Value {
    let entry = |(name, value): (&axum::http::HeaderName, &HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    headers.iter().map(entry).collect()
}

async fn upload(body: Body) -> Result<String, StatusCode> {
    let mut body = body.into_data_stream();
    let mut length = 0;
    while let Some(part) = body.next().await {
        length += part.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(length.to_string())
}

pub const GZIP: &[u8] = b"\x1f\x8b\x08 not for the gateway to unpack";

async fn gzip() -> Response {
    ([(CONTENT_ENCODING, "gzip"), (CONTENT_TYPE, "text/plain")], GZIP).into_response()
}

async fn trailers() -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("abc"));
    let frames = [Frame::data(Bytes::from_static(b"body")), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
    response
}

async fn cookies() -> Response {
    let mut response = "cookies".into_response();
    for cookie in ["opencode_session=secret; HttpOnly", "theme=dark"] {
        response.headers_mut().append(SET_COOKIE, HeaderValue::from_static(cookie));
    }
    response
}

/// An event at once, and one every 20 ms.
async fn events(State(open): State<Open>) -> Response {
    let inside = open.enter();
    let events = stream::unfold((0_u64, inside), async |(number, inside)| {
        if number > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let sent = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
        let event = format!("data: {{\"number\":{number},\"sent\":{sent}}}\n\n");
        Some((Ok::<_, std::io::Error>(event), (number + 1, inside)))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

async fn ticket(headers: HeaderMap) -> Response {
    if headers.get("x-opencode-ticket").is_none_or(|value| value != "1") {
        return StatusCode::FORBIDDEN.into_response();
    }
    Json(json!({ "ticket": "one-time", "expires_in": 60 })).into_response()
}

/// Sends back what it receives. `bye` closes with a custom code.
async fn terminal(
    State(open): State<Open>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let received = json!({ "query": query, "headers": entries(&headers) }).to_string();
    upgrade.on_upgrade(async move |mut socket| {
        let _inside = open.enter();
        let _ = socket.send(Message::Text(received.into())).await;
        while let Some(Ok(message)) = socket.recv().await {
            let reply = match message {
                Message::Text(text) if text == "bye" => {
                    Message::Close(Some(CloseFrame { code: 4001, reason: "as you wish".into() }))
                }
                Message::Text(_) | Message::Binary(_) => message,
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => continue,
            };
            if socket.send(reply).await.is_err() {
                break;
            }
        }
    })
}
