use axum::http::{Method, Request, header};

/// Whether the request asks for another protocol on its connection, as a WebSocket handshake does. Over
/// HTTP/2 that is a `CONNECT`.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE)
}
