//! Compares how credentials are read and removed with a small, independent reference, for each set of sources.
//!
//! The first byte selects the sources (header, query and so on), whether the request is a handshake, whether a
//! router had nested it, and whether credentials are forwarded. NULs separate two `Authorization` headers, two of
//! a custom header, the query, two of the WebSocket protocols and the `Referer`. `\x01` is replaced by a token,
//! `\x02` by the base64 of a user and a token, `\x03` by a ticket, and `\x04` by a ticket for another path.
#![no_main]
#![allow(dead_code, reason = "not all of the reference is used here")]

use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::OriginalUri;
use axum::http::{HeaderName, HeaderValue, Request, Uri};
use libfuzzer_sys::fuzz_target;
use opencode_auth::fuzzing::{digest, take};
use opencode_auth::{Carrier, CredentialSources, Denial, Permissions, Principal, Tickets};
use sha2::{Digest as _, Sha256};

mod reference;

use reference::Read;

const OWN: HeaderName = HeaderName::from_static("x-token");
const ADOPTED: &str = "a/b c";
const MINUTE: Duration = Duration::from_secs(60);

fn principal() -> &'static Principal {
    static PRINCIPAL: OnceLock<Principal> = OnceLock::new();
    PRINCIPAL.get_or_init(|| Principal::for_test(Permissions::ALL).unwrap())
}

fuzz_target!(|data: &[u8]| {
    let Some((&chosen, data)) = data.split_first() else { return };
    let on = |bit: u8| chosen >> bit & 1 == 1;
    let (basic_on, header_on, query_on, protocol_on, tickets_on) = (on(0), on(1), on(2), on(3), on(4));
    let (is_handshake, is_nested, forward) = (on(5), on(6), on(7));
    let (path, base) = ("/config", if is_nested { "/in" } else { "" });

    let token = reference::token([7; 16]);
    let basic = reference::base64(&[b"u:", &*token].concat());
    let tickets = Tickets::new();
    let sent_path = format!("{base}{path}");
    let issued = tickets.issue(principal(), &sent_path, MINUTE).unwrap();
    let elsewhere = tickets.issue(principal(), "/in", MINUTE).unwrap();
    tickets.adopt(ADOPTED, principal(), &sent_path, MINUTE);
    let known = [&*token, &basic, issued.expose_secret().as_bytes(), elsewhere.expose_secret().as_bytes()];
    let parts: Vec<Vec<u8>> = data
        .split(|byte| *byte == 0)
        .map(|part| {
            let replaced = |byte: &u8| match byte {
                place @ 1..=4 => known[usize::from(*place) - 1].to_vec(),
                other => vec![*other],
            };
            part.iter().flat_map(replaced).collect()
        })
        .collect();
    let part = |position: usize| parts.get(position).filter(|part| !part.is_empty());
    let two = |first: usize| -> Vec<&Vec<u8>> { [part(first), part(first + 1)].into_iter().flatten().collect() };
    let (authorization, own, protocols) = (two(0), two(2), two(5));
    let referer = part(7);

    let mut request = Request::new(());
    for (name, values) in [
        ("authorization", &authorization),
        ("x-token", &own),
        ("sec-websocket-protocol", &protocols),
        ("referer", &referer.into_iter().collect()),
    ] {
        for value in values {
            let Ok(value) = HeaderValue::from_bytes(value) else { return };
            request.headers_mut().append(name, value);
        }
    }
    if is_handshake {
        request.headers_mut().append("upgrade", HeaderValue::from_static("websocket"));
    }
    let query = match part(4) {
        None => String::new(),
        Some(query) => {
            let Ok(query) = std::str::from_utf8(query) else { return };
            format!("?{query}")
        }
    };
    let Ok(uri) = format!("{path}{query}").parse::<Uri>() else { return };
    *request.uri_mut() = uri;
    if is_nested {
        let Ok(original) = format!("http://h{base}{path}{query}").parse::<Uri>() else { return };
        request.extensions_mut().insert(OriginalUri(original));
    }
    let query = request.uri().query().map(str::to_owned);
    let query_or_empty = query.as_deref().unwrap_or_default();
    let before = request.headers().clone();

    let mut sources = CredentialSources::bearer();
    if basic_on {
        sources = sources.basic();
    }
    if header_on {
        sources = sources.header(OWN);
    }
    if query_on {
        sources = sources.query("auth_token");
    }
    if protocol_on {
        sources = sources.websocket_protocol();
    }
    if tickets_on {
        sources = sources.tickets(tickets.clone());
    }

    let mut presented = vec![reference::authorization(&authorization, basic_on)];
    if header_on {
        presented.push(reference::own_header(&own));
    }
    if protocol_on {
        presented.push(reference::protocols(&protocols));
    }
    let by_parameter = if query_on { reference::query(query_or_empty) } else { Read::Absent };
    let has_parameter = |name: &str| query_or_empty.split('&').any(|part| reference::is_named(part, name));
    let ticket = if tickets_on && is_handshake {
        reference::ticket(query_or_empty, issued.expose_secret(), ADOPTED)
    } else {
        Read::Absent
    };
    // An issued ticket that was redeemed leaves the query, also if another credential makes it malformed.
    let ticket_leaves = matches!(&ticket, Read::Token(text, _) if text == issued.expose_secret().as_bytes());
    let expected = match reference::only_one(vec![by_parameter, ticket]) {
        Read::Absent => reference::only_one(presented),
        alone => alone,
    };

    let found = take(&sources, &mut request, forward);
    let expected = match expected {
        Read::Absent => Err(Denial::CredentialsAbsent),
        Read::Malformed => Err(Denial::CredentialsMalformed),
        Read::TicketInvalid => Err(Denial::TicketInvalid),
        Read::Token(_, "ticket") => Ok((digest(principal()), Carrier::Ticket)),
        Read::Token(text, carrier) => {
            let carrier = match carrier {
                "bearer" => Carrier::Bearer,
                "basic" => Carrier::Basic,
                "header" => Carrier::Header,
                "query" => Carrier::Query,
                _ => Carrier::WebSocketProtocol,
            };
            Ok((Sha256::digest(&text).into(), carrier))
        }
    };
    assert_eq!(found, expected, "{chosen:#x} {authorization:?} {own:?} {query:?} {protocols:?}");

    // A source that is off is left as it was, and so is everything if credentials are forwarded.
    let headers = request.headers();
    let is_as_before =
        |name: &str| headers.get_all(name).iter().eq(before.get_all(name).iter());
    let mut left = query.clone();
    if forward {
        assert_eq!(*headers, before);
        assert!(headers.get_all("authorization").iter().all(HeaderValue::is_sensitive));
        assert!(!header_on || headers.get_all("x-token").iter().all(HeaderValue::is_sensitive));
    } else {
        assert!(!headers.contains_key("authorization"));
        if header_on {
            assert!(!headers.contains_key("x-token"));
        } else {
            assert!(is_as_before("x-token"));
        }
        match reference::protocols(&protocols) {
            Read::Token(..) if protocol_on => {
                let others = reference::other_protocols(&protocols);
                let left = headers.get("sec-websocket-protocol").map(|left| left.to_str().unwrap());
                assert_eq!(left, (!others.is_empty()).then_some(&*others));
                assert!(headers.get_all("sec-websocket-protocol").iter().count() <= 1);
            }
            Read::Absent => assert!(is_as_before("sec-websocket-protocol")),
            _ if protocol_on => {
                let is_text = |line: &&Vec<u8>| line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
                assert!(protocols.iter().all(is_text) || !headers.contains_key("sec-websocket-protocol"));
            }
            _ => assert!(is_as_before("sec-websocket-protocol")),
        }
        if query_on && referer.is_some_and(|referer| reference::names_token_in_url(referer)) {
            assert!(!headers.contains_key("referer"));
        } else {
            assert!(is_as_before("referer"));
        }
        if query_on {
            left = reference::without(left, "auth_token");
        }
        if ticket_leaves {
            left = reference::without(left, "ticket");
        }
        assert!(!(query_on && left.as_deref().is_some_and(|left| {
            left.split('&').any(|part| reference::is_named(part, "auth_token"))
        })));
    }
    // Nothing is removed if there is nothing to remove: the query keeps its bytes.
    if !has_parameter("auth_token") && !has_parameter("ticket") {
        assert_eq!(left, query);
    }
    assert_eq!((request.uri().path(), request.uri().query()), (path, left.as_deref()));
    if is_nested {
        let original = &request.extensions().get::<OriginalUri>().unwrap().0;
        assert_eq!((original.path(), original.query()), (&*sent_path, left.as_deref()));
        assert_eq!(original.host(), Some("h"));
    }
    // A ticket is good once.
    if matches!(found, Ok((_, Carrier::Ticket))) {
        let again = Request::get(format!("{sent_path}?{query_or_empty}")).header("upgrade", "websocket");
        let mut again = again.body(()).unwrap();
        let sources = CredentialSources::bearer().tickets(tickets);
        assert_eq!(take(&sources, &mut again, false), Err(Denial::TicketInvalid));
    }
});
