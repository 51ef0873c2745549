//! Servers whose handlers record that they ran, behind a guard with a policy.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, StatusCode, Uri};
use axum::routing::{MethodFilter, on};
use opencode_auth::{AuthLayer, MemoryTokenStore, NewToken, Permissions, Policy, Token};
use percent_encoding::percent_decode_str;
use tower::ServiceExt as _;

use super::audit::{AUDIT, Audited};
use crate::support::permission_sets;

type Log = Arc<Mutex<Vec<&'static Audited>>>;

/// A guarded router of all operations, and what ran in it.
pub(crate) struct Server {
    router: Router,
    log: Log,
    /// A token for each set of permissions but the empty one, which no token has.
    tokens: Vec<(Permissions, Token)>,
}

impl Server {
    /// axum's own reading of paths.
    pub(crate) fn strict(policy: Policy) -> Self {
        Self::new(policy, |log, guard| operations(log).layer(guard))
    }

    /// The operations nested under `/api/v1`, the guard around everything.
    pub(crate) fn nested_inside(policy: Policy) -> Self {
        Self::new(policy, |log, guard| Router::new().nest("/api/v1", operations(log)).layer(guard))
    }

    /// The operations nested under `/api/v1`, the guard within.
    pub(crate) fn nested_outside(policy: Policy) -> Self {
        Self::new(policy, |log, guard| Router::new().nest("/api/v1", operations(log).layer(guard)))
    }

    /// Runs every operation that some careless reading of the path makes of it.
    pub(crate) fn lenient(policy: Policy) -> Self {
        Self::new(policy, |log, guard| {
            Router::new().fallback(run_every_reading).with_state(Arc::clone(log)).layer(guard)
        })
    }

    fn new(
        policy: Policy,
        router: impl FnOnce(&Log, AuthLayer<MemoryTokenStore>) -> Router,
    ) -> Self {
        let store = MemoryTokenStore::new();
        let tokens = permission_sets()
            .filter(|set| !set.is_empty())
            .map(|set| (set, store.create(NewToken::new().permissions(set)).unwrap().token))
            .collect();
        let log = Log::default();
        Self { router: router(&log, AuthLayer::new(store).policy(policy)), log, tokens }
    }

    /// Sends a request with a token that is granted these permissions, or without a token if there are none.
    /// Returns the status and what ran.
    pub(crate) async fn send(
        &self,
        method: &Method,
        uri: &Uri,
        granted: Permissions,
    ) -> (StatusCode, Vec<&'static Audited>) {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        if let Some((_, token)) = self.tokens.iter().find(|(set, _)| *set == granted) {
            let bearer = format!("Bearer {}", token.expose_secret());
            request.headers_mut().insert("authorization", bearer.parse().unwrap());
        }
        let status = self.router.clone().oneshot(request).await.unwrap().status();
        (status, std::mem::take(&mut *self.log.lock().unwrap()))
    }
}

fn operations(log: &Log) -> Router {
    AUDIT.iter().fold(Router::new(), |router, operation| {
        let log = Arc::clone(log);
        let handler = async move || log.lock().unwrap().push(operation);
        let method = MethodFilter::try_from(operation.method.clone()).unwrap();
        router.route(&operation.path, on(method, handler))
    })
}

async fn run_every_reading(State(log): State<Log>, method: Method, uri: Uri) {
    let readings = careless_readings(uri.path());
    let method = if method == Method::HEAD { &Method::GET } else { &method };
    let operations = AUDIT.iter().filter(|operation| operation.method == method);
    log.lock().unwrap().extend(
        operations.filter(|operation| {
            readings.iter().any(|segments| asks_for(segments, &operation.path))
        }),
    );
}

/// The segments that careless routers read: letter case folded; slashes merged, backslashes among them; dot
/// segments resolved; decoded never, once or twice; with or without what follows `;`; cut where a C string,
/// a query or a fragment would end, or not.
fn careless_readings(path: &str) -> Vec<Vec<String>> {
    let mut readings = Vec::new();
    let mut decoded = path.to_owned();
    for _ in 0..3 {
        for ends in [&[][..], &['\0', '?', '#']] {
            let cut = decoded.split(ends).next().unwrap();
            for parameters_count in [true, false] {
                let reading = read_segments(cut, parameters_count);
                if !readings.contains(&reading) {
                    readings.push(reading);
                }
            }
        }
        decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
    }
    readings
}

fn read_segments(path: &str, parameters_count: bool) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']) {
        let segment = if parameters_count { segment } else { segment.split(';').next().unwrap() };
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment.trim().to_uppercase().to_lowercase()),
        }
    }
    segments
}

fn asks_for(segments: &[String], pattern: &str) -> bool {
    let mut segments = segments.iter();
    for wanted in pattern.split('/').skip(1) {
        let Some(segment) = segments.next() else { return false };
        if wanted == "{*rest}" {
            return true;
        }
        if !wanted.starts_with('{') && !wanted.eq_ignore_ascii_case(segment) {
            return false;
        }
    }
    segments.next().is_none()
}

#[test]
fn the_lenient_server_is_lenient() {
    for (path, expected) in [
        ("/session/status", "/session/status"),
        ("/SESSION/x/", "/session/{id}"),
        ("//session//x", "/session/{id}"),
        ("/%73ession/x", "/session/{id}"),
        ("/%2573ession/x", "/session/{id}"),
        ("/a/../session/x", "/session/{id}"),
        ("/a/%2e%2e/session/x", "/session/{id}"),
        ("/a/%252e%252e/session/x", "/session/{id}"),
        ("/session%2fx", "/session/{id}"),
        ("/session\\x", "/session/{id}"),
        ("/session;a=b/x", "/session/{id}"),
        ("/session%3ba=b/x", "/session/{id}"),
        ("/session%00a", "/session"),
        ("/se%c5%bf%c5%bfion", "/session"),
        ("/session%20", "/session"),
    ] {
        let readings = careless_readings(path);
        assert!(readings.iter().any(|reading| asks_for(reading, expected)), "{path}: {readings:?}");
    }
}
