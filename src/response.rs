//! Builds the response to a denial.

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::decision::{CREATE_COMMAND, Denial};
use crate::permission::Permissions;

/// Seconds after which a client may try again if the store could not be read.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The form of the responses to denials.
#[derive(Clone)]
pub(crate) struct DenialResponses {
    realm: Box<str>,
    create_command: Box<str>,
    body: Option<Arc<BodyFn>>,
    bearer: HeaderValue,
    bearer_invalid: HeaderValue,
    basic: HeaderValue,
    /// Anyone can request these without a token, as often as they like.
    absent_body: Bytes,
    invalid_body: Bytes,
}

type BodyFn = dyn Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync;

impl DenialResponses {
    fn new(realm: &str, create_command: &str, body: Option<Arc<BodyFn>>) -> Self {
        // RFC 9110 section 5.6.4: no character that a quoted string would have to escape.
        let quotable = |character: char| match character {
            '"' | '\\' => '_',
            ' '..='~' => character,
            _ => '_',
        };
        let realm: Box<str> = realm.chars().map(quotable).collect();
        Self {
            // RFC 6750 section 3: no error code if nothing was presented.
            bearer: header_value(format!(r#"Bearer realm="{realm}""#)),
            bearer_invalid: header_value(format!(
                r#"Bearer realm="{realm}", error="invalid_token""#
            )),
            basic: header_value(format!(r#"Basic realm="{realm}", charset="UTF-8""#)),
            absent_body: json_body(&Denial::CredentialsAbsent, create_command),
            invalid_body: json_body(&Denial::TokenUnknown, create_command),
            realm,
            create_command: create_command.into(),
            body,
        }
    }

    pub(crate) fn set_realm(&mut self, realm: &str) {
        *self = Self::new(realm, &self.create_command, self.body.take());
    }

    pub(crate) fn set_create_command(&mut self, command: &str) {
        *self = Self::new(&self.realm, command, self.body.take());
    }

    pub(crate) fn set_body(
        &mut self,
        body: impl Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) {
        self.body = Some(Arc::new(body));
    }

    /// Builds the response. `offers_basic` says whether a browser's login dialog could help.
    pub(crate) fn respond(&self, denial: Denial, offers_basic: bool) -> Response<Bytes> {
        let (content_type, body) = match &self.body {
            Some(body) => body(&denial),
            None => (HeaderValue::from_static("application/json"), self.json_body(&denial)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = denial.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match &denial {
            Denial::CredentialsAbsent => {
                headers.insert(WWW_AUTHENTICATE, self.bearer.clone());
            }
            Denial::CredentialsMalformed | Denial::TokenUnknown | Denial::TokenExpired { .. } => {
                headers.insert(WWW_AUTHENTICATE, self.bearer_invalid.clone());
            }
            Denial::PermissionMissing { required, .. } => {
                let (realm, scope) = (&self.realm, required.join(" "));
                let challenge = format!(
                    r#"Bearer realm="{realm}", error="insufficient_scope", scope="{scope}""#
                );
                headers.insert(WWW_AUTHENTICATE, header_value(challenge));
            }
            // Another token would not help.
            Denial::CrossOrigin | Denial::TicketInvalid => {}
            Denial::StoreUnavailable => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
        }
        // A separate line: Chromium ignores a challenge that follows another in one line.
        if offers_basic && denial.status() == StatusCode::UNAUTHORIZED {
            headers.append(WWW_AUTHENTICATE, self.basic.clone());
        }
        response.extensions_mut().insert(denial);
        response
    }

    fn json_body(&self, denial: &Denial) -> Bytes {
        match denial {
            Denial::CredentialsAbsent => self.absent_body.clone(),
            Denial::CredentialsMalformed | Denial::TokenUnknown => self.invalid_body.clone(),
            Denial::TokenExpired { .. }
            | Denial::PermissionMissing { .. }
            | Denial::CrossOrigin
            | Denial::TicketInvalid
            | Denial::StoreUnavailable => json_body(denial, &self.create_command),
        }
    }
}

/// Whether a browser's login dialog helps with a denied request: if nothing was presented, or if a person
/// navigates. A script's request would hang behind the dialog. But the browser also needs the challenge to
/// send the password that it remembers, which it leaves out of the first requests of a page.
pub(crate) fn dialog_helps(denial: &Denial, headers: &HeaderMap) -> bool {
    *denial == Denial::CredentialsAbsent
        || headers.get(SEC_FETCH_MODE).is_none_or(|mode| mode == "navigate")
}

/// The realm has only printable ASCII, so this never falls back.
fn header_value(challenge: String) -> HeaderValue {
    HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"))
}

impl Default for DenialResponses {
    fn default() -> Self {
        Self::new("opencode", CREATE_COMMAND, None)
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
    /// The doubt of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn json_body(denial: &Denial, create_command: &str) -> Bytes {
    let message = &denial.message_naming(create_command);
    let permissions = match denial {
        Denial::PermissionMissing { required, granted, doubt, .. } => Some(PermissionData {
            required: *required,
            missing: required.difference(*granted),
            reason: doubt.map(|doubt| doubt.to_string()),
        }),
        Denial::CredentialsAbsent
        | Denial::CredentialsMalformed
        | Denial::TokenUnknown
        | Denial::TokenExpired { .. }
        | Denial::CrossOrigin
        | Denial::TicketInvalid
        | Denial::StoreUnavailable => None,
    };
    let name = denial.name();
    let body = Body { name, tag: name, message, data: Data { message, permissions } };
    // Strings and lists of words always serialize.
    serde_json::to_vec(&body).unwrap_or_default().into()
}
