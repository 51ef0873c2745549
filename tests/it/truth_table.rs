//! Method x path x permissions x state of the token, against a reference written anew.

use axum::Router;
use opencode_auth::{
    AuthLayer, Expiry, MemoryTokenStore, NewToken, NewTokenError, Permissions, Token, TokenRecord,
};
use time::{Duration, UtcDateTime};

use crate::marked::{Marks, routes};
use crate::support::{authorized, permission_sets, request, send};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Plain,
    Interactive,
    Ambiguous,
}

const METHODS: [(&str, Permissions); 14] = [
    ("GET", Permissions::READ),
    ("HEAD", Permissions::READ),
    ("OPTIONS", Permissions::READ),
    ("POST", Permissions::WRITE),
    ("PUT", Permissions::WRITE),
    ("PATCH", Permissions::WRITE),
    ("DELETE", Permissions::WRITE),
    ("TRACE", Permissions::ALL),
    ("CONNECT", Permissions::ALL),
    ("PROPFIND", Permissions::ALL),
    ("QUERY", Permissions::ALL),
    ("get", Permissions::ALL),
    ("Get", Permissions::ALL),
    ("GETT", Permissions::ALL),
];

const PATHS: [(&str, Family); 27] = [
    ("/", Family::Plain),
    ("/config", Family::Plain),
    ("/config/", Family::Plain),
    ("/config?x=/session", Family::Plain),
    ("/nowhere/at/all", Family::Plain),
    ("/sessions", Family::Plain),
    ("/session.json", Family::Plain),
    ("/ptyx", Family::Plain),
    ("/x/session", Family::Plain),
    ("/files/a.b/...", Family::Plain),
    ("/files/%C3%A9", Family::Plain),
    ("/session", Family::Interactive),
    ("/session/", Family::Interactive),
    ("/session/1?x=/config", Family::Interactive),
    ("/session/1/message", Family::Interactive),
    ("/pty", Family::Interactive),
    ("/pty/1/connect", Family::Interactive),
    ("/message", Family::Interactive),
    ("/message/x", Family::Interactive),
    ("/SESSION", Family::Interactive),
    ("/%73ession/1", Family::Interactive),
    ("//session", Family::Ambiguous),
    ("/config/../session", Family::Ambiguous),
    ("/config/%2e%2e/config", Family::Ambiguous),
    ("/config;x=1", Family::Ambiguous),
    ("/config%2f", Family::Ambiguous),
    ("/config%00", Family::Ambiguous),
];

/// What a request requires, by the reference.
fn needed(by_method: Permissions, family: Family) -> Permissions {
    match family {
        Family::Plain => by_method,
        Family::Interactive => by_method | Permissions::EXECUTE,
        Family::Ambiguous => Permissions::ALL,
    }
}

/// What is presented, and what may come of it whatever the permissions are.
#[derive(Debug)]
enum State {
    Valid,
    Expired,
    Deleted,
    Unknown,
    Malformed,
    Absent,
}

struct Case {
    state: State,
    granted: Permissions,
    authorization: Option<String>,
}

fn cases(store: &MemoryTokenStore) -> Vec<Case> {
    let presented = |token: &Token| format!("Bearer {}", token.expose_secret());
    let mut cases =
        vec![Case { state: State::Absent, granted: Permissions::NONE, authorization: None }];
    for granted in permission_sets().filter(|granted| !granted.is_empty()) {
        let new = || NewToken::new().permissions(granted);
        let mut add = |state, authorization| {
            cases.push(Case { state, granted, authorization: Some(authorization) });
        };

        let valid = presented(&store.create(new()).unwrap().token);
        add(State::Malformed, valid.replace("oct_", "oct-"));
        add(State::Valid, valid);

        let two_hours_ago = UtcDateTime::now() - Duration::hours(2);
        let (token, record) = new().expires(Expiry::hours(1)).issue(two_hours_ago).unwrap();
        store.insert(record);
        add(State::Expired, presented(&token));

        let deleted = store.create(new()).unwrap();
        let _ = store.delete(deleted.record.id().as_str()).unwrap();
        add(State::Deleted, presented(&deleted.token));

        add(State::Unknown, presented(&Token::generate().unwrap()));
    }
    cases
}

#[tokio::test]
async fn every_request_gets_the_response_in_the_table() {
    let store = MemoryTokenStore::new();
    let cases = cases(&store);
    let marks = Marks::default();
    let app: Router = routes(&marks).layer(AuthLayer::new(store));
    let mut seen = [0_usize; 3];
    for (method, by_method) in METHODS {
        for (path, family) in PATHS {
            let required = needed(by_method, family);
            for Case { state, granted, authorization } in &cases {
                let request = match authorization {
                    Some(authorization) => authorized(method, path, authorization),
                    None => request(method, path),
                };
                let response = send(&app, request).await;
                let marks = marks.take();
                let context = format!("{method} {path}, {state:?} token of {granted:?}");

                let expected = match state {
                    State::Valid if granted.contains(required) => 0,
                    State::Valid => 403,
                    State::Expired
                    | State::Deleted
                    | State::Unknown
                    | State::Malformed
                    | State::Absent => 401,
                };
                if expected == 0 {
                    assert!(![401, 403, 503].contains(&response.status.as_u16()), "{context}");
                    assert_eq!(marks.len(), 1, "{context}");
                    seen[0] += 1;
                } else {
                    assert_eq!(response.status, expected, "{context}");
                    assert!(marks.is_empty(), "{context}");
                    seen[if expected == 403 { 1 } else { 2 }] += 1;
                }
                for mark in marks {
                    assert!(granted.contains(mark.needed()), "{context}: {mark:?}");
                }
            }
        }
    }
    assert!(seen.iter().all(|seen| *seen > 500), "a side of the table is nearly empty: {seen:?}");
}

#[test]
fn there_is_no_token_without_permissions() {
    let nothing = NewToken::new().permissions(Permissions::NONE);
    let now = UtcDateTime::now();
    assert!(matches!(nothing.issue(now), Err(NewTokenError::NoPermissions)));
    assert!(MemoryTokenStore::new().create(nothing).is_err());
    let (token, record) = NewToken::new().issue(now).unwrap();
    let record = TokenRecord::new(record.id(), None, token.digest(), Permissions::NONE, now, None);
    assert!(matches!(record, Err(NewTokenError::NoPermissions)));
}

#[tokio::test]
async fn a_token_is_denied_from_the_second_of_its_expiry() {
    let marks = Marks::default();
    let store = MemoryTokenStore::new();
    let app: Router = routes(&marks).layer(AuthLayer::new(store.clone()));
    let now = UtcDateTime::now();
    let issue = |expires_at| {
        let hour_ago = now - Duration::hours(1);
        let (token, record) =
            NewToken::new().expires(Expiry::At(expires_at)).issue(hour_ago).unwrap();
        store.insert(record);
        token
    };
    for (seconds, status, reached) in [(0, 401, 0), (-1, 401, 0), (60, 200, 1)] {
        let token = issue(now + Duration::seconds(seconds));
        let response = send(&app, crate::support::bearer("GET", "/config", &token)).await;
        assert_eq!((response.status.as_u16(), marks.take().len()), (status, reached), "{seconds}");
    }
}
