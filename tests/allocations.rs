//! What the layer asks of the allocator, counted. A binary of its own, for the allocator that counts is
//! everybody's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use std::hint::black_box;
use std::time::SystemTime;

use allocation_counter::measure;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use futures_util::FutureExt as _;
use opencode_auth::{
    AuthLayer, Credentials, FileTokenStore, Lookup, NewToken, Policy, Principal, Requirement,
    Token, TokenStore, authorize,
};
use tower::layer::layer_fn;
use tower::{Layer as _, Service, ServiceExt as _};

const REQUESTS: u64 = 100;

/// The box that the principal is put into, and a larger table of extensions in place of the router's.
const INSIDE: u64 = 2;
/// The box alone: the table is large enough from the start.
const AROUND: u64 = 1;

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
        // No look at the file during the test, for a look allocates.
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

    /// How often a service asks for memory to answer one request, on average.
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

/// A service in another's place, which costs what any layer there costs.
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
fn a_decision_allocates_nothing() {
    let guarded = Guarded::new();
    let request = guarded.request();
    let decide = |policy: &Policy| -> Principal {
        let Requirement::Permissions(required) = policy.decide(&request).requirement else {
            panic!("public")
        };
        let Credentials::Bearer(digest) = Credentials::from_headers(request.headers()) else {
            panic!("no token")
        };
        let Lookup::Ready(Ok(record)) = guarded.store.find(&digest) else { panic!("not ready") };
        authorize(record, required, SystemTime::now()).unwrap()
    };
    for policy in [Policy::default(), Policy::default().mount("/").interactive("/tui")] {
        decide(&policy);
        let counted = measure(|| {
            for _ in 0..REQUESTS {
                drop(black_box(decide(&policy)));
            }
        });
        assert_eq!(counted.count_total, 0);
    }
}
