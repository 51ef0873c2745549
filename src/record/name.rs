use std::str::FromStr;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::redact;
use crate::token::TokenId;

/// A name without characters that a list, log or terminal would interpret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenName(Box<str>);

impl TokenName {
    const MAX_CHARACTERS: usize = 64;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
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
            None => Ok(Self(name.into())),
        }
    }
}

/// The additional rules for the name of a new token. A file may contain older names that break them.
pub(super) fn check_new(name: &str) -> Result<(), NameError> {
    if redact::may_hold_token(name) {
        return Err(NameError::IsToken);
    }
    if name.parse::<TokenId>().is_ok() {
        return Err(NameError::IsId);
    }
    if name == "-" {
        return Err(NameError::IsDash);
    }
    // An empty name and one with unprintable characters have their own errors.
    if !name.is_empty()
        && name.chars().all(|character| is_blank(character) && !redact::is_unprintable(character))
    {
        return Err(NameError::Blank);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("a token's name cannot be empty: omit it, or give 1 to 64 characters")]
    Empty,
    /// The name has more than 64 characters.
    #[error("a token's name has at most 64 characters")]
    TooLong,
    /// The name contains a control or formatting character.
    #[error("a token's name cannot contain control or formatting characters, but this one contains U+{:04X}", u32::from(*.0))]
    Unprintable(char),
    /// The name contains a token or half of one. Names are shown, so they cannot contain secrets.
    #[error(
        "a token's name is not secret, but this one may contain a token: `oct_` and 12 or more of its characters"
    )]
    IsToken,
    /// The name has no visible character.
    #[error("a token's name needs a visible character")]
    Blank,
    /// The name is `-`. Lists show that for a token without a name.
    #[error("a token's name cannot be `-`, because lists show that for a token without a name")]
    IsDash,
    /// The name looks like an id and could be the id of another token.
    #[error(
        "a token's name cannot look like an id, which has 12 lower-case hexadecimal characters"
    )]
    IsId,
}
