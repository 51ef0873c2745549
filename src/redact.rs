//! Makes text safe to print or log: redacts tokens that somebody put in the wrong place (a path, an option,
//! a variable) and escapes characters that a terminal interprets.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// What a redacted text is replaced by.
pub(crate) const REDACTED: &str = "<contains a token>";

/// Every token starts with this. It never changes: secret scanners look for it.
pub(crate) const TOKEN_PREFIX: &[u8; 4] = b"oct_";
/// The random part of a token: 128 bits in base64url.
pub(crate) const TOKEN_RANDOM_LENGTH: usize = 22;

/// A text with this many of a token's 22 random characters is redacted. A text with 11 of them leaves 62 bits
/// to guess, and `oct_backup` may be a name.
const REDACTED_LENGTH: usize = 12;

/// Whether the text contains a token or more than half of one: `oct_` and 12 or more characters of base64url,
/// also percent-encoded once or twice. The checksum at the end of a token does not count, because it follows
/// from the rest.
pub(crate) fn may_hold_token(text: &str) -> bool {
    let once: Cow<'_, [u8]> = percent_decode(text.as_bytes()).into();
    let twice: Cow<'_, [u8]> = percent_decode(&once).into();
    [text.as_bytes(), &once, &twice].iter().any(|bytes| {
        bytes.windows(TOKEN_PREFIX.len() + REDACTED_LENGTH).any(|window| {
            let (prefix, random) = window.split_at(TOKEN_PREFIX.len());
            prefix.eq_ignore_ascii_case(TOKEN_PREFIX) && is_base64url(random)
        })
    })
}

/// Whether the text contains all of a token except the checksum. This is stricter than [`may_hold_token`]:
/// a path with `oct_administrator` in it is redacted in messages, and still accepted.
pub(crate) fn holds_token(text: &str) -> bool {
    text.as_bytes().windows(TOKEN_PREFIX.len() + TOKEN_RANDOM_LENGTH).any(|window| {
        let (prefix, random) = window.split_at(TOKEN_PREFIX.len());
        prefix == TOKEN_PREFIX
            && is_base64url(random)
            && is_canonical(random)
            && random.iter().any(u8::is_ascii_lowercase)
            && random.iter().any(u8::is_ascii_uppercase)
    })
}

/// Checks every byte without an early return, so that the compiler can vectorize it.
pub(crate) fn is_base64url(text: &[u8]) -> bool {
    let is_of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_');
    text.iter().fold(true, |all, byte| all & is_of_alphabet(byte))
}

/// Whether the last character of a token's random part has no stray bits. 128 bits fill 21 characters and two
/// bits of the next. The other four bits must be zero, or a token would have several texts.
pub(crate) fn is_canonical(random: &[u8]) -> bool {
    matches!(random.last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

/// The text, or [`REDACTED`] if it may contain a token.
pub(crate) fn redact(text: &str) -> &str {
    if may_hold_token(text) { REDACTED } else { text }
}

/// Whether a terminal or a log would interpret the character: control and formatting characters, and the two
/// Unicode separators that break a line. Such a character can make a name look like another one.
pub(crate) fn is_unprintable(character: char) -> bool {
    !matches!(character, ' '..='~')
        && matches!(
            character.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        )
}

/// The text with unprintable characters escaped.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        if is_unprintable(character) {
            escaped.extend(character.escape_debug());
        } else {
            escaped.push(character);
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_redacted_in_every_spelling() {
        for prefix in
            ["oct_", "xoct_", "OCT_", "%6fct_", "o%63%54%5F", "%256fct_", "/x/%6f%63%74%5f"]
        {
            for secret in ["AbCdEf-_0123", "AbCdEf-_0123/y", "%41bCdEf-_0123", "%2541bCdEf-_0123 y"]
            {
                let text = format!("{prefix}{secret}");
                assert_eq!(redact(&text), REDACTED, "{text}");
            }
        }
        for text in
            ["", "oct_", "oct_backup", "octopus_AbCdEf-_0123", "oct-AbCdEf-_0123", "%", "%6fct"]
        {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn only_unprintable_characters_are_escaped() {
        assert_eq!(escape("a\u{1b}[31m\n\"é漢\""), "a\\u{1b}[31m\\n\"é漢\"");
        assert_eq!(escape("\u{202e}\u{2028}\u{9b}"), "\\u{202e}\\u{2028}\\u{9b}");
    }

    #[test]
    fn at_most_half_a_token_is_shown() {
        let token = "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw";
        for length in 0..=token.len() {
            assert_eq!(may_hold_token(&token[..length]), length >= 16, "{length}");
        }
    }

    #[test]
    fn a_token_without_its_checksum_is_found_and_a_similar_name_is_not() {
        let token = "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw";
        for text in [token, &token[..26], &format!("/srv/{token}/x")] {
            assert!(holds_token(text), "{text}");
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
            assert!(!holds_token(text), "{text}");
        }
    }
}
