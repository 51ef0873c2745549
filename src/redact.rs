//! Keeps out of what is shown what does not belong there: tokens that somebody put in the wrong place (a
//! path, an option, a variable), and characters that a terminal interprets.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Stands for a text that is not shown.
pub(crate) const HIDDEN: &str = "<contains a token>";

const PREFIX: &[u8] = b"oct_";

/// So many characters of a token's 22 secret ones are kept from view. Of fewer, 11 at most, 62 bits are
/// left to guess, and `oct_backup` may be a name.
const SECRET_CHARACTERS: usize = 12;

/// Whether there is a token in the text or more than half of one: `oct_` and 12 or more characters of
/// base64url, also once or twice percent-encoded. The checksum at a token's end counts for nothing: it
/// follows from the rest.
pub(crate) fn may_hold_token(text: &str) -> bool {
    let once: Cow<'_, [u8]> = percent_decode(text.as_bytes()).into();
    let twice: Cow<'_, [u8]> = percent_decode(&once).into();
    [text.as_bytes(), &once, &twice]
        .iter()
        .any(|bytes| bytes.windows(PREFIX.len() + SECRET_CHARACTERS).any(begins_token))
}

fn begins_token(window: &[u8]) -> bool {
    let (prefix, secret) = window.split_at(PREFIX.len());
    prefix.eq_ignore_ascii_case(PREFIX)
        && secret.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The text, unless it may hold a token.
pub(crate) fn unless_token(text: &str) -> &str {
    if may_hold_token(text) { HIDDEN } else { text }
}

/// Control and formatting characters, and the two separators that break a line: they can make a
/// terminal or a log show another name than the one that is there.
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

/// The text with those characters escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut printable, character| {
        if is_unprintable(character) {
            printable.extend(character.escape_debug());
        } else {
            printable.push(character);
        }
        printable
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_seen_in_every_spelling() {
        for prefix in
            ["oct_", "xoct_", "OCT_", "%6fct_", "o%63%54%5F", "%256fct_", "/x/%6f%63%74%5f"]
        {
            for secret in ["AbCdEf-_0123", "AbCdEf-_0123/y", "%41bCdEf-_0123", "%2541bCdEf-_0123 y"]
            {
                let text = format!("{prefix}{secret}");
                assert_eq!(unless_token(&text), HIDDEN, "{text}");
            }
        }
        for text in
            ["", "oct_", "oct_backup", "octopus_AbCdEf-_0123", "oct-AbCdEf-_0123", "%", "%6fct"]
        {
            assert_eq!(unless_token(text), text);
        }
    }

    #[test]
    fn what_a_terminal_interprets_is_escaped_and_nothing_else() {
        assert_eq!(printable("a\u{1b}[31m\n\"é漢\""), "a\\u{1b}[31m\\n\"é漢\"");
        assert_eq!(printable("\u{202e}\u{2028}\u{9b}"), "\\u{202e}\\u{2028}\\u{9b}");
    }

    #[test]
    fn half_a_token_may_be_seen_and_no_more() {
        let token = "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw";
        for length in 0..=token.len() {
            assert_eq!(may_hold_token(&token[..length]), length >= 16, "{length}");
        }
    }
}
