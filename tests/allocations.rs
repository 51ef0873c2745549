//! Counts the layer's allocations. It is a separate binary because the counting allocator is global.
#![cfg(test)] // clippy.toml's exceptions for tests hold in their helpers too.

use std::convert::Infallible;

use allocation_counter::measure;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use futures_util::FutureExt as _;
use opencode_auth::{AuthLayer, FileTokenStore, MemoryTokenStore, NewToken, Policy, Token};
use tower::layer::layer_fn;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

const REQUESTS: u64 = 100;

/// The box of the principal, and a larger table of extensions than the router's.
const INSIDE: u64 = 2;
/// The box alone: the table starts large enough.
const AROUND: u64 = 1;
/// The box and a table of extensions, which nothing else uses.
const ALONE: u64 = 3;

struct Guarded {
    store: FileTokenStore,
    token: Token,
    _directory: tempfile::TempDir,
}

impl Guarded {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth-tokens.json");
        let token = FileTokenStore::open(&path).unwrap().create(NewToken::new()).unwrap().token;
        // A refresh allocates, so none happens during the test.
        let window = std::time::Duration::from_secs(3600);
        let store = FileTokenStore::options().freshness_window(window).open(&path).unwrap();
        Self { store, token, _directory: directory }
    }

    fn request(&self) -> Request<Body> {
        Request::get("/config")
            .header("authorization", format!("Bearer {}", self.token.expose_secret()))
            .body(Body::empty())
            .unwrap()
    }

    /// How many allocations a service makes for one request, on average.
    fn allocations<S>(&self, service: &S) -> u64
    where
        S: Service<Request<Body>, Response = Response> + Clone,
        S::Error: std::fmt::Debug,
    {
        let send = |request| {
            let response = service.clone().oneshot(request).now_or_never().unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        };
        send(self.request());
        let requests: Vec<_> = (0..REQUESTS).map(|_| self.request()).collect();
        measure(|| requests.into_iter().for_each(send)).count_total.div_ceil(REQUESTS)
    }
}

/// A layer that does nothing. It costs what any layer costs in its place.
#[derive(Clone)]
struct Through<S>(S);

impl<S: Service<Request<Body>>> Service<Request<Body>> for Through<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

fn router() -> Router {
    Router::new().route("/config", get(async || "config"))
}

#[test]
fn an_allowed_request_allocates_little_more_than_through_a_layer_that_does_nothing() {
    let guarded = Guarded::new();
    let layer = AuthLayer::new(guarded.store.clone());

    let nothing = guarded.allocations(&router().layer(layer_fn(Through)).with_state(()));
    let inside = guarded.allocations(&router().layer(layer.clone()).with_state(()));

    assert!(inside <= nothing + INSIDE, "in the router: {inside} after {nothing}");

    let nothing = guarded.allocations(&Through(router().with_state(())));
    let around = guarded.allocations(&layer.layer(router().with_state(())));

    assert!(around <= nothing + AROUND, "around it: {around} after {nothing}");
}

#[test]
fn the_layer_alone_allocates_the_principal_and_its_table() {
    let guarded = Guarded::new();
    let inner =
        || service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let nothing = guarded.allocations(&inner());
    for policy in [Policy::default(), Policy::default().mount("/").interactive("/tui")] {
        let layer = AuthLayer::new(guarded.store.clone()).policy(policy);
        assert_eq!(guarded.allocations(&layer.layer(inner())), nothing + ALONE);
    }
}

#[test]
fn a_dropped_layer_leaves_nothing_behind() {
    let store = MemoryTokenStore::new();
    let make_and_drop = || drop(AuthLayer::new(store.clone()));
    // What is allocated once, for all layers, is there from the first on.
    let kept = AuthLayer::new(store.clone());
    let left = measure(|| (0..REQUESTS).for_each(|_| make_and_drop()));
    assert_eq!((left.count_current, left.bytes_current), (0, 0));
    drop(kept);
}

#[test]
fn closed_streams_leave_nothing_behind() {
    let guarded = Guarded::new();
    let service =
        AuthLayer::new(guarded.store.clone()).layer(service_fn(async |_: Request<Body>| {
            let endless = futures_util::stream::pending::<Result<&str, Infallible>>();
            Ok::<_, Infallible>(Response::new(Body::from_stream(endless)))
        }));
    let open_and_close = || {
        let response = service.clone().oneshot(guarded.request()).now_or_never().unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    };
    let left = measure(|| (0..REQUESTS).for_each(|_| open_and_close()));
    // The thread that watches them is started once, and frees what is its own.
    assert!(left.count_current < 20, "{left:?}");
}
