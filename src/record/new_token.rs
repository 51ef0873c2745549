use std::fmt;

use time::UtcDateTime;

use crate::permission::Permissions;
use crate::record::TokenRecord;
use crate::record::error::NewTokenError;
use crate::record::expiry::Expiry;
use crate::record::name;
use crate::redact;
use crate::token::{Token, TokenId};

/// The description of a new token. By default it has no name and all permissions, and it expires after
/// 90 days.
///
/// ```
/// use opencode_auth::{Expiry, NewToken, Permissions};
///
/// let read_only = NewToken::new().name("dashboard").permissions(Permissions::READ).expires(Expiry::days(30));
/// # let _ = read_only;
/// ```
#[derive(Clone)]
#[must_use = "a `NewToken` is only a description: pass it to a store's `create`"]
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

    /// Names the token. A name has 1 to 64 characters, at least one of them visible, no control or formatting
    /// characters, and no white space at its ends. It does not begin with `-`, because commands would take it
    /// for an option, and it does not consist of 6 or more hexadecimal characters, because it would look like
    /// an id. Names are shown, so a name cannot contain a token or the first half of one (`oct_` and 12
    /// characters of base64url).
    ///
    /// No other token of the store has the name. Names that differ only in case or in their Unicode form are
    /// the same name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the permissions of the token.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets when the token expires.
    pub fn expires(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// The name that it describes. It has not been checked.
    #[cfg(feature = "postgres")]
    pub(crate) fn described_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Generates the secret and the record that a store keeps of it. Stores call this. Hosts call
    /// [`FileTokenStore::create`](crate::FileTokenStore::create).
    ///
    /// # Errors
    ///
    /// [`NewTokenError`] if the name, the permissions or the expiry is invalid, or if the operating system
    /// provides no random bits.
    pub fn issue(&self, now: UtcDateTime) -> Result<(Token, TokenRecord), NewTokenError> {
        self.name.as_deref().map_or(Ok(()), name::check_new)?;
        let token = Token::generate()?;
        let record = TokenRecord::expiring(
            TokenId::generate()?,
            self.name.as_deref(),
            token.digest(),
            self.permissions,
            now,
            self.expiry,
        )?;
        Ok((token, record))
    }
}

impl fmt::Debug for NewToken {
    /// Redacts the name, because it is not checked before the token is created.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken")
            .field("name", &self.name.as_deref().map(redact::redact))
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
