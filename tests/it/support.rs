//! What several modules share: stores, requests and received responses.

#[cfg(target_os = "linux")]
pub mod hammer;
#[cfg(target_os = "linux")]
pub mod mounts;
#[cfg(target_os = "linux")]
pub mod process;
pub mod store;

use std::convert::Infallible;
use std::env;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use opencode_auth::{MemoryTokenStore, NewToken, Permissions, Token};
use serde_json::Value;
use tower::{Service, ServiceExt as _, service_fn};

/// Builds an example with the features of this test, and returns its program. `cargo test --test it` builds no
/// examples, and would meet one of another day. cargo does nothing if it is up to date.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let features = [
        ("cli", cfg!(feature = "cli")),
        ("gateway", cfg!(feature = "gateway")),
        ("postgres", cfg!(feature = "postgres")),
    ];
    let features = features.into_iter().filter(|(_, is_on)| *is_on).map(|(feature, _)| feature);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", name, "--features"])
        .arg(features.collect::<Vec<_>>().join(","))
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// All 8 sets of permissions.
pub fn permission_sets() -> impl Iterator<Item = Permissions> {
    (0..8).map(|bits| {
        [Permissions::READ, Permissions::WRITE, Permissions::EXECUTE]
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .fold(Permissions::NONE, |set, (_, permission)| set | permission)
    })
}

/// A store in memory, and a token in it with these permissions.
pub fn store_with(permissions: Permissions) -> (MemoryTokenStore, Token) {
    let store = MemoryTokenStore::new();
    let created = store.create(NewToken::new().permissions(permissions)).unwrap();
    (store, created.token)
}

/// A request without a body.
pub fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// A request as a router inside axum's `nest` receives it, if `original` ends with `path`. The part before it is
/// where the router is nested. Otherwise a request whose path was changed by something other than `nest`.
pub fn nested(method: &str, path: &str, original: &str) -> Request<Body> {
    let Some(base) = original.strip_suffix(path) else {
        let mut changed = request(method, path);
        changed.extensions_mut().insert(OriginalUri(original.parse().unwrap()));
        return changed;
    };
    nested_at(base, request(method, original))
}

/// The request as axum hands it to a service at `nest(base, ...)`.
pub fn nested_at(base: &str, request: Request<Body>) -> Request<Body> {
    let caught = Arc::new(Mutex::new(None));
    let catch = {
        let caught = Arc::clone(&caught);
        service_fn(move |request: Request<Body>| {
            *caught.lock().unwrap() = Some(request);
            ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        })
    };
    let router: Router = Router::new().nest_service(base, catch);
    router.oneshot(request).now_or_never().unwrap().unwrap();
    caught.lock().unwrap().take().unwrap()
}

/// A request with this token as its bearer token.
pub fn bearer(method: &str, path: &str, token: &Token) -> Request<Body> {
    authorized(method, path, &format!("Bearer {}", token.expose_secret()))
}

/// A request with this `Authorization` header.
pub fn authorized(method: &str, path: &str, authorization: &str) -> Request<Body> {
    let mut request = request(method, path);
    request.headers_mut().insert("authorization", authorization.parse().unwrap());
    request
}

/// A response that was received: its status, headers and body.
#[derive(Debug)]
pub struct Received {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends one request to a clone of the service.
pub async fn send<S>(service: &S, request: Request<Body>) -> Received
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Received {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Bytes in hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
