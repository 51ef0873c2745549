//! The subprotocols that a WebSocket handshake offers (RFC 6455 section 4.1).

use axum::http::header::{self, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::presented::{self, Presented, Selection};
use crate::carrier::Carrier;
use crate::decision::Denial;

/// The entry that is followed by one with the token.
const BEARER: &str = "bearer";
/// What the one entry with the token starts with.
const PREFIX: &str = "opencode.bearer.";

/// Reads the token among the subprotocols. Removes its entries, or marks all as sensitive if it is to be forwarded.
pub(super) fn take(
    headers: &mut HeaderMap,
    upgraded: Option<StatusCode>,
    forward: bool,
) -> Presented {
    let header::Entry::Occupied(mut entry) = headers.entry(SEC_WEBSOCKET_PROTOCOL) else {
        return Err(Denial::CredentialsAbsent);
    };
    if forward {
        entry.iter_mut().for_each(|value| value.set_sensitive(true));
    }
    let lines: Result<Vec<_>, _> = entry.iter().map(HeaderValue::to_str).collect();
    let Ok(lines) = lines else {
        if !forward {
            entry.remove_entry_mult();
        }
        return Err(Denial::CredentialsMalformed);
    };
    let offered = lines.join(",");
    let Offered { mut presented, others, select } = read(&offered);
    if matches!(presented, Err(Denial::CredentialsAbsent)) {
        return presented;
    }
    if let Ok(credential) = &mut presented
        && let Some(status) = upgraded
        && let Ok(mut protocol) = HeaderValue::from_str(select)
    {
        // It may be the entry with the token.
        protocol.set_sensitive(true);
        credential.select = Some(Box::new(Selection { protocol, status }));
    }
    if forward {
        return presented;
    }
    if let Ok(others) = HeaderValue::from_str(&others.join(", "))
        && !others.is_empty()
    {
        entry.insert(others);
    } else {
        entry.remove_entry_mult();
    }
    presented
}

struct Offered<'a> {
    presented: Presented,
    /// The entries without the token's.
    others: Vec<&'a str>,
    /// The protocol to select if the handler selects none.
    select: &'a str,
}

fn read(offered: &str) -> Offered<'_> {
    let mut presented = Err(Denial::CredentialsAbsent);
    let (mut others, mut with_token) = (Vec::new(), "");
    let mut entries = offered.split(',').map(|entry| entry.trim_matches([' ', '\t']));
    while let Some(entry) = entries.next() {
        let token = if entry == BEARER {
            with_token = BEARER;
            entries.next().unwrap_or_default()
        } else if let Some(token) = entry.strip_prefix(PREFIX) {
            with_token = entry;
            token
        } else {
            if !entry.is_empty() {
                others.push(entry);
            }
            continue;
        };
        presented = presented::both(
            presented,
            presented::token(token.as_bytes(), Carrier::WebSocketProtocol),
        );
    }
    let select = match others.first() {
        Some(other) if with_token != BEARER => other,
        _ => with_token,
    };
    Offered { presented, others, select }
}
