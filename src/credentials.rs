use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use crate::token::TokenDigest;

const SCHEME: &[u8] = b"Bearer";

/// What a request presented to prove that it may pass.
///
/// Only the `Authorization` header counts: a cookie, `Proxy-Authorization` or a query parameter is
/// never looked at.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Credentials {
    /// No `Authorization` header, or one of another scheme.
    Absent,
    /// Several `Authorization` headers, or a `Bearer` one without exactly one well-formed token.
    Malformed,
    /// A well-formed bearer token, of which nothing more is known yet. Its text stays in the header.
    Bearer(TokenDigest),
}

impl Credentials {
    /// Reads `Authorization: Bearer <token>` (RFC 6750 section 2.1): the scheme in any case, one or
    /// more spaces, a token, and nothing else.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Self::Absent;
        };
        // Two readers of a repeated header may each take another one.
        if values.next().is_some() {
            return Self::Malformed;
        }
        Self::from_value(value)
    }

    /// Reads the credentials, and takes them off the headers.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let before = headers.len();
        let Some(value) = headers.remove(AUTHORIZATION) else {
            return Self::Absent;
        };
        // All values of the header are gone, and one of them was answered.
        if before - headers.len() > 1 {
            return Self::Malformed;
        }
        Self::from_value(&value)
    }

    fn from_value(value: &HeaderValue) -> Self {
        let Some(parameter) = strip_bearer(value.as_bytes()) else {
            return Self::Absent;
        };
        // A TAB is white space too, but not what RFC 9110 section 11.4 puts here.
        let spaces = parameter.iter().take_while(|byte| **byte == b' ').count();
        if spaces == 0 {
            return Self::Malformed;
        }
        TokenDigest::of_token(&parameter[spaces..]).map_or(Self::Malformed, Self::Bearer)
    }
}

/// What follows the scheme if the scheme is `Bearer`: if it is that word, and the word ends there.
fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, parameter) = value.split_at_checked(SCHEME.len())?;
    let ends = parameter.first().is_none_or(|byte| !is_token_character(*byte));
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then_some(parameter)
}

/// RFC 9110 section 5.6.2, `tchar`.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
