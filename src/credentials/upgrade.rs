use axum::http::{Method, Request, StatusCode, header};

/// Whether the request asks for another protocol on its connection, as a WebSocket handshake does. Over
/// HTTP/2 that is a `CONNECT`.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    upgraded(request).is_some()
}

/// The status of a response that agrees to it.
pub(super) fn upgraded<B>(request: &Request<B>) -> Option<StatusCode> {
    if request.method() == Method::CONNECT {
        return Some(StatusCode::OK);
    }
    request.headers().contains_key(header::UPGRADE).then_some(StatusCode::SWITCHING_PROTOCOLS)
}
