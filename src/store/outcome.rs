//! What the changes of a store answer.

use std::io;

use crate::record::TokenRecord;
use crate::token::Token;

/// Whether a change that every reader sees is also known to outlast a power cut.
#[derive(Debug)]
#[must_use]
pub enum Durability {
    /// The disk has confirmed it.
    Confirmed,
    /// The change was made, but the disk did not confirm it: a power cut may undo it, and bring a
    /// deleted token back.
    Unconfirmed(io::Error),
}

/// A new token.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "this holds the only copy of the token"]
pub struct Created {
    /// The secret. It is not kept anywhere else.
    pub token: Token,
    /// What the store keeps.
    pub record: TokenRecord,
    /// Whether the token is known to outlast a power cut.
    pub durability: Durability,
}

/// A token with a new secret.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "this holds the only copy of the new token"]
pub struct Rotated {
    /// The new secret. It is not kept anywhere else.
    pub token: Token,
    /// What the store keeps from now on.
    pub record: TokenRecord,
    /// What the store kept of the old secret, which does not work any more.
    pub replaced: TokenRecord,
    /// Whether the change is known to outlast a power cut.
    pub durability: Durability,
}

/// Tokens that were deleted.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "it says whether a power cut may bring the tokens back"]
pub struct Deleted {
    /// What the store kept of them.
    pub records: Vec<TokenRecord>,
    /// Whether the deletion is known to outlast a power cut.
    pub durability: Durability,
}

impl Deleted {
    pub(crate) const fn none() -> Self {
        Self { records: Vec::new(), durability: Durability::Confirmed }
    }
}
