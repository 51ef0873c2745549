//! Compares how credentials are read with a small, independent reference, for each set of sources. The first
//! byte selects the sources. NULs separate the `Authorization` headers, a custom header, the query and the
//! WebSocket protocols. `\x01` is replaced by a token, `\x02` by the base64 of a user and a token.
#![no_main]
#![allow(dead_code, reason = "not all of the reference is used here")]

use axum::http::{HeaderName, HeaderValue, Request, Uri};
use libfuzzer_sys::fuzz_target;
use opencode_auth::fuzzing::{Taken, take};
use opencode_auth::{Carrier, CredentialSources};
use sha2::{Digest as _, Sha256};

mod reference;

const OWN: HeaderName = HeaderName::from_static("x-token");

fuzz_target!(|data: &[u8]| {
    let Some((&chosen, data)) = data.split_first() else { return };
    let on = |bit: u8| chosen >> bit & 1 == 1;
    let token = reference::token([7; 16]);
    let basic = reference::base64(&[b"u:", &*token].concat());
    let parts: Vec<Vec<u8>> = data
        .split(|byte| *byte == 0)
        .map(|part| {
            let part = part.split(|byte| *byte == 1).collect::<Vec<_>>().join(&*token);
            part.split(|byte| *byte == 2).collect::<Vec<_>>().join(&*basic)
        })
        .collect();
    let part = |position: usize| parts.get(position).filter(|part| !part.is_empty());
    let authorization: Vec<&Vec<u8>> = [part(0), part(1)].into_iter().flatten().collect();
    let own: Vec<&Vec<u8>> = [part(2), part(3)].into_iter().flatten().collect();
    let protocols: Vec<&Vec<u8>> = [part(5), part(6)].into_iter().flatten().collect();

    let mut request = Request::new(());
    for (name, values) in [
        ("authorization", &authorization),
        ("x-token", &own),
        ("sec-websocket-protocol", &protocols),
    ] {
        for value in values {
            let Ok(value) = HeaderValue::from_bytes(value) else { return };
            request.headers_mut().append(name, value);
        }
    }
    if let Some(query) = part(4) {
        let Ok(query) = std::str::from_utf8(query) else { return };
        let Ok(uri) = format!("/config?{query}").parse::<Uri>() else { return };
        *request.uri_mut() = uri;
    }
    let query = request.uri().query().unwrap_or_default().to_owned();

    let mut sources = CredentialSources::bearer();
    if on(0) {
        sources = sources.basic();
    }
    if on(1) {
        sources = sources.header(OWN);
    }
    if on(2) {
        sources = sources.query("auth_token");
    }
    if on(3) {
        sources = sources.websocket_protocol();
    }

    let mut presented = vec![reference::authorization(&authorization, on(0))];
    if on(1) {
        presented.push(reference::own_header(&own));
    }
    if on(3) {
        presented.push(reference::protocols(&protocols));
    }
    let by_query = if on(2) { reference::query(&query) } else { reference::Read::Absent };
    let expected = match by_query {
        reference::Read::Absent => reference::only_one(presented),
        alone => alone,
    };

    let found = take(&sources, &mut request);
    let expected = match expected {
        reference::Read::Absent => Taken::Absent,
        reference::Read::Malformed => Taken::Malformed,
        reference::Read::Token(text, carrier) => {
            let carrier = match carrier {
                "bearer" => Carrier::Bearer,
                "basic" => Carrier::Basic,
                "header" => Carrier::Header,
                "query" => Carrier::Query,
                _ => Carrier::WebSocketProtocol,
            };
            Taken::Token(Sha256::digest(&text).into(), carrier)
        }
    };
    assert_eq!(found, expected, "{chosen:#x} {authorization:?} {own:?} {query:?} {protocols:?}");

    // The layer removes the token from the request.
    assert!(!request.headers().contains_key("authorization"));
    assert!(!on(1) || !request.headers().contains_key("x-token"));
    if on(2) {
        let kept: Vec<&str> =
            query.split('&').filter(|part| !reference::is_auth_token(part)).collect();
        let removed = kept.len() < query.split('&').count();
        let left = request.uri().query();
        if !removed {
            assert_eq!(left.unwrap_or_default(), query);
        } else if kept.is_empty() {
            assert_eq!(left, None);
        } else {
            assert_eq!(left, Some(&*kept.join("&")));
        }
    }
});
