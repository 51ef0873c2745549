use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use time::UtcDateTime;

use crate::permission::Permissions;
use crate::policy::Doubt;
use crate::record::TokenRecord;
use crate::store::StoreError;
use crate::timestamp;
use crate::token::TokenId;

/// The command that creates a token, unless the host's has another name.
pub(crate) const CREATE_COMMAND: &str = "opencode auth token create";

/// Decides whether the token that a store found may make a request. Pure: the same arguments always
/// give the same result.
///
/// | record | expired at `now` | granted all of `required` | result |
/// |---|---|---|---|
/// | none | | | [`Denial::TokenUnknown`] |
/// | some | yes | | [`Denial::TokenExpired`] |
/// | some | no | no | [`Denial::PermissionMissing`] |
/// | some | no | yes | the record |
pub(crate) fn authorize(
    record: Option<Arc<TokenRecord>>,
    required: Permissions,
    now: SystemTime,
) -> Result<Arc<TokenRecord>, Denial> {
    let record = record.ok_or(Denial::TokenUnknown)?;
    let id = record.id();
    if let Some(expired_at) = record.expires_at().filter(|_| record.is_expired(now)) {
        return Err(Denial::TokenExpired { id, expired_at });
    }
    let granted = record.permissions();
    if !granted.contains(required) {
        return Err(Denial::PermissionMissing { id, required, granted, doubt: None });
    }
    Ok(record)
}

/// A denial, and what its response and its event depend on.
pub(crate) struct Denied {
    pub(crate) denial: Denial,
    /// Why the store could not tell, if that is the reason.
    pub(crate) failure: Option<StoreError>,
    /// Whether the query decided: a parameter or a ticket in it decides alone.
    pub(crate) by_query: bool,
}

impl From<Denial> for Denied {
    fn from(denial: Denial) -> Self {
        Self { denial, failure: None, by_query: false }
    }
}

/// Why a request was not allowed.
///
/// It travels in the extensions of the response, so that an outer layer can count denials by kind.
/// It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// The request presented no token: 401.
    CredentialsAbsent,
    /// What the request presented is not exactly one well-formed token: 401.
    CredentialsMalformed,
    /// The store has no such token. It was deleted, or never created: 401.
    TokenUnknown,
    /// The token is expired: 401.
    TokenExpired {
        /// The token's id.
        id: TokenId,
        /// When it expired.
        expired_at: UtcDateTime,
    },
    /// The token is valid, but lacks a permission that the request requires: 403.
    PermissionMissing {
        /// The token's id.
        id: TokenId,
        /// What the request requires.
        required: Permissions,
        /// What the token was granted.
        granted: Permissions,
        /// Why the policy requires all three permissions, if it is in doubt. The URL is then a likelier
        /// mistake than the token.
        doubt: Option<Doubt>,
    },
    /// A browser added the credentials by itself, and the page that made the request is of another origin:
    /// 403.
    CrossOrigin,
    /// The ticket is unknown, used, expired or for another path: 403.
    TicketInvalid,
    /// The store could not be read, so it is unknown whether the token is valid: 503.
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
            Self::CrossOrigin => "cross_origin",
            Self::TicketInvalid => "ticket_invalid",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// The id of the token, if it is known.
    #[must_use]
    pub const fn token_id(&self) -> Option<TokenId> {
        match self {
            Self::TokenExpired { id, .. } | Self::PermissionMissing { id, .. } => Some(*id),
            Self::CredentialsAbsent
            | Self::CredentialsMalformed
            | Self::TokenUnknown
            | Self::CrossOrigin
            | Self::TicketInvalid
            | Self::StoreUnavailable => None,
        }
    }

    /// The status of the response: 401, 403 or 503.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::CredentialsAbsent
            | Self::CredentialsMalformed
            | Self::TokenUnknown
            | Self::TokenExpired { .. } => StatusCode::UNAUTHORIZED,
            Self::PermissionMissing { .. } | Self::CrossOrigin | Self::TicketInvalid => {
                StatusCode::FORBIDDEN
            }
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the client is told, in a sentence or two. Malformed, unknown and deleted tokens get the same
    /// text. Only the holder of a token's secret learns that it expired or which permission it lacks.
    #[must_use]
    pub fn message(&self) -> String {
        self.message_naming(CREATE_COMMAND)
    }

    /// The message, with the command that creates a token.
    pub(crate) fn message_naming(&self, create_command: &str) -> String {
        match self {
            Self::CredentialsAbsent => format!(
                "This server requires a token: send the header `Authorization: Bearer <token>`. \
                 `{create_command}` creates one."
            ),
            Self::CredentialsMalformed | Self::TokenUnknown => format!(
                "The token is not valid: it is malformed, unknown or was deleted. \
                 `{create_command}` creates a new one."
            ),
            Self::TokenExpired { id, expired_at } => format!(
                "The token {id} expired at {}. `{create_command}` creates a new one.",
                timestamp::format(*expired_at),
            ),
            Self::PermissionMissing { required, granted, doubt, .. } => {
                let doubt = doubt.map_or(String::new(), |doubt| {
                    format!(
                        " The server cannot tell what the request does ({doubt}): check its method and URL \
                         before you use a token with more permissions."
                    )
                });
                format!(
                    "The token does not allow this request: it requires {}, and the token lacks {}.{doubt}",
                    required.join(" and "),
                    required.difference(*granted).join(" and "),
                )
            }
            Self::CrossOrigin => {
                "The request comes from a page of another origin, and the browser added the credentials. \
                 The server can trust that origin."
                    .to_owned()
            }
            Self::TicketInvalid => {
                "The ticket is not valid: it is unknown, used, expired or for another path. Request a new \
                 one."
                    .to_owned()
            }
            Self::StoreUnavailable => {
                "The server cannot read its token store, so it cannot tell whether the token is \
                 valid. Try again later; the server's log has the reason."
                    .to_owned()
            }
        }
    }

    /// The error name that opencode clients show.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CredentialsAbsent
            | Self::CredentialsMalformed
            | Self::TokenUnknown
            | Self::TokenExpired { .. } => "UnauthorizedError",
            Self::PermissionMissing { .. } | Self::CrossOrigin | Self::TicketInvalid => {
                "ForbiddenError"
            }
            Self::StoreUnavailable => "ServiceUnavailableError",
        }
    }
}
