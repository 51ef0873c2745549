mod name;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcDateTime};

pub use self::name::NameError;
pub(crate) use self::name::TokenName;
use crate::permission::Permissions;
use crate::redact;
use crate::timestamp;
use crate::token::{RandomError, Token, TokenDigest, TokenId};

const DAY: u64 = 24 * 60 * 60;

/// What is kept of a token: everything but the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    id: TokenId,
    name: Option<TokenName>,
    digest: TokenDigest,
    permissions: Permissions,
    created_at: UtcDateTime,
    expires_at: Option<UtcDateTime>,
    /// The same in seconds since 1970, for every request compares it with a clock that has no calendar.
    expires_at_unix: Option<i64>,
}

impl TokenRecord {
    /// Puts a record together from what a store of one's own kept. New tokens come from
    /// [`NewToken::issue`]. Parts of a second are dropped.
    ///
    /// # Errors
    ///
    /// [`NewTokenError`] if the name cannot be a name, the set of permissions is empty, or a time is
    /// outside the years 0 to 9999.
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
            expires_at_unix: expires_at.map(UtcDateTime::unix_timestamp),
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

    /// What the token is looked up by.
    #[must_use]
    pub const fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// What the token allows.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// When the token's secret was made, to the second.
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
    /// By a clock that stands before 1970, which knows no time, every token that can expire is expired.
    #[must_use]
    pub fn is_expired(&self, now: impl Into<SystemTime>) -> bool {
        let now = now.into().duration_since(SystemTime::UNIX_EPOCH).ok();
        let now = now.and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or(i64::MAX);
        self.expires_at_unix.is_some_and(|expires_at| now >= expires_at)
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
    /// The record as it may be shown: `id`, `name`, `permissions`, `created_at`, `expires_at`, and no
    /// digest. A `name` that is not there, and an expiry that never comes, are `null`.
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

/// What a new token shall be: by default without a name, with all permissions, for 90 days.
///
/// ```
/// use opencode_auth::{Expiry, NewToken, Permissions};
///
/// let read_only = NewToken::new().name("dashboard").permissions(Permissions::READ).expires(Expiry::days(30));
/// # let _ = read_only;
/// ```
#[derive(Clone)]
#[must_use = "a `NewToken` is only a description: give it to a store's `create`"]
pub struct NewToken {
    name: Option<String>,
    permissions: Permissions,
    expiry: Expiry,
}

impl NewToken {
    /// A token without a name, with all permissions, that expires after 90 days.
    pub fn new() -> Self {
        Self { name: None, permissions: Permissions::ALL, expiry: Expiry::default() }
    }

    /// Names the token: 1 to 64 characters, at least one of which can be seen, none of them a control or
    /// formatting character, and not the name of another token of the store. A name is shown, so it cannot
    /// have a token in it, nor the first half of one: `oct_` and 12 characters of base64url.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets what the token allows.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets when the token expires.
    pub fn expires(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Makes the secret, and the record that a store keeps of it. Stores call this; hosts call
    /// [`FileTokenStore::create`](crate::FileTokenStore::create).
    ///
    /// # Errors
    ///
    /// [`NewTokenError`] if the name, the permissions or the expiry cannot be, or if the operating
    /// system gives no random bits.
    pub fn issue(&self, now: UtcDateTime) -> Result<(Token, TokenRecord), NewTokenError> {
        self.name.as_deref().map_or(Ok(()), name::check_new)?;
        let token = Token::generate()?;
        let record = TokenRecord::new(
            TokenId::generate()?,
            self.name.as_deref(),
            token.digest(),
            self.permissions,
            now,
            self.expiry.starting_at(now)?,
        )?;
        Ok((token, record))
    }
}

impl fmt::Debug for NewToken {
    /// A name is only checked when the token is made, so that it may be a secret until then.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken")
            .field("name", &self.name.as_deref().map(redact::unless_token))
            .field("permissions", &self.permissions)
            .field("expiry", &self.expiry)
            .finish()
    }
}

impl Default for NewToken {
    fn default() -> Self {
        Self::new()
    }
}

/// When a token expires. The default is 90 days after it was made.
///
/// As text ([`FromStr`]): `12h`, `90d`, `2w` or `1y` (365 days) from now, `never`, a date such as
/// `2027-01-31` (its first second in UTC), or a date and time as in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The token works until it is deleted.
    Never,
    /// The token works for this long. Parts of a second are dropped.
    After(Duration),
    /// The token works before this time. Parts of a second are dropped.
    At(UtcDateTime),
}

impl Expiry {
    /// The token works for this many days of 24 hours.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self::After(Duration::from_secs(days as u64 * DAY))
    }

    /// The token works for this many hours.
    #[must_use]
    pub const fn hours(hours: u32) -> Self {
        Self::After(Duration::from_secs(hours as u64 * 60 * 60))
    }

    /// The time of expiry for a token made at `now`.
    fn starting_at(self, now: UtcDateTime) -> Result<Option<UtcDateTime>, NewTokenError> {
        let now = timestamp::whole_seconds(now);
        let expires_at = match self {
            Self::Never => return Ok(None),
            Self::After(lifetime) => lifetime
                .try_into()
                .ok()
                .and_then(|lifetime| now.checked_add(lifetime))
                .ok_or(NewTokenError::TimeOutOfRange)?,
            Self::At(time) => time,
        };
        let expires_at = timestamp::whole_seconds(expires_at);
        if expires_at <= now {
            return Err(NewTokenError::ExpiryInThePast);
        }
        Ok(Some(expires_at))
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self::days(90)
    }
}

impl FromStr for Expiry {
    type Err = ParseExpiryError;

    /// # Errors
    ///
    /// [`ParseExpiryError`] for a text of another form.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return time.checked_to_utc().map(Self::At).ok_or(ParseExpiryError);
        }
        if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
            return Ok(Self::At(date.midnight().as_utc()));
        }
        let (number, unit) =
            text.split_at_checked(text.len().wrapping_sub(1)).ok_or(ParseExpiryError)?;
        let unit_seconds = match unit {
            "h" => 60 * 60,
            "d" => DAY,
            "w" => 7 * DAY,
            "y" => 365 * DAY,
            _ => return Err(ParseExpiryError),
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseExpiryError);
        }
        let seconds =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_seconds));
        seconds.map(|seconds| Self::After(Duration::from_secs(seconds))).ok_or(ParseExpiryError)
    }
}

/// A text is not an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an expiry: give a time from now such as 12h, 90d, 2w or 1y, a date such as 2027-01-31, a date and time as in RFC 3339, or never"
)]
pub struct ParseExpiryError;

/// Why there can be no token such as was asked for. Nothing was made and nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewTokenError {
    /// The name cannot be a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The set of permissions is empty: the token could do nothing.
    #[error("a token needs at least one of the permissions read, write and execute")]
    NoPermissions,
    /// The token would be expired from the start.
    #[error("the expiry has to be in the future")]
    ExpiryInThePast,
    /// A time is outside the years 0 to 9999, which is all that can be written down.
    #[error("the expiry is beyond the year 9999: use never instead")]
    TimeOutOfRange,
    /// The operating system gave no random bits.
    #[error(transparent)]
    Random(#[from] RandomError),
}
