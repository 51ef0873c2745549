//! The header `Authorization`.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, decoded_len_estimate};
use zeroize::Zeroize as _;

use super::presented::{self, Credential, Presented};
use crate::carrier::Carrier;
use crate::decision::Denial;
use crate::token::TokenDigest;

/// The longest base64 text that is decoded. It leaves room for a user name of 700 bytes.
pub(super) const MAX_ENCODED: usize = 1024;

/// RFC 7617 requires padding, and clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the value of the header: a scheme in any case, one or more spaces, and the credentials. Another
/// scheme counts as absent.
#[inline]
pub(super) fn read(value: &[u8], accept_basic: bool) -> Presented {
    if let Some(parameter) = strip_scheme(value, *b"Bearer") {
        return strip_spaces(parameter).map_or(Err(Denial::CredentialsMalformed), |token| {
            presented::token(token, Carrier::Bearer)
        });
    }
    if accept_basic && let Some(parameter) = strip_scheme(value, *b"Basic") {
        return strip_spaces(parameter).map_or(Err(Denial::CredentialsMalformed), |encoded| {
            user_and_token(encoded, Carrier::Basic)
        });
    }
    Err(Denial::CredentialsAbsent)
}

/// Reads `base64(user:token)`: the token is everything after the first colon (RFC 7617 section 2).
pub(super) fn user_and_token(encoded: &[u8], carrier: Carrier) -> Presented {
    if encoded.len() > MAX_ENCODED {
        return Err(Denial::CredentialsMalformed);
    }
    let mut buffer = [0; MAX_ENCODED];
    // No more than this is written, so no more is wiped.
    let buffer = &mut buffer[..decoded_len_estimate(encoded.len())];
    let digest = BASE64.decode_slice(encoded, buffer).ok().and_then(|length| {
        let decoded = &buffer[..length];
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        TokenDigest::of_token(&decoded[colon + 1..]).ok()
    });
    buffer.zeroize();
    match digest {
        Some(digest) => Ok(Credential { digest, carrier, select: None }),
        None => Err(Denial::CredentialsMalformed),
    }
}

/// What follows the scheme, if the value has this scheme and the word ends there.
#[inline]
fn strip_scheme<const N: usize>(value: &[u8], scheme: [u8; N]) -> Option<&[u8]> {
    let (word, parameter) = value.split_first_chunk::<N>()?;
    let ends = parameter.first().is_none_or(|byte| !is_token_character(*byte));
    (ends && word.eq_ignore_ascii_case(&scheme)).then_some(parameter)
}

/// What follows one or more spaces. RFC 9110 section 11.4 allows no tab here.
fn strip_spaces(parameter: &[u8]) -> Option<&[u8]> {
    let spaces = parameter.iter().take_while(|byte| **byte == b' ').count();
    (spaces > 0).then(|| &parameter[spaces..])
}

/// RFC 9110 section 5.6.2, `tchar`.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
