//! What a refused client is told.

use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::decision::Denial;
use crate::permission::Permissions;
use crate::timestamp;

/// Seconds after which a client may try again when the store could not be read.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

impl Denial {
    /// The response's status: 401, 403 or 503.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::CredentialsAbsent
            | Self::CredentialsMalformed
            | Self::TokenUnknown
            | Self::TokenExpired { .. } => StatusCode::UNAUTHORIZED,
            Self::PermissionMissing { .. } => StatusCode::FORBIDDEN,
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the client is told, in a sentence or two. Malformed, unknown and deleted tokens are told
    /// the same; that a token expired, or what it lacks, learns only who holds its secret.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::CredentialsAbsent => {
                "This server needs a token: send the header `Authorization: Bearer <token>`. \
                 `opencode auth token create` makes one."
                    .to_owned()
            }
            Self::CredentialsMalformed | Self::TokenUnknown => {
                "The token is not valid: it is malformed, unknown or was deleted. \
                 `opencode auth token create` makes a new one."
                    .to_owned()
            }
            Self::TokenExpired { id, expired_at } => format!(
                "The token {id} expired at {}. `opencode auth token create` makes a new one.",
                timestamp::format(*expired_at),
            ),
            Self::PermissionMissing { required, granted, .. } => format!(
                "The token does not allow this request: it needs {}, and the token lacks {}.",
                required.join(" and "),
                required.difference(*granted).join(" and "),
            ),
            Self::StoreUnavailable => {
                "The server cannot read its token store, so it cannot tell whether the token is \
                 valid. Try again later; the server's log has the reason."
                    .to_owned()
            }
        }
    }

    /// The name that opencode clients show for the answer.
    const fn name(&self) -> &'static str {
        match self {
            Self::CredentialsAbsent
            | Self::CredentialsMalformed
            | Self::TokenUnknown
            | Self::TokenExpired { .. } => "UnauthorizedError",
            Self::PermissionMissing { .. } => "ForbiddenError",
            Self::StoreUnavailable => "ServiceUnavailableError",
        }
    }
}

/// How refusals are answered.
#[derive(Clone)]
pub(crate) struct Answers {
    realm: Box<str>,
    challenge_of_absent: HeaderValue,
    challenge_of_invalid: HeaderValue,
    body: Option<Arc<BodyFn>>,
}

type BodyFn = dyn Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync;

impl Answers {
    fn new(realm: &str) -> Self {
        // RFC 9110 section 5.6.4: what would need an escape in a quoted string is left out of it.
        let sound = |character: char| match character {
            '"' | '\\' => '_',
            ' '..='~' => character,
            _ => '_',
        };
        let realm: Box<str> = realm.chars().map(sound).collect();
        Self {
            // RFC 6750 section 3: no error code where nothing was presented.
            challenge_of_absent: header_value(format!(r#"Bearer realm="{realm}""#)),
            challenge_of_invalid: header_value(format!(
                r#"Bearer realm="{realm}", error="invalid_token""#
            )),
            realm,
            body: None,
        }
    }

    pub(crate) fn set_realm(&mut self, realm: &str) {
        *self = Self { body: self.body.take(), ..Self::new(realm) };
    }

    pub(crate) fn set_body(
        &mut self,
        body: impl Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) {
        self.body = Some(Arc::new(body));
    }

    pub(crate) fn answer<B: From<Bytes>>(&self, denial: Denial) -> Response<B> {
        let (content_type, body) = match &self.body {
            Some(body) => body(&denial),
            None => (HeaderValue::from_static("application/json"), json_body(&denial)),
        };
        let mut response = Response::new(B::from(body));
        *response.status_mut() = denial.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.challenge(&denial) {
            Some(challenge) => headers.insert(WWW_AUTHENTICATE, challenge),
            None => headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS),
        };
        response.extensions_mut().insert(denial);
        response
    }

    /// None for a 503.
    fn challenge(&self, denial: &Denial) -> Option<HeaderValue> {
        match denial {
            Denial::CredentialsAbsent => Some(self.challenge_of_absent.clone()),
            Denial::CredentialsMalformed | Denial::TokenUnknown | Denial::TokenExpired { .. } => {
                Some(self.challenge_of_invalid.clone())
            }
            Denial::PermissionMissing { required, .. } => {
                let realm = &self.realm;
                let scope = required.join(" ");
                Some(header_value(format!(
                    r#"Bearer realm="{realm}", error="insufficient_scope", scope="{scope}""#
                )))
            }
            Denial::StoreUnavailable => None,
        }
    }
}

/// The realm was made sound; were it not, a challenge without it is still one.
fn header_value(challenge: String) -> HeaderValue {
    HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"))
}

impl Default for Answers {
    fn default() -> Self {
        Self::new("opencode")
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// The shape that every opencode client shows well: its first SDK reads `name` and `data.message`, its
/// second one `_tag` and `message`.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    #[serde(rename = "_tag")]
    tag: &'a str,
    message: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    message: &'a str,
    #[serde(flatten)]
    permissions: Option<PermissionData>,
}

#[derive(Serialize)]
struct PermissionData {
    required: Permissions,
    missing: Permissions,
}

fn json_body(denial: &Denial) -> Bytes {
    // Whoever has no token can ask for these as often as they like.
    static ABSENT: LazyLock<Bytes> = LazyLock::new(|| to_json(&Denial::CredentialsAbsent));
    static INVALID: LazyLock<Bytes> = LazyLock::new(|| to_json(&Denial::TokenUnknown));
    match denial {
        Denial::CredentialsAbsent => ABSENT.clone(),
        Denial::CredentialsMalformed | Denial::TokenUnknown => INVALID.clone(),
        Denial::TokenExpired { .. }
        | Denial::PermissionMissing { .. }
        | Denial::StoreUnavailable => to_json(denial),
    }
}

fn to_json(denial: &Denial) -> Bytes {
    let message = &denial.message();
    let permissions = match denial {
        Denial::PermissionMissing { required, granted, .. } => {
            Some(PermissionData { required: *required, missing: required.difference(*granted) })
        }
        Denial::CredentialsAbsent
        | Denial::CredentialsMalformed
        | Denial::TokenUnknown
        | Denial::TokenExpired { .. }
        | Denial::StoreUnavailable => None,
    };
    let body = Body {
        name: denial.name(),
        tag: denial.name(),
        message,
        data: Data { message, permissions },
    };
    // Strings and lists of words always serialise.
    serde_json::to_vec(&body).unwrap_or_default().into()
}
