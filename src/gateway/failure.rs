//! The gateway's own responses when the upstream has none, in the shape that opencode's clients show.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why the gateway could not pass a request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request has no form that the upstream could receive.
    Request(&'static str),
    /// Nothing accepts connections where the upstream should be.
    Unreachable,
    /// The upstream closed the connection without a response.
    Closed,
    /// What the upstream sent is not HTTP.
    Garbled,
    /// The upstream does not accept the gateway's password.
    Password,
    /// The upstream accepts connections and responds to nothing.
    Silent,
}

impl Failure {
    const fn status(self) -> StatusCode {
        match self {
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Unreachable | Self::Closed | Self::Garbled | Self::Password => {
                StatusCode::BAD_GATEWAY
            }
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Request(_) => "BadRequestError",
            Self::Unreachable | Self::Closed | Self::Garbled | Self::Password => "BadGatewayError",
            Self::Silent => "GatewayTimeoutError",
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Request(message) => message,
            Self::Unreachable => {
                "The opencode server behind this gateway cannot be reached. It may have ended."
            }
            Self::Closed => {
                "The opencode server behind this gateway closed the connection without a response."
            }
            Self::Garbled => "The opencode server behind this gateway did not respond with HTTP.",
            Self::Password => {
                "The opencode server behind this gateway does not accept the gateway's password. Your \
                 token is not the reason. Start the gateway with the server's OPENCODE_SERVER_PASSWORD."
            }
            Self::Silent => {
                "The opencode server behind this gateway does not respond, not even to a health check."
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (name, message) = (self.name(), self.message());
        let body = json!({ "name": name, "_tag": name, "message": message, "data": { "message": message } });
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (self.status(), headers, body.to_string()).into_response()
    }
}
