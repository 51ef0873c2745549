//! Keeps tokens out of what is shown, where somebody put one in the wrong place: a path, an option, a
//! variable.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Stands for a text that is not shown.
pub(crate) const HIDDEN: &str = "<contains a token>";

/// Whether there is something in the text that begins like a token, also once or twice encoded.
pub(crate) fn may_hold_token(text: &str) -> bool {
    let once: Cow<'_, [u8]> = percent_decode(text.as_bytes()).into();
    let twice: Cow<'_, [u8]> = percent_decode(&once).into();
    [text.as_bytes(), &once, &twice]
        .iter()
        .any(|bytes| bytes.windows(4).any(|window| window.eq_ignore_ascii_case(b"oct_")))
}

/// The text, unless it may hold a token.
pub(crate) fn unless_token(text: &str) -> &str {
    if may_hold_token(text) { HIDDEN } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_seen_in_every_spelling() {
        for text in
            ["oct_", "xoct_y", "OCT_", "%6fct_", "o%63%54%5F", "%256fct_", "/x/%6f%63%74%5f/y"]
        {
            assert_eq!(unless_token(text), HIDDEN, "{text}");
        }
        for text in ["", "oct", "oct-", "o/ct_", "/config", "%", "%6fct", "octopus_"] {
            assert_eq!(unless_token(text), text);
        }
    }
}
