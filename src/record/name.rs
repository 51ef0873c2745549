use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::redact;

/// The fewest characters that identify an id. A new name cannot consist of as many.
pub(crate) const SHORTEST_ID_PREFIX: usize = 6;

/// A name without characters that a list, log or terminal would interpret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenName {
    stored: Box<str>,
    may_hold_token: bool,
}

impl TokenName {
    const MAX_CHARACTERS: usize = 64;

    /// The name, redacted if it may contain a token.
    pub(crate) fn as_str(&self) -> &str {
        if self.may_hold_token { redact::REDACTED } else { &self.stored }
    }

    /// The name as the file has it.
    pub(crate) fn as_stored(&self) -> &str {
        &self.stored
    }
}

impl fmt::Debug for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenName").field(&self.as_str()).finish()
    }
}

/// Equal for names that a person takes for the same: white space at the ends, case and the Unicode form do
/// not count.
pub(crate) fn fold(name: &str) -> Cow<'_, str> {
    let is_folded = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if name.bytes().all(is_folded) {
        return name.into();
    }
    let normalized: String = name.trim().nfkc().collect();
    // Upper case first: it makes one form of `ß` and `SS`, and of the two small sigmas.
    normalized.to_uppercase().to_lowercase().nfkc().collect::<String>().into()
}

impl FromStr for TokenName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        // A long text is rejected without counting its characters.
        if name.len() > 4 * Self::MAX_CHARACTERS || name.chars().count() > Self::MAX_CHARACTERS {
            return Err(NameError::TooLong);
        }
        match name.chars().find(|character| redact::is_unprintable(*character)) {
            Some(character) => Err(NameError::Unprintable(character)),
            None => Ok(Self { stored: name.into(), may_hold_token: redact::may_hold_token(name) }),
        }
    }
}

/// The additional rules for the name of a new token. A file may contain older names that break them.
pub(super) fn check_new(name: &str) -> Result<(), NameError> {
    if redact::may_hold_token(name) {
        return Err(NameError::IsToken);
    }
    if name.len() >= SHORTEST_ID_PREFIX && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NameError::LooksLikeId);
    }
    if name.starts_with('-') {
        return Err(NameError::LooksLikeOption);
    }
    // An empty name and one with unprintable characters have their own errors.
    if !name.is_empty()
        && name.chars().all(|character| is_blank(character) && !redact::is_unprintable(character))
    {
        return Err(NameError::Blank);
    }
    if name.trim() != name && !name.contains(redact::is_unprintable) {
        return Err(NameError::WhiteSpaceAtEnd);
    }
    Ok(())
}

/// Whether the character is invisible on its own.
fn is_blank(character: char) -> bool {
    // The Hangul fillers, which Unicode classes as letters, and the empty braille pattern, a symbol.
    const BLANK: [char; 5] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{2800}'];
    character.is_whitespace()
        || BLANK.contains(&character)
        || character.general_category_group() == GeneralCategoryGroup::Mark
}

/// The text cannot be the name of a token.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("a token's name cannot be empty: omit it, or give 1 to 64 characters")]
    Empty,
    /// The name has more than 64 characters.
    #[error("a token's name has at most 64 characters")]
    TooLong,
    /// The name contains a control or formatting character.
    #[error(
        "a token's name cannot contain control or formatting characters, but this one contains U+{:04X}",
        u32::from(*.0)
    )]
    Unprintable(char),
    /// The name contains a token or half of one. Names are shown, so they cannot contain secrets.
    #[error(
        "a token's name is not secret, but this one may contain a token: `oct_` and 12 or more of its characters"
    )]
    IsToken,
    /// The name has no visible character.
    #[error("a token's name needs a visible character")]
    Blank,
    /// The name begins or ends with white space, which nobody can see.
    #[error("a token's name cannot begin or end with white space")]
    WhiteSpaceAtEnd,
    /// The name begins with `-`, so commands would take it for an option.
    #[error("a token's name cannot begin with `-`, because commands would take it for an option")]
    LooksLikeOption,
    /// The name looks like an id, or the beginning of one, and could belong to another token.
    #[error(
        "a token's name cannot consist of 6 or more hexadecimal characters, because it would look like an id"
    )]
    LooksLikeId,
}

impl fmt::Debug for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Empty => "Empty",
            Self::TooLong => "TooLong",
            Self::Unprintable(_) => "Unprintable",
            Self::IsToken => "IsToken",
            Self::Blank => "Blank",
            Self::WhiteSpaceAtEnd => "WhiteSpaceAtEnd",
            Self::LooksLikeOption => "LooksLikeOption",
            Self::LooksLikeId => "LooksLikeId",
        };
        write!(f, "{self} [{variant}]")
    }
}
