mod name;
mod error;
mod expiry;
mod new_token;

use std::time::SystemTime;

use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use time::UtcDateTime;

pub use self::error::NewTokenError;
pub use self::expiry::{Expiry, ParseExpiryError};
pub use self::name::NameError;
pub(crate) use self::name::TokenName;
pub use self::new_token::NewToken;
use crate::permission::Permissions;
use crate::timestamp;
use crate::token::{TokenDigest, TokenId};

/// What a store keeps of a token: everything except the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    id: TokenId,
    name: Option<TokenName>,
    digest: TokenDigest,
    permissions: Permissions,
    created_at: UtcDateTime,
    expires_at: Option<UtcDateTime>,
}

impl TokenRecord {
    /// Builds a record from the values that your own store kept. [`NewToken::issue`] makes new tokens.
    /// Fractions of a second are dropped.
    ///
    /// # Errors
    ///
    /// [`NewTokenError`] if the name is invalid, the set of permissions is empty, or a time is outside the
    /// years 0 to 9999.
    pub fn new(
        id: TokenId,
        name: Option<&str>,
        digest: TokenDigest,
        permissions: Permissions,
        created_at: UtcDateTime,
        expires_at: Option<UtcDateTime>,
    ) -> Result<Self, NewTokenError> {
        if permissions.is_empty() {
            return Err(NewTokenError::NoPermissions);
        }
        if [Some(created_at), expires_at]
            .iter()
            .flatten()
            .any(|time| !(0..=9999).contains(&time.year()))
        {
            return Err(NewTokenError::TimeOutOfRange);
        }
        Ok(Self {
            id,
            name: name.map(str::parse).transpose()?,
            digest,
            permissions,
            created_at: timestamp::whole_seconds(created_at),
            expires_at: expires_at.map(timestamp::whole_seconds),
        })
    }

    /// The token's public id.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// The token's name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(TokenName::as_str)
    }

    /// The digest that stores look the token up by.
    #[must_use]
    pub const fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// What the token allows.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// When the token's secret was generated, to the second.
    #[must_use]
    pub const fn created_at(&self) -> UtcDateTime {
        self.created_at
    }

    /// The first second at which the token is expired; `None` if it never expires.
    #[must_use]
    pub const fn expires_at(&self) -> Option<UtcDateTime> {
        self.expires_at
    }

    /// Whether the token is expired at `now`: from the second of [`expires_at`](Self::expires_at) on.
    ///
    /// If the clock reads a time before 1970, every token with an expiry counts as expired.
    #[must_use]
    pub fn is_expired(&self, now: impl Into<SystemTime>) -> bool {
        let now = now.into().duration_since(SystemTime::UNIX_EPOCH).ok();
        let now = now.and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or(i64::MAX);
        self.expires_at.is_some_and(|expires_at| now >= expires_at.unix_timestamp())
    }

    /// The same record with a new secret, whose lifetime starts again at `now`.
    pub(crate) fn renewed(
        &self,
        digest: TokenDigest,
        now: UtcDateTime,
    ) -> Result<Self, NewTokenError> {
        let lifetime = self.expires_at.map(|expires_at| expires_at - self.created_at);
        let expires_at = match lifetime {
            None => None,
            Some(lifetime) if lifetime.is_positive() => {
                Some(now.checked_add(lifetime).ok_or(NewTokenError::TimeOutOfRange)?)
            }
            Some(_) => return Err(NewTokenError::ExpiryInThePast),
        };
        Self::new(self.id, self.name(), digest, self.permissions, now, expires_at)
    }
}

impl Serialize for TokenRecord {
    /// Serializes the fields that may be shown: `id`, `name`, `permissions`, `created_at` and `expires_at`,
    /// but not the digest. A token without a name has `null` as its `name`, and a token that never expires
    /// has `null` as its `expires_at`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("TokenRecord", 5)?;
        fields.serialize_field("id", self.id.as_str())?;
        fields.serialize_field("name", &self.name())?;
        fields.serialize_field("permissions", &self.permissions)?;
        fields.serialize_field("created_at", &timestamp::format(self.created_at))?;
        fields.serialize_field("expires_at", &self.expires_at.map(timestamp::format))?;
        fields.end()
    }
}
