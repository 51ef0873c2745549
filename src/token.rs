use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What every token starts with. It never changes: secret scanners look for it.
const PREFIX: &[u8; 4] = b"oct_";
/// The random part: 128 bits, so 22 base64url characters.
const RANDOM_BYTES: usize = 16;
/// Prefix and random part, which the checksum covers.
const CHECKED: usize = 26;
const LENGTH: usize = 32;

/// A bearer token: the secret itself.
///
/// 32 characters: `oct_`, then 128 random bits as 22 base64url characters (RFC 4648 section 5), then
/// the CRC-32 of those 26 characters as 6 base64url characters. The checksum tells a mistyped or
/// truncated token before any look-up, and lets secret scanners tell a real one; it is no secret.
///
/// # Security
///
/// The secret is held in one place: there is no `Clone`, `Display`, `Serialize` or `PartialEq`,
/// `Debug` prints a fixed text, and the memory is wiped on drop. Read it with
/// [`expose_secret`](Self::expose_secret), show it once, and keep only the [`digest`](Self::digest).
pub struct Token {
    text: Zeroizing<[u8; LENGTH]>,
}

impl Token {
    /// Makes a new token from 128 random bits of the operating system.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system gives no random bits.
    pub fn generate() -> Result<Self, RandomError> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        SysRng.try_fill_bytes(&mut *random).map_err(|source| RandomError(source.into()))?;
        Ok(Self::from_random(&random))
    }

    /// The token's text. Show it once, to the person or program that is going to use it.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        // The text is ASCII by construction; an empty text is no token, so nothing opens if it were not.
        str::from_utf8(&*self.text).unwrap_or_default()
    }

    /// The SHA-256 of the token's text, which is what a store keeps.
    ///
    /// A fast hash is right here: 128 random bits cannot be searched, and a slow hash would make
    /// every request slow.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of_text(&self.text)
    }

    /// Whether there is all of a token but its checksum in the text, which follows from the rest. A path that
    /// looks like one, as `oct_administrator` does, may be one's own, so that more is asked here than of
    /// what is to be shown (`redact`): 22 characters that encode 128 bits, in both cases.
    pub(crate) fn is_within(text: &str) -> bool {
        text.as_bytes().windows(CHECKED).any(|window| {
            window.starts_with(PREFIX)
                && is_base64url(window)
                && is_canonical(window)
                && window[PREFIX.len()..].iter().any(u8::is_ascii_lowercase)
                && window.iter().any(u8::is_ascii_uppercase)
        })
    }

    fn from_random(random: &[u8; RANDOM_BYTES]) -> Self {
        let mut text = Zeroizing::new([0; LENGTH]);
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        // A buffer of just the right size. Were it not, the zeros that stay are no base64url, so that
        // what comes of it is refused.
        let written = URL_SAFE_NO_PAD.encode_slice(random, &mut text[PREFIX.len()..CHECKED]);
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

    /// Reads a token's exact text.
    ///
    /// # Errors
    ///
    /// [`ParseTokenError`] for anything that [`Token::generate`] could not have made.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        token_text(text.as_bytes()).map(|text| Self { text: Zeroizing::new(*text) })
    }
}

/// A text is not a token: wrong length, prefix, alphabet or checksum. It does not say which, and
/// does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token: it was mistyped, cut short, or made by another program")]
pub struct ParseTokenError;

/// The operating system gave no random bits.
#[derive(Debug, thiserror::Error)]
#[error("failed to get random bits from the operating system: {0}")]
pub struct RandomError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// The text itself, if it is a token's.
fn token_text(text: &[u8]) -> Result<&[u8; LENGTH], ParseTokenError> {
    let text: &[u8; LENGTH] = text.try_into().map_err(|_| ParseTokenError)?;
    let (checked, checksum) = text.split_at(CHECKED);
    let is_token = checked.starts_with(PREFIX)
        && is_base64url(text)
        && is_canonical(checked)
        && checksum == checksum_of(checked);
    if is_token { Ok(text) } else { Err(ParseTokenError) }
}

/// Without an early end, which lets the compiler look at many characters at once.
fn is_base64url(text: &[u8]) -> bool {
    let is_of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_');
    text.iter().fold(true, |all, byte| all & is_of_alphabet(byte))
}

/// 128 bits fill 21 characters and the first two bits of another. The other four have to be zero, for
/// otherwise a token would have several texts.
fn is_canonical(checked: &[u8]) -> bool {
    matches!(checked.last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

/// Written out because each request needs it, and an encoder for any length takes three times as long.
fn checksum_of(checked: &[u8]) -> [u8; LENGTH - CHECKED] {
    const BASE64URL: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let [a, b, c, d] = crc32fast::hash(checked).to_be_bytes();
    [a >> 2, (a & 0x03) << 4 | b >> 4, (b & 0x0f) << 2 | c >> 6, c & 0x3f, d >> 2, (d & 0x03) << 4]
        .map(|sextet| BASE64URL[usize::from(sextet)])
}

/// The SHA-256 of a [`Token`]'s text: what a store keeps, and looks up by.
///
/// It cannot be turned back into the token, and is itself no token. `Debug` prints a fixed text all
/// the same.
///
/// Comparing digests need not take constant time: whoever times a comparison learns of the hash of
/// their own guess, which brings no guess nearer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest with these 32 bytes, as a store of one's own kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of the token that the text is. The text is not copied, for a copy would have to be
    /// wiped.
    pub(crate) fn of_token(text: &[u8]) -> Result<Self, ParseTokenError> {
        token_text(text).map(Self::of_text)
    }

    fn of_text(text: &[u8; LENGTH]) -> Self {
        Self(Sha256::digest(text.as_slice()).into())
    }

    /// The digest's 32 bytes, for a store of one's own to keep.
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

/// A token's public name for itself: 12 lower-case hexadecimal characters, safe to show and to log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; Self::LENGTH]);

impl TokenId {
    pub(crate) const LENGTH: usize = 12;

    /// Makes a new random id.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system gives no random bits.
    pub fn generate() -> Result<Self, RandomError> {
        let mut random = [0; Self::LENGTH];
        SysRng.try_fill_bytes(&mut random).map_err(|source| RandomError(source.into()))?;
        Ok(Self(random.map(|byte| b"0123456789abcdef"[usize::from(byte & 0xf)])))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // ASCII by construction.
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

    /// Reads exactly 12 lower-case hexadecimal characters.
    ///
    /// # Errors
    ///
    /// [`ParseTokenIdError`] for anything else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| ParseTokenIdError)?;
        if !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseTokenIdError);
        }
        Ok(Self(text))
    }
}

/// A text is not a token id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token id: it has 12 lower-case hexadecimal characters")]
pub struct ParseTokenIdError;

#[cfg(test)]
mod tests {
    use zeroize::Zeroize as _;

    use super::*;

    #[test]
    fn the_buffer_of_a_token_wipes_itself() {
        fn assert_wiped_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let mut token = Token::from_random(&[7; RANDOM_BYTES]);
        assert_wiped_on_drop(&token.text);
        // What `Zeroizing` does to it when it is dropped.
        token.text.zeroize();
        assert_eq!(*token.text, [0; LENGTH]);
    }

    #[test]
    fn a_token_without_its_checksum_is_seen_and_what_is_called_alike_is_not() {
        let token = "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw";
        for text in [token, &token[..26], &format!("/srv/{token}/x")] {
            assert!(Token::is_within(text), "{text}");
        }
        for text in [
            "",
            &token[..25],
            &token[4..],
            &token.to_lowercase(),
            &token.to_uppercase(),
            &token.replace("CAw", "C.w"),
            "oct_AAECAwQFBgcICQoLDA0ODx",
            "oct_administrator_of_all_w",
        ] {
            assert!(!Token::is_within(text), "{text}");
        }
    }

    /// Computed with another implementation of base64url, CRC-32 and SHA-256.
    #[test]
    fn text_and_digest_are_those_that_other_programs_compute() {
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
