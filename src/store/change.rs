//! The results and errors of a change to a store.

use std::fmt;
use std::io;

use time::UtcDateTime;

use crate::hex;
use crate::record::{NameError, NewTokenError, TokenRecord};
use crate::store::StoreError;
use crate::timestamp;
use crate::token::{Token, TokenId};

/// Whether a change outlasts a power cut. Every reader sees it in either case.
#[derive(Debug)]
#[must_use]
pub enum Durability {
    /// The disk has confirmed the change.
    Confirmed,
    /// The disk did not confirm the change. A power cut may undo it, and bring a deleted token back.
    Unconfirmed(io::Error),
}

/// A new token.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "this holds the only copy of the token"]
pub struct Created {
    /// The secret. It is not kept anywhere else.
    pub token: Token,
    /// The record that the store keeps.
    pub record: TokenRecord,
    /// Whether the token outlasts a power cut.
    pub durability: Durability,
}

/// A token with a new secret.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "this holds the only copy of the new token"]
pub struct Rotated {
    /// The new secret. It is not kept anywhere else.
    pub token: Token,
    /// The record that the store keeps from now on.
    pub record: TokenRecord,
    /// The record of the old secret, which no longer works.
    pub replaced: TokenRecord,
    /// Whether the change outlasts a power cut.
    pub durability: Durability,
}

/// Deleted tokens.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "it says whether a power cut may bring the tokens back"]
pub struct Deleted {
    /// The records of the tokens.
    pub records: Vec<TokenRecord>,
    /// Whether the deletion outlasts a power cut.
    pub durability: Durability,
}

impl Deleted {
    pub(crate) const fn none() -> Self {
        Self { records: Vec::new(), durability: Durability::Confirmed }
    }
}

/// Tokens could not be created, rotated or deleted. Nothing was changed, except perhaps with
/// [`OutcomeUnknown`](Self::OutcomeUnknown).
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The description of the new token is not valid.
    #[error(transparent)]
    Invalid(#[from] NewTokenError),
    /// Another token has the name.
    #[error("a token named `{}` exists already; delete it first, or rotate it for a new secret", .name.escape_debug())]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No token has this id, name or beginning of an id.
    #[error("no token has the id or name `{}`{}", .id_or_name.escape_debug(), too_short(.id_or_name))]
    NotFound {
        /// The id or name that was given.
        id_or_name: String,
    },
    /// A token was given in place of an id or name. The error does not repeat it.
    #[error(
        "no token has this id or name: it looks like a token itself; give the token's id or its name"
    )]
    IdOrNameIsToken,
    /// Several tokens have this name or an id that begins like this.
    #[error("`{}` can mean several tokens: {}", .id_or_name.escape_debug(), listed(.candidates))]
    Ambiguous {
        /// The text that was given.
        id_or_name: String,
        /// The tokens that it may mean.
        candidates: Vec<TokenRecord>,
    },
    /// The token to rotate is expired. A rotation would revive it, so it needs a new expiry.
    #[error("the token {id} expired at {}; give a new expiry to revive it", timestamp::format(*.expired_at))]
    Expired {
        /// The token's id.
        id: TokenId,
        /// When it expired.
        expired_at: UtcDateTime,
    },
    /// The connection broke during the commit, and the store could not find out whether the change was made.
    /// List the tokens before you try again. Only a store on a network has this outcome.
    #[error(
        "it is not known whether the change was made; look at the tokens before you try again: {0}"
    )]
    OutcomeUnknown(#[source] StoreError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl fmt::Debug for ChangeError {
    /// The sentence first: `unwrap`, and `main` when it returns an error, show this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Invalid(error) => return write!(f, "{self} [Invalid({error:?})]"),
            Self::Store(error) => return fmt::Debug::fmt(error, f),
            Self::NameTaken { .. } => "NameTaken",
            Self::NotFound { .. } => "NotFound",
            Self::IdOrNameIsToken => "IdOrNameIsToken",
            Self::Ambiguous { .. } => "Ambiguous",
            Self::Expired { .. } => "Expired",
            Self::OutcomeUnknown(_) => "OutcomeUnknown",
        };
        write!(f, "{self} [{variant}]")
    }
}

impl From<NameError> for ChangeError {
    fn from(error: NameError) -> Self {
        Self::Invalid(error.into())
    }
}

/// What to add for a text that may be the beginning of an id.
fn too_short(id_or_name: &str) -> &'static str {
    if matches!(id_or_name.len(), 1..6) && hex::is_hex(id_or_name.as_bytes()) {
        " (of the beginning of an id, at least 6 characters are needed)"
    } else {
        ""
    }
}

fn listed(records: &[TokenRecord]) -> String {
    let words: Vec<String> = records
        .iter()
        .map(|record| match record.name() {
            Some(name) => format!("{} ({name})", record.id()),
            None => record.id().to_string(),
        })
        .collect();
    words.join(", ")
}
