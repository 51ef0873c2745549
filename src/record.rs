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
pub(crate) use self::name::{SHORTEST_ID_PREFIX, TokenName, fold};
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
    has_fixed_expiry: bool,
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
            has_fixed_expiry: false,
        })
    }

    /// The same record with an expiry that a rotation keeps, because it was given as a date and not as a
    /// duration.
    #[must_use]
    pub const fn with_fixed_expiry(mut self) -> Self {
        self.has_fixed_expiry = self.expires_at.is_some();
        self
    }

    /// The token's public id.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// The token's name, if it has one. Stores reject a new name that contains a token. If a file contains
    /// such a name, this is `<contains a token>` in its place.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(TokenName::as_str)
    }

    /// The name as the file has it. It may contain a token and is not for showing.
    pub(crate) fn stored_name(&self) -> Option<&str> {
        self.name.as_ref().map(TokenName::as_stored)
    }

    /// The digest that stores look the token up by.
    #[must_use]
    pub const fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// The permissions that the token is granted.
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

    /// Whether a rotation keeps [`expires_at`](Self::expires_at), because it was given as a date. Otherwise
    /// the lifetime starts again.
    #[must_use]
    pub const fn has_fixed_expiry(&self) -> bool {
        self.has_fixed_expiry
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

    /// The same record with a new secret. Without a new expiry, a date stays and a duration starts again.
    pub(crate) fn renewed(
        &self,
        digest: TokenDigest,
        expiry: Option<Expiry>,
        now: UtcDateTime,
    ) -> Result<Self, NewTokenError> {
        let expiry = match (expiry, self.expires_at) {
            (Some(expiry), _) => expiry,
            (None, None) => Expiry::Never,
            (None, Some(date)) if self.has_fixed_expiry => Expiry::At(date),
            (None, Some(expires_at)) => Expiry::After(
                (expires_at - self.created_at)
                    .try_into()
                    .map_err(|_| NewTokenError::ExpiryInThePast)?,
            ),
        };
        Self::expiring(self.id, self.stored_name(), digest, self.permissions, now, expiry)
    }

    /// A record whose secret was generated now.
    fn expiring(
        id: TokenId,
        name: Option<&str>,
        digest: TokenDigest,
        permissions: Permissions,
        now: UtcDateTime,
        expiry: Expiry,
    ) -> Result<Self, NewTokenError> {
        let record = Self::new(id, name, digest, permissions, now, expiry.starting_at(now)?)?;
        Ok(if expiry.is_fixed() { record.with_fixed_expiry() } else { record })
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
