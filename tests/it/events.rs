//! What the library logs: each denial, each change of the store's state, and nothing secret.

use std::fs;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::stream;
use http_body_util::BodyExt as _;
use opencode_auth::{
    AuthLayer, Expiry, FileTokenStore, MemoryTokenStore, NewToken, Permissions, Policy, StoreError,
    Token,
};
use time::{Duration, UtcDateTime};
use tower::ServiceExt as _;

use crate::marked::{Marks, routes};
use crate::recorder::{Recorder, install, take_of_store, take_of_streams};
use crate::support::store::find;
use crate::support::{authorized, bearer, request, send, store_with};

fn app(store: &MemoryTokenStore) -> Router {
    let policy = Policy::default().public("GET".parse().unwrap(), "/global/health");
    routes(&Marks::default()).layer(AuthLayer::new(store.clone()).policy(policy))
}

/// The one event of one denied request: kind, method, path, token, rule and error.
async fn denial_event(app: &Router, request: Request<Body>) -> [Option<String>; 6] {
    let recorder = Recorder::start();
    send(app, request).await;
    let events = recorder.take_own();
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!((&*event.level, event.field("message")), ("INFO", Some("request denied")));
    ["kind", "method", "path", "token", "rule", "error"]
        .map(|name| event.field(name).map(str::to_owned))
}

fn fields(fields: [&str; 6]) -> [Option<String>; 6] {
    fields.map(|field| (!field.is_empty()).then(|| field.to_owned()))
}

#[tokio::test]
async fn each_denial_is_one_event() {
    let (store, read) = store_with(Permissions::READ);
    let id = store.list()[0].id().to_string();
    let past = UtcDateTime::now() - Duration::hours(2);
    let (old, record) = NewToken::new().expires(Expiry::hours(1)).issue(past).unwrap();
    let old_id = record.id().to_string();
    store.insert(record);
    let unknown = Token::generate().unwrap();
    let app = app(&store);
    for (request, expected) in [
        (
            request("GET", "/config?access_token=secret"),
            ["credentials_absent", "GET", "/config", "", "method", ""],
        ),
        (
            authorized("PATCH", "/config", "Bearer x"),
            ["credentials_malformed", "PATCH", "/config", "", "method", ""],
        ),
        (
            bearer("GET", "/session/1", &unknown),
            ["token_unknown", "GET", "/session/1", "", "prefix /session", ""],
        ),
        (
            bearer("PURGE", "/config", &old),
            ["token_expired", "PURGE", "/config", &*old_id, "unknown method", ""],
        ),
        (
            bearer("GET", "//pty?x", &read),
            ["permission_missing", "GET", "//pty", &*id, "ambiguous path: empty segment", ""],
        ),
    ] {
        assert_eq!(denial_event(&app, request).await, fields(expected));
    }

    store.fail_with(StoreError::new(std::io::Error::other("the disk is on fire")));
    let expected = ["store_unavailable", "GET", "/config", "", "method", "the disk is on fire"];
    assert_eq!(denial_event(&app, bearer("GET", "/config", &read)).await, fields(expected));
}

#[tokio::test]
async fn an_allowed_request_logs_nothing() {
    let (store, read) = store_with(Permissions::READ);
    let app = app(&store);
    let recorder = Recorder::start();
    assert_eq!(send(&app, bearer("GET", "/config", &read)).await.status, 200);
    assert_eq!(send(&app, request("GET", "/global/health")).await.status, 200);
    let events = recorder.take_own();
    assert!(events.is_empty(), "{events:#?}");
}

#[tokio::test]
async fn streams_that_end_with_their_token_are_one_event() {
    install();
    let (store, token) = store_with(Permissions::ALL);
    let endless = || stream::pending::<Result<&str, std::convert::Infallible>>();
    let app = Router::new()
        .fallback(move || std::future::ready(Body::from_stream(endless())))
        .layer(AuthLayer::new(store.clone()));
    let open = async || {
        let response = app.clone().oneshot(bearer("GET", "/event", &token)).await.unwrap();
        response.into_body()
    };
    let mut bodies = [open().await, open().await];
    let id = store.list()[0].id();
    assert_eq!(take_of_streams(id.as_str()).len(), 0);
    let _ = store.delete(id.as_str()).unwrap();
    for body in &mut bodies {
        assert!(body.frame().await.is_none());
    }
    // The event comes after the end, and another one would come in the same round or the next.
    let began = Instant::now();
    let mut events = take_of_streams(id.as_str());
    while events.is_empty() && began.elapsed().as_secs() < 5 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        events = take_of_streams(id.as_str());
    }
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    events.extend(take_of_streams(id.as_str()));
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!((&*events[0].level, events[0].field("kind")), ("INFO", Some("token_unknown")));
}

#[tokio::test]
async fn a_logged_path_is_cut_escaped_and_without_tokens() {
    let app = app(&MemoryTokenStore::new());
    let token = Token::generate().unwrap();
    let token = token.expose_secret();
    let long = format!("/{}", "a".repeat(300));
    let cut_inside_a_character = format!("/{}é", "a".repeat(254));
    let beyond_the_cut = format!("/{}{token}", "a".repeat(251));
    // Each character is encoded twice, so the first of them may be all that is left of it.
    let encoded: String = token.bytes().map(|byte| format!("%25{byte:02x}")).collect();
    let hidden = "<contains a token>";
    for (path, logged) in [
        ("/a%20b/é", r"/a%20b/\u{e9}"),
        ("/\u{202e}gol", r"/\u{202e}gol"),
        ("/\u{9b}31m", r"/\u{9b}31m"),
        (&*long, &long[..256]),
        (&*cut_inside_a_character, &cut_inside_a_character[..255]),
        (&*format!("/x/{token}"), hidden),
        (&*format!("/x/{}/y", token.to_uppercase()), hidden),
        (&*format!("/x/{}", token.replacen('o', "%6F", 1)), hidden),
        (&*format!("/x/{}", token.replacen("oct_", "%6f%63%74%5f", 1)), hidden),
        (&*format!("/x/{}", token.replacen('_', "%255f", 1)), hidden),
        (&*beyond_the_cut, hidden),
        (&*format!("/{}{encoded}", "a".repeat(254)), hidden),
        (&*format!("/{}{encoded}", "a".repeat(256)), &long[..256]),
        (&*format!("/{}oct_", "a".repeat(252)), &*format!("/{}oct", "a".repeat(252))),
    ] {
        let [_, _, path, ..] = denial_event(&app, request("GET", path)).await;
        assert_eq!(path.as_deref(), Some(logged));
    }
    let [_, method, ..] = denial_event(&app, request(token, "/config")).await;
    assert_eq!(method.as_deref(), Some(hidden));
    let [_, method, ..] = denial_event(&app, request(&"M".repeat(300), "/config")).await;
    assert_eq!(method.as_deref(), Some(&*"M".repeat(256)));
}

#[test]
fn each_state_of_the_file_is_one_event_from_the_start_on() {
    crate::recorder::install();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth-tokens.json");
    let events = |count: usize| {
        let mut shown = Vec::new();
        let asked = Instant::now();
        // They come from another thread, and may take a moment.
        while shown.len() < count && asked.elapsed() < std::time::Duration::from_secs(10) {
            std::thread::sleep(std::time::Duration::from_millis(5));
            shown.extend(take_of_store(&path).into_iter().map(|event| {
                let error =
                    event.field("error").map(|error| format!(": {error}")).unwrap_or_default();
                let tokens =
                    event.field("tokens").map(|tokens| format!(", {tokens}")).unwrap_or_default();
                format!("{} {}{error}{tokens}", event.level, event.field("message").unwrap())
            }));
        }
        shown
    };
    let store = FileTokenStore::open(&path).unwrap();
    assert_eq!(events(1), ["WARN token store is missing: every request is denied"]);
    let created = store.create(NewToken::new()).unwrap();
    let good = fs::read(&path).unwrap();
    let _ = FileTokenStore::open(&path).unwrap();
    assert_eq!(events(1), ["INFO token store is open, 1"]);

    let look = || {
        std::thread::sleep(std::time::Duration::from_millis(11));
        find(&store, &created.token.digest())
            .map(|record| record.is_some())
            .map_err(|error| error.to_string())
    };
    // The file was missing when the store was opened.
    assert_eq!((look(), look()), (Ok(true), Ok(true)));
    assert_eq!(events(1), ["INFO token store is there"]);

    fs::write(&path, r#"{"version": 1, "tokens": [oct_planted"#).unwrap();
    let error = look().unwrap_err();
    assert!(
        error.contains("line 1, column 27: the file is not one complete JSON object"),
        "{error}"
    );
    let broken = "ERROR token store cannot be read: requests with a token get a 503";
    assert_eq!(events(1), [format!("{broken}: {error}")]);
    assert_eq!((look(), look(), events(0)), (Err(error.clone()), Err(error), vec![]));

    fs::write(&path, &good).unwrap();
    assert_eq!((look(), look()), (Ok(true), Ok(true)));
    assert_eq!(events(1), ["INFO token store can be read again"]);

    fs::remove_file(&path).unwrap();
    assert_eq!((look(), look()), (Ok(false), Ok(false)));
    assert_eq!(events(1), ["WARN token store is missing: every request is denied"]);

    fs::write(&path, &good).unwrap();
    assert_eq!(look(), Ok(true));
    assert_eq!(events(1), ["INFO token store is there"]);
}
