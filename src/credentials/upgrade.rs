use axum::http::{Method, Request, StatusCode, header};

/// Whether the request asks for another protocol on its connection, as a WebSocket handshake does. Over
/// HTTP/2 that is a `CONNECT`.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE)
}

/// The status of a response that opens a WebSocket, if the request may be a handshake. That is a `GET` (RFC 6455
/// section 4.1), or over HTTP/2 a `CONNECT`.
pub(super) fn upgraded<B>(request: &Request<B>) -> Option<StatusCode> {
    match *request.method() {
        Method::CONNECT => Some(StatusCode::OK),
        Method::GET if is_upgrade(request) => Some(StatusCode::SWITCHING_PROTOCOLS),
        _ => None,
    }
}
