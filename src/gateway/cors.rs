//! Cross-origin resource sharing: what the gateway adds to what the upstream says.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::gateway::proxy::Passed;

/// The origins whose pages may read responses, besides those of the upstream.
pub(super) struct Cors {
    pub(super) origins: Vec<HeaderValue>,
}

/// Whether the request is a preflight, which carries no credentials.
pub(super) fn is_preflight(request: &Request) -> bool {
    let has = |name| request.headers().contains_key(name);
    *request.method() == Method::OPTIONS && has(ORIGIN) && has(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    /// The response to a preflight of one of these origins. The upstream knows nothing of them.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let origin = request.headers().get(ORIGIN)?;
        if !self.origins.contains(origin) {
            return None;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("GET, HEAD, PUT, PATCH, POST, DELETE");
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if let Some(asked) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.append(VARY, HeaderValue::from_static("access-control-request-headers"));
        Some(response)
    }

    /// Lets pages of these origins read the response. The gateway's own responses, such as denials, can
    /// be read by the upstream's origins as well.
    pub(super) fn allow(&self, origin: Option<HeaderValue>, response: &mut Response) {
        let Some(origin) = origin else { return };
        let is_own = response.extensions().get::<Passed>().is_none();
        if !response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
            && (self.origins.contains(&origin)
                || (is_own && origin.to_str().is_ok_and(is_allowed_by_opencode)))
        {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
        }
    }
}

/// The origins that opencode 1.18 allows.
fn is_allowed_by_opencode(origin: &str) -> bool {
    const STARTS: [&str; 3] = ["http://localhost:", "http://127.0.0.1:", "oc://renderer"];
    const ORIGINS: [&str; 3] =
        ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    STARTS.iter().any(|start| origin.starts_with(start))
        || ORIGINS.contains(&origin)
        || origin
            .strip_prefix("https://")
            .and_then(|host| host.strip_suffix("opencode.ai"))
            .is_some_and(|rest| {
                rest.is_empty()
                    || rest.strip_suffix('.').is_some_and(|rest| rest.split('.').all(label))
            })
}
