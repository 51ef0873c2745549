//! Headers are read as a small parser reads them. A NUL separates headers; `\x01` stands for a token.
#![no_main]
#![allow(dead_code, reason = "not all of the reference is used here")]

use axum::http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use opencode_auth::{Credentials, fuzzing};
use sha2::{Digest as _, Sha256};

mod reference;

fuzz_target!(|data: &[u8]| {
    let token = reference::token([7; 16]);
    let values: Vec<Vec<u8>> = data
        .split(|byte| *byte == 0)
        .take(4)
        .map(|value| value.split(|byte| *byte == 1).collect::<Vec<_>>().join(&*token))
        .collect();
    let mut headers = HeaderMap::new();
    for value in &values {
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers.append("authorization", value);
    }
    check(Credentials::from_headers(&headers), &values);
    check(fuzzing::taken(&mut headers), &values);
    assert!(!headers.contains_key("authorization"));
});

fn check(found: Credentials, values: &[Vec<u8>]) {
    match (found, expected(values)) {
        (Credentials::Absent, Expected::Absent) | (Credentials::Malformed, Expected::Malformed) => {
        }
        (Credentials::Bearer(digest), Expected::Token(text)) => {
            assert_eq!(digest.as_bytes()[..], Sha256::digest(text)[..]);
        }
        (found, _) => panic!("{found:?} of {values:?}"),
    }
}

enum Expected<'a> {
    Absent,
    Malformed,
    Token(&'a [u8]),
}

fn expected(values: &[Vec<u8>]) -> Expected<'_> {
    let [value] = values else { return Expected::Malformed };
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = value.iter().position(|byte| !is_tchar(byte)).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if scheme.to_ascii_lowercase() != b"bearer" {
        return Expected::Absent;
    }
    match rest.iter().position(|byte| *byte != b' ') {
        Some(spaces @ 1..) if reference::is_token(&rest[spaces..]) => {
            Expected::Token(&rest[spaces..])
        }
        _ => Expected::Malformed,
    }
}
