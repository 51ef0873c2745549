//! Builds the response to a denial.

use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response};
use serde::Serialize;

use crate::decision::Denial;
use crate::permission::Permissions;

/// Seconds after which a client may try again if the store could not be read.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What the responses to denials look like.
#[derive(Clone)]
pub(crate) struct DenialResponses {
    realm: Box<str>,
    challenge_of_absent: HeaderValue,
    challenge_of_invalid: HeaderValue,
    body: Option<Arc<BodyFn>>,
}

type BodyFn = dyn Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync;

impl DenialResponses {
    fn new(realm: &str) -> Self {
        // RFC 9110 section 5.6.4: no character that a quoted string would have to escape.
        let quotable = |character: char| match character {
            '"' | '\\' => '_',
            ' '..='~' => character,
            _ => '_',
        };
        let realm: Box<str> = realm.chars().map(quotable).collect();
        Self {
            // RFC 6750 section 3: no error code if nothing was presented.
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

    pub(crate) fn respond(&self, denial: Denial) -> Response<Bytes> {
        let (content_type, body) = match &self.body {
            Some(body) => body(&denial),
            None => (HeaderValue::from_static("application/json"), json_body(&denial)),
        };
        let mut response = Response::new(body);
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

/// The realm has only printable ASCII, so this never falls back.
fn header_value(challenge: String) -> HeaderValue {
    HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"))
}

impl Default for DenialResponses {
    fn default() -> Self {
        Self::new("opencode")
    }
}

impl fmt::Debug for DenialResponses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenialResponses").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// The JSON that every opencode client can show: SDK 1 reads `name` and `data.message`, SDK 2 reads
/// `_tag` and `message`.
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
    // Anyone can request these without a token, as often as they like.
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
    let name = denial.name();
    let body = Body { name, tag: name, message, data: Data { message, permissions } };
    // Strings and lists of words always serialize.
    serde_json::to_vec(&body).unwrap_or_default().into()
}
