//! The query of a URI: finds a parameter, reads a token in it, removes it.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::percent_decode;
use zeroize::Zeroize as _;

use super::authorization::{MAX_ENCODED, user_and_token};
use super::presented::{self, Presented};
use crate::carrier::Carrier;
use crate::decision::Denial;

/// The occurrences of a parameter.
pub(super) enum Found<'a> {
    /// None, or one that is empty.
    Absent,
    /// One, with its value as it was sent.
    One(&'a str),
    Many,
}

/// Finds a parameter by its decoded name.
pub(super) fn find<'a>(query: Option<&'a str>, name: &str) -> Found<'a> {
    let mut values = query
        .unwrap_or_default()
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .filter(|(key, _)| is_named(key, name))
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None | Some(""), None) => Found::Absent,
        (Some(value), None) => Found::One(value),
        (_, Some(_)) => Found::Many,
    }
}

/// Reads a value: the token itself, or `base64(user:token)`.
pub(super) fn read(value: &str) -> Presented {
    if !value.contains('%') {
        return read_decoded(value.as_bytes());
    }
    let mut buffer = [0; MAX_ENCODED];
    let mut length = 0;
    // A `+` stays one. It is a digit of base64, and neither form contains a space.
    for byte in percent_decode(value.as_bytes()) {
        let Some(place) = buffer.get_mut(length) else {
            buffer.zeroize();
            return Err(Denial::CredentialsMalformed);
        };
        *place = byte;
        length += 1;
    }
    let presented = read_decoded(&buffer[..length]);
    buffer[..length].zeroize();
    presented
}

fn read_decoded(value: &[u8]) -> Presented {
    // No base64 of this alphabet contains the `_` of a token.
    if value.contains(&b'_') {
        return presented::token(value, Carrier::Query);
    }
    user_and_token(value, Carrier::Query)
}

/// Removes a parameter from a URI. All others keep their bytes and their order.
pub(super) fn remove(uri: &mut Uri, name: &str) -> Result<(), axum::http::Error> {
    let Some(query) = uri.query() else { return Ok(()) };
    let is_kept =
        |parameter: &&str| !is_named(parameter.split('=').next().unwrap_or_default(), name);
    if query.split('&').all(|parameter| is_kept(&parameter)) {
        return Ok(());
    }
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    let path = uri.path();
    let path_and_query = if kept.is_empty() {
        PathAndQuery::try_from(path)?
    } else {
        PathAndQuery::try_from(format!("{path}?{}", kept.join("&")))?
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path_and_query);
    *uri = Uri::from_parts(parts)?;
    Ok(())
}

/// Whether the URL in a `Referer` has the parameter.
pub(super) fn is_in_referer(referer: &[u8], name: &str) -> bool {
    let url = String::from_utf8_lossy(referer);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query
        .split(['&', '#', '?'])
        .any(|parameter| is_named(parameter.split('=').next().unwrap_or_default(), name))
}

/// Whether a key has this name once it is decoded, as any reader of the query decodes it.
fn is_named(key: &str, name: &str) -> bool {
    key == name
        || (key.contains(['%', '+'])
            && percent_decode(key.as_bytes())
                .map(|byte| if byte == b'+' { b' ' } else { byte })
                .eq(name.bytes()))
}
