use std::str::FromStr;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::redact;
use crate::token::TokenId;

/// A name that every list, log and terminal shows as it is.
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
        // Counting the characters of a long text is not needed to know that it is too long.
        if name.len() > 4 * Self::MAX_CHARACTERS || name.chars().count() > Self::MAX_CHARACTERS {
            return Err(NameError::TooLong);
        }
        match name.chars().find(|character| redact::is_unprintable(*character)) {
            Some(character) => Err(NameError::Unprintable(character)),
            None => Ok(Self(name.into())),
        }
    }
}

/// What a new token's name must not be, either. A name that a file has already is left to it.
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
    // What is empty or has other faults has an error of its own.
    if !name.is_empty()
        && name.chars().all(|character| is_blank(character) && !redact::is_unprintable(character))
    {
        return Err(NameError::Blank);
    }
    Ok(())
}

/// Whether nothing is seen of a character by itself.
fn is_blank(character: char) -> bool {
    // The fillers of Hangul, which count as letters, and the braille pattern without a dot, a symbol.
    const BLANK: [char; 5] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{2800}'];
    character.is_whitespace()
        || BLANK.contains(&character)
        || character.general_category_group() == GeneralCategoryGroup::Mark
}

/// Why a text cannot be a token's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no character.
    #[error("a token's name cannot be empty: leave it out, or give 1 to 64 characters")]
    Empty,
    /// The name has more than 64 characters.
    #[error("a token's name has at most 64 characters")]
    TooLong,
    /// The name has a control or formatting character.
    #[error("a token's name cannot have control or formatting characters, and this one has U+{:04X}", u32::from(*.0))]
    Unprintable(char),
    /// The name has a token in it, or half of one: a secret does not belong where it is shown.
    #[error(
        "a token's name is shown to everybody, and this one may have a token in it: `oct_` and 12 or more of its characters"
    )]
    IsToken,
    /// No character of the name can be seen.
    #[error("a token's name needs a character that can be seen")]
    Blank,
    /// The name is `-`, which stands for no name in lists.
    #[error("a token's name cannot be `-`, which lists show for a token without a name")]
    IsDash,
    /// The name has the form of an id: it may be that of another token.
    #[error("a token's name cannot have the form of an id, 12 lower-case hexadecimal characters")]
    IsId,
}
