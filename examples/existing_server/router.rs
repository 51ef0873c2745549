//! The server before it was guarded. It has no code about tokens.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{Method, StatusCode, header};
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The whole router. `stopped` turns true when streams have to end.
pub(crate) fn build(stopped: watch::Receiver<bool>) -> Router {
    let api = Router::new()
        .route("/health", get(async || "ok"))
        .route("/sessions", get(async || r#"["ses_1"]"#))
        .route("/sessions/{id}/prompt", post(prompt))
        .route("/events", get(async move || events(stopped)))
        .fallback(async || (StatusCode::NOT_FOUND, "no such operation"));
    Router::new()
        .nest("/api/v1", api)
        .fallback(async || Html("<!doctype html><title>existing</title>"))
        .layer(cors())
}

pub(crate) fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|origin, _| {
            origin.as_bytes().starts_with(b"http://localhost:")
        }))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
}

async fn prompt(Path(session): Path<String>, prompt: String) -> String {
    format!("an agent would run `{prompt}` in {session}")
}

/// A heartbeat each second, until the server stops.
fn events(stopped: watch::Receiver<bool>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold((0_u64, stopped), async |(count, mut stopped)| {
        if count > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return None,
            }
        }
        Some((Ok(Event::default().data(count.to_string())), (count + 1, stopped)))
    }))
}
