//! Which headers pass the gateway. Pure.

use std::net::IpAddr;

use axum::http::header::{
    self, AUTHORIZATION, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, SET_COOKIE, TE, UPGRADE, VIA,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

/// RFC 9110 section 7.6.1: headers of one connection, besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    TE,
    header::TRANSFER_ENCODING,
    UPGRADE,
];

/// The headers that a request without a token keeps. Any other header could name a directory, whose plugins
/// opencode would load, or hold a token that the guard has not looked for, such as a `Referer` with the link of a
/// page.
const ANONYMOUS: [HeaderName; 16] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCESS_CONTROL_REQUEST_HEADERS,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName::from_static("access-control-request-private-network"),
    header::CACHE_CONTROL,
    HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::ORIGIN,
    header::RANGE,
    header::USER_AGENT,
];

/// The prefix of the headers that tell an upstream about the client.
const X_FORWARDED: &str = "x-forwarded-";

/// The cookies with which opencode 2.0 recognizes its own sessions.
const SESSION_COOKIE: &[u8] = b"opencode_session";

const PARAMETER: &str = "auth_token";

/// Makes the headers of a request those that the upstream receives: without hop-by-hop headers and
/// credentials, and with what the gateway says of the client.
pub(super) fn for_upstream(headers: &mut HeaderMap, uri: &Uri, client: IpAddr, version: Version) {
    let host = host(headers, uri);
    let accepts_trailers = lists(headers, TE, b"trailers");
    remove_hop_by_hop(headers);
    for name in [AUTHORIZATION, EXPECT, FORWARDED, HeaderName::from_static("x-real-ip")] {
        headers.remove(name);
    }
    remove_if(headers, |name| name.as_str().starts_with(X_FORWARDED));
    remove_session_cookies(headers);

    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let node = if client.is_ipv6() { format!("\"[{client}]\"") } else { client.to_string() };
    let mut forwarded = format!("for={node};proto=http");
    if let Some(host) = host {
        if let Ok(host) = host.to_str()
            && !host.contains(['"', '\\'])
        {
            forwarded = format!("{forwarded};host=\"{host}\"");
        }
        headers.insert("x-forwarded-host", host.clone());
        headers.insert(HOST, host);
    }
    set(headers, FORWARDED, &forwarded);
    set(headers, HeaderName::from_static("x-forwarded-for"), &client.to_string());
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    headers.append(VIA, via(version));
}

/// Keeps only the headers that a request for a public file or a preflight needs.
pub(super) fn keep_anonymous(headers: &mut HeaderMap) {
    remove_if(headers, |name| !ANONYMOUS.contains(name));
}

/// Makes the headers of a response those that the client receives.
pub(super) fn for_client(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // A session of the upstream is another credential for it.
    if headers.contains_key(SET_COOKIE) {
        let kept: Vec<HeaderValue> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter(|cookie| !cookie.as_bytes().trim_ascii_start().starts_with(SESSION_COOKIE))
            .cloned()
            .collect();
        headers.remove(SET_COOKIE);
        for cookie in kept {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Whether the request asks for a WebSocket.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    lists(headers, CONNECTION, b"upgrade") && lists(headers, UPGRADE, b"websocket")
}

/// Asks for a WebSocket again, after the hop-by-hop headers were removed.
pub(super) fn set_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The path and the query without the credential in it. The other parameters keep their bytes and order.
pub(super) fn path_and_query(uri: &Uri) -> String {
    let path = uri.path();
    let Some(query) = uri.query() else { return path.to_owned() };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            percent_encoding::percent_decode_str(&name).ne(PARAMETER.bytes())
        })
        .collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// The host that the client meant: that of the request's target, as HTTP/2 sends it, or the header.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<HeaderValue> {
    uri.authority()
        .map(Authority::as_str)
        // A user name before the host is no part of it.
        .map(|authority| authority.rsplit('@').next().unwrap_or_default())
        .and_then(|host| HeaderValue::from_str(host).ok())
        .or_else(|| headers.get(HOST).cloned())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(words)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

fn remove_session_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let kept: Vec<&[u8]> = value
                .as_bytes()
                .split(|byte| *byte == b';')
                .map(<[u8]>::trim_ascii)
                .filter(|cookie| !cookie.is_empty() && !cookie.starts_with(SESSION_COOKIE))
                .collect();
            if kept.is_empty() {
                None
            } else {
                HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
            }
        })
        .collect();
    headers.remove(COOKIE);
    for cookie in kept {
        headers.append(COOKIE, cookie);
    }
}

fn remove_if(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| is_unwanted(name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Whether a header is a list of words that has this one, in any case.
fn lists(headers: &HeaderMap, name: HeaderName, word: &[u8]) -> bool {
    headers.get_all(name).iter().flat_map(words).any(|item| item.eq_ignore_ascii_case(word))
}

/// The words of a list with commas.
fn words(list: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// RFC 9110 section 7.6.3.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2.0 opencode-auth",
        Version::HTTP_10 => "1.0 opencode-auth",
        _ => "1.1 opencode-auth",
    })
}
