//! A small server in the shape of opencode's, and the layers around it in their order.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use opencode_auth::{AuthLayer, CredentialSources, FileTokenStore, Policy, Principal, Tickets};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;

/// A page that reads the configuration, follows the events and opens a terminal.
const PAGE: &str = include_str!("page.html");

/// How long a terminal's ticket is good.
const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// The server's state. `stopped` turns true when streams have to end.
#[derive(Clone)]
struct App {
    config: Arc<Mutex<Value>>,
    sessions: Arc<Mutex<Vec<Value>>>,
    tickets: Tickets,
    stopped: watch::Receiver<bool>,
}

/// The whole application: routes inside, then the guard, then the layers outside of it.
pub(crate) fn guarded(store: FileTokenStore, stopped: watch::Receiver<bool>) -> Router {
    let policy = Policy::default().public(Method::GET, "/global/health");
    let tickets = Tickets::new();
    // What stock opencode clients send, and tickets for the terminal.
    let sources = CredentialSources::opencode().tickets(tickets.clone());
    routes(tickets, stopped)
        .layer(AuthLayer::new(store).policy(policy).credentials(sources))
        // A CORS preflight carries no credentials, so CORS lies outside of the guard.
        .layer(cors())
        // The span has the method and the path. It leaves out headers and the query, which carry secrets.
        .layer(TraceLayer::new_for_http().make_span_with(|request: &Request<_>| {
            tracing::info_span!("request", method = %request.method(), path = request.uri().path())
        }))
}

fn routes(tickets: Tickets, stopped: watch::Receiver<bool>) -> Router {
    let config = json!({ "model": "anthropic/claude-sonnet-4", "share": "manual" });
    let app =
        App { config: Arc::new(Mutex::new(config)), sessions: Arc::default(), tickets, stopped };
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route(
            "/global/health",
            get(async || Json(json!({ "healthy": true, "version": env!("CARGO_PKG_VERSION") }))),
        )
        .route("/config", get(read_config).patch(change_config))
        .route("/session", get(list_sessions).post(create_session))
        .route("/session/{id}/message", post(prompt))
        .route("/pty/{id}/connect-token", post(connect_token))
        .route("/pty/{id}/connect", get(connect))
        .route("/event", get(events))
        .fallback(not_found)
        .with_state(app)
}

/// Pages that the user's own machine serves may call the server, as opencode's web app does.
fn cors() -> CorsLayer {
    let is_local = |origin: &HeaderValue, _: &_| {
        let host =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        host.is_some_and(|host| matches!(host.split(':').next(), Some("localhost" | "127.0.0.1")))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_local))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
}

async fn read_config(State(app): State<App>) -> Json<Value> {
    Json(app.config.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn change_config(
    State(app): State<App>,
    Json(change): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let change = change.as_object().ok_or(StatusCode::BAD_REQUEST)?;
    let mut config = app.config.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, value) in change {
        config[key] = value.clone();
    }
    Ok(Json(config.clone()))
}

async fn list_sessions(State(app): State<App>) -> Json<Value> {
    Json(Value::Array(app.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()))
}

/// A handler learns the token's id and name, never its secret.
async fn create_session(State(app): State<App>, principal: Principal) -> Json<Value> {
    let mut sessions = app.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let session = json!({
        "id": format!("ses_{}", sessions.len() + 1),
        "createdBy": { "token": principal.id().as_str(), "name": principal.name() },
    });
    sessions.push(session.clone());
    Json(session)
}

async fn prompt(Path(id): Path<String>, body: String) -> Json<Value> {
    Json(json!({ "session": id, "prompt": body, "answer": "An agent would go to work here." }))
}

/// A page cannot set a header on a WebSocket. It requests a ticket first and puts it into the URL.
async fn connect_token(
    State(app): State<App>,
    Path(id): Path<String>,
    principal: Principal,
) -> Result<Json<Value>, StatusCode> {
    let path = format!("/pty/{id}/connect");
    let ticket = app
        .tickets
        .issue(&principal, &path, TICKET_LIFETIME)
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({ "ticket": ticket.expose_secret() })))
}

/// The layer cannot close a WebSocket, so the handler stops with the token.
async fn connect(
    State(app): State<App>,
    principal: Principal,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async move |socket| {
        let _ = principal.until_ended(echo(socket, app.stopped)).await;
    })
}

/// Sends every message back. opencode would type it into a terminal.
async fn echo(mut socket: WebSocket, mut stopped: watch::Receiver<bool>) {
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
        }
    }
}

/// The layer ends this stream when its token is deleted.
async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold((0_u64, app.stopped), async |(count, mut stopped)| {
        if count > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return None,
            }
        }
        let kind = if count == 0 { "server.connected" } else { "server.heartbeat" };
        let event = Event::default()
            .data(json!({ "type": kind, "properties": { "count": count } }).to_string());
        Some((Ok(event), (count + 1, stopped)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn not_found() -> impl IntoResponse {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "name": "NotFoundError", "data": { "message": "There is no such route." } })),
    )
}
