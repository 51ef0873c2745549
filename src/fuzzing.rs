//! What fuzz targets use of the parts that are not public. No other build has it.

use axum::http::Request;

use crate::carrier::Carrier;
use crate::credentials::{CredentialSources, Presented};
use crate::principal::Principal;
use crate::record::TokenRecord;
use crate::store::format;

/// The records in a store's file, and the file as the store would write it.
#[must_use]
pub fn rewritten(file: &[u8]) -> Option<(Vec<TokenRecord>, Vec<u8>)> {
    let document = format::parse(file).ok()?;
    let written = format::serialize(&document).ok()?;
    Some((document.records().cloned().collect(), written))
}

/// What a request presented: nothing, or something malformed, or a token's digest and its carrier.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    #[allow(missing_docs, reason = "they are the ones of the library")]
    Absent,
    #[allow(missing_docs, reason = "they are the ones of the library")]
    Malformed,
    #[allow(missing_docs, reason = "they are the ones of the library")]
    TicketInvalid,
    #[allow(missing_docs, reason = "they are the ones of the library")]
    Token([u8; 32], Carrier),
}

/// The digest of a principal's token.
#[must_use]
pub fn digest(principal: &Principal) -> [u8; 32] {
    *principal.digest().as_bytes()
}

/// Takes the credentials out of a request, or leaves them in it.
pub fn take(sources: &CredentialSources, request: &mut Request<()>, forward: bool) -> Taken {
    match sources.take(request, forward) {
        Presented::Absent => Taken::Absent,
        Presented::Malformed => Taken::Malformed,
        Presented::TicketInvalid => Taken::TicketInvalid,
        Presented::Token(credential) => {
            Taken::Token(*credential.digest.as_bytes(), credential.carrier)
        }
    }
}
