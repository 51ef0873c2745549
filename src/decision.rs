use std::sync::Arc;
use std::time::SystemTime;

use time::UtcDateTime;

use crate::permission::Permissions;
use crate::principal::Principal;
use crate::record::TokenRecord;
use crate::token::TokenId;

/// Decides whether the token that a store found may do what a request needs. Pure: the same arguments
/// always give the same answer.
///
/// | record | expired at `now` | holds all of `required` | answer |
/// |---|---|---|---|
/// | none | | | [`Denial::TokenUnknown`] |
/// | some | yes | | [`Denial::TokenExpired`] |
/// | some | no | no | [`Denial::PermissionMissing`] |
/// | some | no | yes | the [`Principal`] |
///
/// # Errors
///
/// The [`Denial`] of the table.
pub fn authorize(
    record: Option<Arc<TokenRecord>>,
    required: Permissions,
    now: impl Into<SystemTime>,
) -> Result<Principal, Denial> {
    let record = record.ok_or(Denial::TokenUnknown)?;
    let id = record.id();
    if let Some(expired_at) = record.expires_at().filter(|_| record.is_expired(now)) {
        return Err(Denial::TokenExpired { id, expired_at });
    }
    let granted = record.permissions();
    if !granted.contains(required) {
        return Err(Denial::PermissionMissing { id, required, granted });
    }
    Ok(Principal::new(record))
}

/// Why a request was not let through.
///
/// It travels in the extensions of the response, so that an outer layer can count refusals by kind.
/// Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// The request presented no bearer token: 401.
    CredentialsAbsent,
    /// What the request presented is not one well-formed bearer token: 401.
    CredentialsMalformed,
    /// The store holds no such token: it was deleted, or never made: 401.
    TokenUnknown,
    /// The token is expired: 401.
    TokenExpired {
        /// The token's id.
        id: TokenId,
        /// When it expired.
        expired_at: UtcDateTime,
    },
    /// The token is valid, but does not allow the request: 403.
    PermissionMissing {
        /// The token's id.
        id: TokenId,
        /// What the request needs.
        required: Permissions,
        /// What the token holds.
        granted: Permissions,
    },
    /// Nobody could tell, because the store cannot be read: 503.
    StoreUnavailable,
}

impl Denial {
    /// One word for logs and counters, such as `token_expired`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CredentialsAbsent => "credentials_absent",
            Self::CredentialsMalformed => "credentials_malformed",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired { .. } => "token_expired",
            Self::PermissionMissing { .. } => "permission_missing",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// The id of the token, where it is known.
    #[must_use]
    pub const fn token_id(&self) -> Option<TokenId> {
        match self {
            Self::TokenExpired { id, .. } | Self::PermissionMissing { id, .. } => Some(*id),
            Self::CredentialsAbsent
            | Self::CredentialsMalformed
            | Self::TokenUnknown
            | Self::StoreUnavailable => None,
        }
    }
}
