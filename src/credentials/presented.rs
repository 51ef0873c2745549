use axum::http::{HeaderValue, StatusCode};

use crate::carrier::Carrier;
use crate::token::TokenDigest;

/// What a request presented.
#[derive(Debug)]
pub(crate) enum Presented {
    /// No credentials in any of the sources.
    Absent,
    /// Something that is not exactly one well-formed token.
    Malformed,
    /// A ticket that cannot be redeemed.
    TicketInvalid,
    /// A well-formed token. It has not been looked up yet.
    Token(Credential),
}

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

impl Presented {
    #[inline]
    pub(super) fn token(text: &[u8], carrier: Carrier) -> Self {
        match TokenDigest::of_token(text) {
            Ok(digest) => Self::Token(Credential { digest, carrier, select: None }),
            Err(_) => Self::Malformed,
        }
    }

    /// What two sources present together.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, presented) | (presented, Self::Absent) => presented,
            _ => Self::Malformed,
        }
    }
}
