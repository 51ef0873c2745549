//! Adopts the one-time tickets that opencode issues for its terminals.
//!
//! A page cannot set a header on a WebSocket. It requests a ticket with `POST /pty/{id}/connect-token`, and
//! then opens `/pty/{id}/connect?ticket=...`. The upstream checks the ticket again.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::gateway::failure::Failure;
use crate::{Principal, Tickets};

/// The longest response with a ticket, in bytes.
const LONGEST: usize = 64 * 1024;

/// How long a ticket is good if the upstream does not say so.
const LIFETIME: Duration = Duration::from_secs(60);

/// The longest lifetime that the upstream may give a ticket.
const LONGEST_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
struct Issued {
    ticket: String,
    expires_in: Option<u64>,
}

/// The path of the terminal that the request wants a ticket for.
pub(super) fn terminal(request: &Request) -> Option<String> {
    let terminal = request.uri().path().strip_suffix("/connect-token")?;
    (*request.method() == Method::POST).then(|| format!("{terminal}/connect"))
}

/// Remembers which token the ticket in the response represents.
pub(super) async fn adopt(
    tickets: &Tickets,
    principal: &Principal,
    path: &str,
    response: Response,
) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return Failure::Closed.into_response();
    };
    if let Some(Issued { ticket, expires_in }) = issued(&body) {
        let lifetime = expires_in.map_or(LIFETIME, Duration::from_secs).min(LONGEST_LIFETIME);
        tickets.adopt(&ticket, principal, path, lifetime);
    }
    Response::from_parts(parts, Body::from(body))
}

/// opencode 1.18 responds with the ticket, and 2.0 with the ticket in `data`.
fn issued(body: &[u8]) -> Option<Issued> {
    #[derive(Deserialize)]
    struct InData {
        data: Issued,
    }
    serde_json::from_slice(body)
        .or_else(|_| serde_json::from_slice(body).map(|InData { data }| data))
        .ok()
}
