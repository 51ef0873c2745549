//! Protects credentials that a browser adds by itself against requests of other sites' pages.
//!
//! The algorithm is the one of Go's `http.CrossOriginProtection` and of tower-http's `csrf`, with three additions.
//! Upgrades are checked too: a page may open a WebSocket to any site. And so is a `GET` that requires more than
//! read, or names a directory: opencode loads the plugins of that directory, so it can run code.

use std::fmt;

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::credentials::is_upgrade;
use crate::permission::Permissions;
use crate::policy::may_name_directory;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Origins whose pages may use the credentials that a browser adds by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedOrigins(Vec<Box<str>>);

impl TrustedOrigins {
    pub(crate) fn add(&mut self, origin: &str) -> Result<(), OriginError> {
        check(origin).map_err(|problem| OriginError { origin: origin.into(), problem })?;
        self.0.push(origin.into());
        Ok(())
    }

    fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|trusted| trusted.as_bytes() == origin.as_bytes())
    }

    /// Whether the request may change or run something and comes from a page of an origin that is neither the
    /// server's own nor trusted.
    pub(crate) fn is_cross_origin<B>(&self, request: &Request<B>, required: Permissions) -> bool {
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
            && Permissions::READ.contains(required);
        let names_directory = request.uri().query().is_some_and(may_name_directory);
        if is_safe && !names_directory && !is_upgrade(request) {
            return false;
        }
        let headers = request.headers();
        let Ok(origin) = single(headers, &ORIGIN) else { return true };
        if origin.is_some_and(|origin| self.contains(origin)) {
            return false;
        }
        match single(headers, &SEC_FETCH_SITE) {
            Ok(Some(site)) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
            // A browser that is too old for the header, or no browser.
            Ok(None) => origin.is_some_and(|origin| !is_own(origin, request)),
            Err(Repeated) => true,
        }
    }
}

struct Repeated;

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { Err(Repeated) } else { Ok(value) }
}

/// Whether an origin has the host and port that the request was sent to. Its scheme is not compared, because
/// a server behind a proxy does not know its own.
fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let Some((_scheme, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    // Over HTTP/2 the host is in `:authority`, which hyper puts into the URI.
    match request.uri().authority() {
        Some(authority) => origin.eq_ignore_ascii_case(authority.as_str()),
        None => single(request.headers(), &HOST).is_ok_and(|host| {
            host.is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        }),
    }
}

/// An origin is written as browsers send it: scheme, host, and the port unless it is the scheme's own.
fn check(origin: &str) -> Result<(), &'static str> {
    let (scheme, host) = origin.split_once("://").ok_or("it has no scheme")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    if !is_scheme {
        return Err("its scheme is not one in lower case");
    }
    if host.contains(['/', '?', '#', '@']) {
        return Err("it has more than scheme, host and port");
    }
    if host.contains('*') {
        return Err("it has a wildcard, and only exact origins are compared");
    }
    if !host.is_ascii() || host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("its host is not in lower case and Punycode, as browsers send it");
    }
    let authority: Authority = host.parse().map_err(|_| "its host or port is malformed")?;
    let name = authority.host();
    let port = &host[name.len()..];
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
    if name.is_empty() || !is_port {
        return Err("its host or port is malformed");
    }
    match (scheme, port) {
        ("http", ":80") | ("https", ":443") => Err("it names the port that browsers leave out"),
        _ => Ok(()),
    }
}

/// A text is not an origin that [`AuthLayer::trusted_origins`](crate::AuthLayer::trusted_origins) can compare.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to trust the origin `{}`: {problem}; write it as browsers do, such as `https://example.org:8443`",
    .origin.escape_debug()
)]
pub struct OriginError {
    origin: Box<str>,
    problem: &'static str,
}

impl fmt::Debug for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
