use axum::http::{HeaderValue, StatusCode};

use crate::carrier::Carrier;
use crate::decision::Denial;
use crate::token::TokenDigest;

/// What a request presented: a well-formed token that has not been looked up yet, or why there is none.
pub(crate) type Presented = Result<Credential, Denial>;

/// A token as a request presented it.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) digest: TokenDigest,
    pub(crate) carrier: Carrier,
    pub(crate) select: Option<Box<Selection>>,
}

/// The WebSocket protocol that a response with this status selects if the handler selects none.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) protocol: HeaderValue,
    pub(crate) status: StatusCode,
}

/// Reads the text of a token.
#[inline]
pub(super) fn token(text: &[u8], carrier: Carrier) -> Presented {
    match TokenDigest::of_token(text) {
        Ok(digest) => Ok(Credential { digest, carrier, select: None }),
        Err(_) => Err(Denial::CredentialsMalformed),
    }
}

/// What two sources present together.
pub(super) fn both(one: Presented, other: Presented) -> Presented {
    match (one, other) {
        (Err(Denial::CredentialsAbsent), presented)
        | (presented, Err(Denial::CredentialsAbsent)) => presented,
        _ => Err(Denial::CredentialsMalformed),
    }
}
