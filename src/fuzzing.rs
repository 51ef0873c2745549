//! What fuzz targets use of the parts that are not public. No other build has it.

use axum::http::Request;

use crate::carrier::Carrier;
use crate::credentials::{CredentialSources, Presented};
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
    Token([u8; 32], Carrier),
}

/// Takes the credentials out of a request.
pub fn take(sources: &CredentialSources, request: &mut Request<()>) -> Taken {
    match sources.take(request, false) {
        Presented::Absent => Taken::Absent,
        Presented::Malformed | Presented::TicketInvalid => Taken::Malformed,
        Presented::Token(credential) => {
            Taken::Token(*credential.digest.as_bytes(), credential.carrier)
        }
    }
}
