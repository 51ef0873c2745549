//! What fuzz targets use of the parts that are not public. No other build has it.

use axum::http::Request;

use crate::carrier::Carrier;
use crate::credentials::CredentialSources;
use crate::decision::Denial;
use crate::principal::Principal;
use crate::record::TokenRecord;
use crate::store::format;

/// The records in a store's file, and the file as the store would write it.
#[must_use]
pub fn round_trip(file: &[u8]) -> Option<(Vec<TokenRecord>, Vec<u8>)> {
    let document = format::parse(file).ok()?;
    let written = format::serialize(&document).ok()?;
    Some((document.records().cloned().collect(), written))
}

/// The digest of a principal's token.
#[must_use]
pub fn digest(principal: &Principal) -> [u8; 32] {
    *principal.digest().as_bytes()
}

/// Takes the credentials out of a request, or leaves them in it. Returns the token's digest and its carrier.
///
/// # Errors
///
/// Why the request presented no token.
pub fn take(
    sources: &CredentialSources,
    request: &mut Request<()>,
    forward: bool,
) -> Result<([u8; 32], Carrier), Denial> {
    let credential = sources.take(request, forward).map_err(|denied| denied.denial)?;
    Ok((*credential.digest.as_bytes(), credential.carrier))
}
