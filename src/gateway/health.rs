//! `GET /opencode-auth/health`: whether the gateway can do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::gateway::upstream::Upstream;
use crate::{FileTokenStore, Lookup, TokenDigest, TokenStore as _};

/// The route, which is public.
pub(super) const PATH: &str = "/opencode-auth/health";

#[derive(Clone)]
pub(super) struct Health {
    pub(super) upstream: Arc<Upstream>,
    pub(super) store: FileTokenStore,
}

/// Whether the upstream responds, and whether the tokens can be read.
pub(super) async fn report(State(health): State<Health>) -> Response {
    let (upstream, store) = tokio::join!(health.upstream.responds(), health.can_read_store());
    let healthy = upstream && store;
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "healthy": healthy, "upstream": upstream, "store": store });
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}

impl Health {
    /// Looks for a token that does not exist, as a request would.
    async fn can_read_store(&self) -> bool {
        match self.store.find(&TokenDigest::from_bytes([0; 32])) {
            Lookup::Ready(result) => result.is_ok(),
            Lookup::Pending(lookup) => lookup.await.is_ok(),
        }
    }
}
