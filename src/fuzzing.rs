//! What fuzzing reaches of the parts that are not public. Not there in any other build.

use axum::http::HeaderMap;

use crate::credentials::Credentials;
use crate::record::TokenRecord;
use crate::store::format;

/// The records in a store's file, and the file as it would be written again.
#[must_use]
pub fn rewritten(file: &[u8]) -> Option<(Vec<TokenRecord>, Vec<u8>)> {
    let document = format::parse(file).ok()?;
    let written = format::serialize(&document).ok()?;
    Some((document.records().cloned().collect(), written))
}

/// The credentials as a request's are read, which takes them off the headers.
#[must_use]
pub fn taken(headers: &mut HeaderMap) -> Credentials {
    Credentials::take(headers)
}
