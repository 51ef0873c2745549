use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::hex;
use crate::redact::{TOKEN_PREFIX, TOKEN_RANDOM_LENGTH, is_base64url, is_canonical};

const RANDOM_BYTES: usize = 16;
/// The checksum covers the prefix and the random part.
const CHECKED: usize = TOKEN_PREFIX.len() + TOKEN_RANDOM_LENGTH;
const LENGTH: usize = CHECKED + 6;

/// A bearer token: the secret itself.
///
/// A token has 32 characters: `oct_`, 128 random bits as 22 base64url characters (RFC 4648 section 5), and
/// the CRC-32 of those 26 characters as 6 base64url characters. The checksum exposes a mistyped or truncated
/// token before any look-up, and secret scanners recognize a real token by it. It is not secret.
///
/// # Security
///
/// The secret exists in one place: there is no `Clone`, `Display`, `Serialize` or `PartialEq`, `Debug` prints
/// a fixed text, and the memory is wiped on drop. Read it with [`expose_secret`](Self::expose_secret), show
/// it once, and keep only the [`digest`](Self::digest).
pub struct Token {
    text: Zeroizing<[u8; LENGTH]>,
}

impl Token {
    /// Generates a token from 128 random bits of the operating system.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system provides no random bits.
    pub fn generate() -> Result<Self, RandomError> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        SysRng.try_fill_bytes(&mut *random).map_err(|source| RandomError(source.into()))?;
        Ok(Self::from_random(&random))
    }

    /// The token's text. Show it once, to the person or program that will use it.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        // The text is always ASCII. If it were not, an empty text would not be a valid token.
        str::from_utf8(&*self.text).unwrap_or_default()
    }

    /// The SHA-256 of the token's text. Stores keep this.
    ///
    /// A fast hash is enough: nobody can search 128 random bits, and a slow hash would slow down every
    /// request.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of_text(&self.text)
    }

    fn from_random(random: &[u8; RANDOM_BYTES]) -> Self {
        let mut text = Zeroizing::new([0; LENGTH]);
        text[..TOKEN_PREFIX.len()].copy_from_slice(TOKEN_PREFIX);
        // The buffer has exactly the right size. If it did not, it would keep zeros, which are not base64url,
        // and the token would be rejected.
        let written = URL_SAFE_NO_PAD.encode_slice(random, &mut text[TOKEN_PREFIX.len()..CHECKED]);
        debug_assert!(written.is_ok());
        let checksum = checksum_of(&text[..CHECKED]);
        text[CHECKED..].copy_from_slice(&checksum);
        Self { text }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<secret>)")
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    /// Parses the exact text of a token.
    ///
    /// # Errors
    ///
    /// [`ParseTokenError`] if [`Token::generate`] could not have generated the text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        token_text(text.as_bytes()).map(|text| Self { text: Zeroizing::new(*text) })
    }
}

/// The text is not a token: its length, prefix, alphabet or checksum is wrong. The error does not say which
/// and does not repeat the text.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: it was mistyped, truncated, or made by another program")]
pub struct ParseTokenError;

impl fmt::Debug for ParseTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [ParseTokenError]")
    }
}

/// The operating system provided no random bits.
#[derive(Debug, thiserror::Error)]
#[error("failed to get random bits from the operating system: {0}")]
pub struct RandomError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// The text, if it is the text of a token.
fn token_text(text: &[u8]) -> Result<&[u8; LENGTH], ParseTokenError> {
    let text: &[u8; LENGTH] = text.try_into().map_err(|_| ParseTokenError)?;
    let (checked, checksum) = text.split_at(CHECKED);
    let is_token = checked.starts_with(TOKEN_PREFIX)
        && is_base64url(text)
        && is_canonical(checked)
        && checksum == checksum_of(checked);
    if is_token { Ok(text) } else { Err(ParseTokenError) }
}

/// The CRC-32 in base64url: 32 bits, and 4 zeros that fill up the last of 6 characters.
fn checksum_of(checked: &[u8]) -> [u8; LENGTH - CHECKED] {
    let bits = u64::from(crc32fast::hash(checked)) << 4;
    [30, 24, 18, 12, 6, 0].map(|place| BASE64URL[(bits >> place & 63) as usize])
}

/// The alphabet of RFC 4648 section 5.
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The SHA-256 of a [`Token`]'s text. Stores keep it and look tokens up by it.
///
/// A digest cannot be turned back into its token, and it is not accepted as one. `Debug` still prints a fixed
/// text.
///
/// Digests need no comparison in constant time. The timing reveals something about the hash of the caller's
/// own guess, which does not help with the next guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest with these 32 bytes, as your own store kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of the token with this text. It does not copy the text, because a copy would have to be
    /// wiped.
    pub(crate) fn of_token(text: &[u8]) -> Result<Self, ParseTokenError> {
        token_text(text).map(Self::of_text)
    }

    fn of_text(text: &[u8; LENGTH]) -> Self {
        Self(Sha256::digest(text.as_slice()).into())
    }

    /// The digest's 32 bytes, for your own store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// A token's public id: 12 lower-case hexadecimal characters, safe to show and to log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; Self::LENGTH]);

impl TokenId {
    pub(crate) const LENGTH: usize = 12;

    /// Generates a random id.
    pub(crate) fn generate() -> Result<Self, RandomError> {
        let mut random = [0; Self::LENGTH];
        SysRng.try_fill_bytes(&mut random).map_err(|source| RandomError(source.into()))?;
        Ok(Self(random.map(hex::digit)))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The text is always ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({})", self.as_str())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    /// Parses exactly 12 lower-case hexadecimal characters.
    ///
    /// # Errors
    ///
    /// [`ParseTokenIdError`] for anything else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| ParseTokenIdError)?;
        if hex::is_hex(&text) { Ok(Self(text)) } else { Err(ParseTokenIdError) }
    }
}

/// The text is not a token id.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token id: it has 12 lower-case hexadecimal characters")]
pub struct ParseTokenIdError;

impl fmt::Debug for ParseTokenIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [ParseTokenIdError]")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroize as _;

    use super::*;

    #[test]
    fn the_buffer_of_a_token_is_wiped() {
        fn assert_wiped_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let mut token = Token::from_random(&[7; RANDOM_BYTES]);
        assert_wiped_on_drop(&token.text);
        // `Zeroizing` does this on drop.
        token.text.zeroize();
        assert_eq!(*token.text, [0; LENGTH]);
    }

    /// The expected values come from another implementation of base64url, CRC-32 and SHA-256.
    #[test]
    fn text_and_digest_equal_those_of_other_implementations() {
        let counted = std::array::from_fn(|position| position.to_le_bytes()[0]);
        for (random, text, digest) in [
            ([0; RANDOM_BYTES], "oct_AAAAAAAAAAAAAAAAAAAAAAT5D3NQ", [0x34, 0x93, 0x50, 0x7a]),
            (counted, "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw", [0x4b, 0xae, 0x5e, 0xce]),
            ([255; RANDOM_BYTES], "oct______________________wZ-3CAA", [0xd3, 0x9b, 0x1f, 0xf0]),
        ] {
            let token = Token::from_random(&random);
            assert_eq!(token.expose_secret(), text);
            assert_eq!(token.digest().as_bytes()[..4], digest);
        }
    }
}
