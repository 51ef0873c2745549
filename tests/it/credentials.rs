//! What counts as credentials: exactly one well-formed token, in a source that is switched on.

mod carriers;
mod handshake;
mod origin;
mod sources;
mod tickets;

use axum::Router;
use axum::http::HeaderValue;
use opencode_auth::{AuthLayer, MemoryTokenStore, NewToken};

use crate::marked::{Marks, routes};
use crate::support::{authorized, hexadecimal, request, send};

#[tokio::test]
async fn only_one_well_formed_bearer_token_is_credentials() {
    let (store, marks) = (MemoryTokenStore::new(), Marks::default());
    let created = store.create(NewToken::new().name("laptop")).unwrap();
    let app: Router = routes(&marks).layer(AuthLayer::new(store));
    let token = created.token.expose_secret();
    let digest = hexadecimal(created.record.digest().as_bytes());
    let last = if token.ends_with('A') { 'B' } else { 'A' };
    let wrong_checksum = format!("{}{last}", &token[..31]);
    let invalid = Some(r#"Bearer realm="opencode", error="invalid_token""#);
    let absent = Some(r#"Bearer realm="opencode""#);
    for (authorization, status, challenge) in [
        (format!("Bearer {token}"), 200, None),
        (format!("bearer {token}"), 200, None),
        (format!("BEARER {token}"), 200, None),
        (format!("bEaReR    {token}"), 200, None),
        ("Bearer".into(), 401, invalid),
        ("Bearer ".into(), 401, invalid),
        (format!("Bearer\t{token}"), 401, invalid),
        (format!("Bearer \t{token}"), 401, invalid),
        (format!("Bearer {token} "), 401, invalid),
        (format!("Bearer {token}\t"), 401, invalid),
        (format!("Bearer Bearer {token}"), 401, invalid),
        (format!("Bearer {token}, Bearer {token}"), 401, invalid),
        (format!("Bearer {token} {token}"), 401, invalid),
        (format!("Bearer {token}{token}"), 401, invalid),
        (format!("Bearer,{token}"), 401, invalid),
        (format!("Bearer=\"{token}\""), 401, invalid),
        (format!("Bearer \"{token}\""), 401, invalid),
        (format!("Bearer token={token}"), 401, invalid),
        (format!("Bearer {}", &token[..31]), 401, invalid),
        (format!("Bearer {}", &token[1..]), 401, invalid),
        (format!("Bearer {token}A"), 401, invalid),
        (format!("Bearer A{token}"), 401, invalid),
        (format!("Bearer {wrong_checksum}"), 401, invalid),
        (format!("Bearer {}", token.to_uppercase()), 401, invalid),
        (format!("Bearer {}", token.replace("oct_", "oct%5f")), 401, invalid),
        (format!("Bearer {}", created.record.id()), 401, invalid),
        ("Bearer laptop".into(), 401, invalid),
        (format!("Bearer {digest}"), 401, invalid),
        (format!("Bearer sha256:{digest}"), 401, invalid),
        (format!("Bearer {}", "A".repeat(65_536)), 401, invalid),
        (format!("Bearer {}{token}", "0".repeat(65_536)), 401, invalid),
        ("Bearer null".into(), 401, invalid),
        (String::new(), 401, absent),
        (token.to_owned(), 401, absent),
        (format!("Foo {token}"), 401, absent),
        (format!("Basic {token}"), 401, absent),
        (format!("Basic {token}, Bearer {token}"), 401, absent),
        (format!("Bearer{token}"), 401, absent),
        (format!("Bearers {token}"), 401, absent),
        (format!(" Bearer {token}"), 401, absent),
        (format!("Token {token}"), 401, absent),
    ] {
        let response = send(&app, authorized("GET", "/config", &authorization)).await;
        let shown: String = authorization.chars().take(60).collect();
        assert_eq!(response.status, status, "{shown}");
        assert_eq!(response.header("www-authenticate"), challenge, "{shown}");
        assert_eq!(marks.take().len(), usize::from(status == 200), "{shown}");
    }
}

#[tokio::test]
async fn two_authorization_headers_and_bytes_that_are_no_text_are_malformed() {
    let (store, marks) = (MemoryTokenStore::new(), Marks::default());
    let created = store.create(NewToken::new()).unwrap();
    let app: Router = routes(&marks).layer(AuthLayer::new(store));
    let token = created.token.expose_secret();
    let good = format!("Bearer {token}").into_bytes();
    for values in [
        vec![good.clone(), good.clone()],
        vec![good.clone(), b"Bearer x".to_vec()],
        vec![b"Bearer x".to_vec(), good.clone()],
        vec![b"Basic dTpw".to_vec(), good.clone()],
        vec![good.clone(), b"Basic dTpw".to_vec()],
        vec![good.clone(), Vec::new()],
        vec![b"Bearer \xff\xfe\x80".to_vec()],
        vec!["Bearer żółw".as_bytes().to_vec()],
        vec![[&good[..], b"\xff"].concat()],
        vec![[&b"Bearer \xa0"[..], token.as_bytes()].concat()],
    ] {
        let mut request = request("GET", "/config");
        for value in &values {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append("authorization", value);
        }
        let response = send(&app, request).await;
        assert_eq!(response.status, 401, "{values:?}");
        assert_eq!(
            response.header("www-authenticate"),
            Some(r#"Bearer realm="opencode", error="invalid_token""#)
        );
        assert!(marks.take().is_empty());
    }
}

#[tokio::test]
async fn a_token_elsewhere_is_no_credentials() {
    let (store, marks) = (MemoryTokenStore::new(), Marks::default());
    let created = store.create(NewToken::new()).unwrap();
    let app: Router = routes(&marks).layer(AuthLayer::new(store));
    let token = created.token.expose_secret();
    let bearer = format!("Bearer {token}");
    for (header, value) in [
        ("proxy-authorization", &*bearer),
        ("x-api-key", token),
        ("x-auth-token", token),
        ("cookie", &format!("token={token}; Authorization=Bearer {token}")),
        ("x-forwarded-authorization", &bearer),
        ("x-original-authorization", &bearer),
        ("www-authenticate", &bearer),
        ("sec-websocket-protocol", &format!("bearer, {token}")),
    ] {
        let mut request = request("GET", &format!("/config?access_token={token}&token={token}"));
        request.headers_mut().insert(header, value.parse().unwrap());
        let response = send(&app, request).await;
        assert_eq!(response.status, 401, "{header}");
        assert_eq!(response.header("www-authenticate"), Some(r#"Bearer realm="opencode""#));
    }
    assert!(marks.take().is_empty());
}
