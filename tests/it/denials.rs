//! What a denied client gets: every status, header and byte.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response};
use axum::routing::any;
use opencode_auth::{
    AuthLayer, Denial, Expiry, MemoryTokenStore, NewToken, Permissions, StoreError, Token,
};
use serde_json::json;
use time::macros::utc_datetime;
use tower::ServiceExt as _;

use crate::support::{Received, authorized, bearer, request, send, store_with};

fn guard(layer: AuthLayer<MemoryTokenStore>) -> Router {
    Router::new().route("/{*path}", any(|| async { "reached" })).layer(layer)
}

/// Every header of a response, in alphabetical order.
fn headers(response: &Received) -> Vec<(&str, &str)> {
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    headers
}

#[track_caller]
fn assert_denied(response: &Received, status: u16, challenge: &str, body: &str) {
    let length = body.len().to_string();
    assert_eq!(response.status, status);
    assert_eq!(
        headers(response),
        [
            ("cache-control", "no-store"),
            ("content-length", &*length),
            ("content-type", "application/json"),
            ("www-authenticate", challenge),
        ]
    );
    assert_eq!(response.body, body);
}

const INVALID: &str = r#"Bearer realm="opencode", error="invalid_token""#;
const NOT_VALID_BODY: &str = concat!(
    r#"{"name":"UnauthorizedError","_tag":"UnauthorizedError","#,
    r#""message":"The token is not valid: it is malformed, unknown or was deleted. "#,
    r#"`opencode auth token create` creates a new one.","#,
    r#""data":{"message":"The token is not valid: it is malformed, unknown or was deleted. "#,
    r#"`opencode auth token create` creates a new one."}}"#,
);

#[tokio::test]
async fn absent_credentials_are_told_how_to_get_some() {
    let app = guard(AuthLayer::new(MemoryTokenStore::new()));
    for authorization in [None, Some("Basic dTpw"), Some("Foo x"), Some("Bearerx y"), Some("")] {
        let request = match authorization {
            None => request("GET", "/config"),
            Some(authorization) => authorized("GET", "/config", authorization),
        };
        let response = send(&app, request).await;
        assert_denied(
            &response,
            401,
            r#"Bearer realm="opencode""#,
            concat!(
                r#"{"name":"UnauthorizedError","_tag":"UnauthorizedError","#,
                r#""message":"This server requires a token: send the header "#,
                r#"`Authorization: Bearer <token>`. `opencode auth token create` creates one.","#,
                r#""data":{"message":"This server requires a token: send the header "#,
                r#"`Authorization: Bearer <token>`. `opencode auth token create` creates one."}}"#,
            ),
        );
    }
}

#[tokio::test]
async fn malformed_unknown_and_deleted_tokens_get_the_same_bytes() {
    let (store, deleted) = store_with(Permissions::ALL);
    let id = store.list()[0].id();
    let _ = store.delete(id.as_str()).unwrap();
    let unknown = Token::generate().unwrap();
    let app = guard(AuthLayer::new(store));
    for (case, authorization) in [
        ("malformed", "Bearer x".to_owned()),
        ("unknown", format!("Bearer {}", unknown.expose_secret())),
        ("deleted", format!("Bearer {}", deleted.expose_secret())),
    ] {
        let response = send(&app, authorized("POST", "/session", &authorization)).await;
        eprintln!("{case}");
        assert_denied(&response, 401, INVALID, NOT_VALID_BODY);
    }
}

#[tokio::test]
async fn an_expired_token_is_told_so() {
    let store = MemoryTokenStore::new();
    let new = NewToken::new().name("old").expires(Expiry::hours(1));
    let (token, record) = new.issue(utc_datetime!(2026-01-02 03:04:05.6)).unwrap();
    let message = format!(
        "The token {} expired at 2026-01-02T04:04:05Z. `opencode auth token create` creates a new one.",
        record.id()
    );
    store.insert(record);
    let response = send(&guard(AuthLayer::new(store)), bearer("GET", "/config", &token)).await;
    let body = format!(
        r#"{{"name":"UnauthorizedError","_tag":"UnauthorizedError","message":"{message}","data":{{"message":"{message}"}}}}"#
    );
    assert_denied(&response, 401, INVALID, &body);
}

const DOUBT: &str = " The server cannot tell what the request does (ambiguous path: empty segment): check its \
                     method and URL before you use a token with more permissions.";

#[tokio::test]
async fn a_403_names_the_missing_permission() {
    const READ: Permissions = Permissions::READ;
    const WRITE: Permissions = Permissions::WRITE;
    const EXECUTE: Permissions = Permissions::EXECUTE;
    for (granted, method, path, scope, needs, lacks) in [
        (WRITE, "GET", "/config", "read", "read", "read"),
        (READ, "PATCH", "/config", "write", "write", "write"),
        (READ, "GET", "/pty", "read execute", "read and execute", "execute"),
        (EXECUTE, "POST", "/session", "write execute", "write and execute", "write"),
        (READ, "POST", "/session", "write execute", "write and execute", "write and execute"),
        (
            READ,
            "GET",
            "//",
            "read write execute",
            "read and write and execute",
            "write and execute",
        ),
    ] {
        let (store, token) = store_with(granted);
        let response = send(&guard(AuthLayer::new(store)), bearer(method, path, &token)).await;
        let message = format!(
            "The token does not allow this request: it requires {needs}, and the token lacks {lacks}.{}",
            if path == "//" { DOUBT } else { "" }
        );
        let reason = if path == "//" { r#","reason":"ambiguous path: empty segment""# } else { "" };
        let words = |text: &str, separator| {
            serde_json::to_string(&text.split(separator).collect::<Vec<_>>()).unwrap()
        };
        let (required, missing) = (words(scope, " "), words(lacks, " and "));
        assert_denied(
            &response,
            403,
            &format!(r#"Bearer realm="opencode", error="insufficient_scope", scope="{scope}""#),
            &format!(
                r#"{{"name":"ForbiddenError","_tag":"ForbiddenError","message":"{message}","data":{{"message":"{message}","required":{required},"missing":{missing}{reason}}}}}"#
            ),
        );
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is on fire")]
struct OnFire;

#[tokio::test]
async fn a_store_that_cannot_tell_is_503_for_tokens_only() {
    let (store, token) = store_with(Permissions::ALL);
    store.fail_with(StoreError::new(OnFire));
    let policy = opencode_auth::Policy::default().public("GET".parse().unwrap(), "/health");
    let app = guard(AuthLayer::new(store.clone()).policy(policy));
    let unknown = Token::generate().unwrap();
    for token in [&token, &unknown] {
        let response = send(&app, bearer("GET", "/config", token)).await;
        let message = "The server cannot read its token store, so it cannot tell whether the token is valid. \
                       Try again later; the server's log has the reason.";
        assert_eq!(response.status, 503);
        assert_eq!(
            response.json(),
            json!({
                "name": "ServiceUnavailableError",
                "_tag": "ServiceUnavailableError",
                "message": message,
                "data": { "message": message },
            })
        );
        let length = response.body.len().to_string();
        assert_eq!(
            headers(&response),
            [
                ("cache-control", "no-store"),
                ("content-length", &*length),
                ("content-type", "application/json"),
                ("retry-after", "1"),
            ]
        );
    }
    assert_eq!(send(&app, request("GET", "/config")).await.status, 401);
    let malformed = send(&app, authorized("GET", "/config", "Bearer x")).await;
    assert_denied(&malformed, 401, INVALID, NOT_VALID_BODY);
    let public = send(&app, authorized("GET", "/health", "Bearer x")).await;
    assert_eq!((public.status.as_u16(), &*public.body), (200, "reached"));

    store.fail_with(None);
    assert_eq!(send(&app, bearer("GET", "/config", &token)).await.status, 200);
}

#[tokio::test]
async fn the_denial_travels_in_the_extensions_of_the_response() {
    let (store, token) = store_with(Permissions::READ);
    let id = store.list()[0].id();
    let app = guard(AuthLayer::new(store.clone()));
    let denial = async |request| {
        let response: Response<Body> = app.clone().oneshot(request).await.unwrap();
        let denial = response.extensions().get::<Denial>().cloned();
        denial.map(|denial| (denial.kind(), denial.status().as_u16(), denial.token_id()))
    };
    let unknown = Token::generate().unwrap();
    let absent = denial(request("GET", "/config")).await;
    assert_eq!(absent, Some(("credentials_absent", 401, None)));
    let malformed = denial(authorized("GET", "/config", "Bearer")).await;
    assert_eq!(malformed, Some(("credentials_malformed", 401, None)));
    let unknown = denial(bearer("GET", "/config", &unknown)).await;
    assert_eq!(unknown, Some(("token_unknown", 401, None)));
    let missing = denial(bearer("POST", "/config", &token)).await;
    assert_eq!(missing, Some(("permission_missing", 403, Some(id))));
    assert_eq!(denial(bearer("GET", "/config", &token)).await, None);

    store.fail_with(StoreError::new(OnFire));
    let unavailable = denial(bearer("GET", "/config", &token)).await;
    assert_eq!(unavailable, Some(("store_unavailable", 503, None)));

    let store = MemoryTokenStore::new();
    let old = NewToken::new().expires(Expiry::hours(1)).issue(utc_datetime!(2026-01-01 00:00));
    let (token, record) = old.unwrap();
    let id = record.id();
    store.insert(record);
    let app = guard(AuthLayer::new(store));
    let response = app.oneshot(bearer("GET", "/config", &token)).await.unwrap();
    let expected = Denial::TokenExpired { id, expired_at: utc_datetime!(2026-01-01 01:00) };
    assert_eq!(response.extensions().get(), Some(&expected));
    assert_eq!((expected.kind(), expected.token_id()), ("token_expired", Some(id)));
    let message = format!(
        "The token {id} expired at 2026-01-01T01:00:00Z. `opencode auth token create` creates a new one."
    );
    assert_eq!(expected.message(), message);
}

#[tokio::test]
async fn a_host_may_write_the_body_but_not_the_rest() {
    let layer = AuthLayer::new(MemoryTokenStore::new()).denial_body(|denial| {
        (HeaderValue::from_static("text/plain"), Bytes::from(format!("no: {}", denial.kind())))
    });
    let response = send(&guard(layer), request("GET", "/config")).await;
    assert_eq!(response.status, 401);
    assert_eq!(response.body, "no: credentials_absent");
    assert_eq!(
        headers(&response),
        [
            ("cache-control", "no-store"),
            ("content-length", "22"),
            ("content-type", "text/plain"),
            ("www-authenticate", r#"Bearer realm="opencode""#),
        ]
    );
}

#[tokio::test]
async fn bodies_name_the_command_of_the_host() {
    let layer = || AuthLayer::new(MemoryTokenStore::new());
    for layer in [
        layer().create_command("mine create").realm("here"),
        layer().realm("here").create_command("mine create"),
    ] {
        let app = guard(layer);
        let message = async |request| {
            let response = send(&app, request).await;
            let challenge = response.header("www-authenticate").unwrap();
            assert!(challenge.starts_with(r#"Bearer realm="here""#), "{challenge}");
            response.json()["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            message(request("GET", "/config")).await,
            "This server requires a token: send the header `Authorization: Bearer <token>`. \
             `mine create` creates one."
        );
        assert_eq!(
            message(authorized("GET", "/config", "Bearer x")).await,
            "The token is not valid: it is malformed, unknown or was deleted. \
             `mine create` creates a new one."
        );
    }
}

#[tokio::test]
async fn any_text_makes_a_sound_realm() {
    for (realm, expected) in [
        ("my server", "my server"),
        ("", ""),
        ("a\"b\\c", "a_b_c"),
        ("x\r\nSet-Cookie: a=b", "x__Set-Cookie: a=b"),
        ("tab\there \u{7f} é \u{202e}", "tab_here _ _ _"),
    ] {
        let app = guard(AuthLayer::new(MemoryTokenStore::new()).realm(realm));
        let absent = send(&app, request("GET", "/config")).await;
        let challenge = format!(r#"Bearer realm="{expected}""#);
        assert_eq!(absent.header("www-authenticate"), Some(&*challenge));
        let malformed = send(&app, authorized("GET", "/config", "Bearer x")).await;
        let challenge = format!(r#"Bearer realm="{expected}", error="invalid_token""#);
        assert_eq!(malformed.header("www-authenticate"), Some(&*challenge));
    }
}
