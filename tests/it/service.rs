//! The layer as a tower service: readiness, bodies, errors, headers, pending look-ups.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response};
use axum::routing::get;
use http_body::{Body as HttpBody, Frame};
use opencode_auth::{
    AuthLayer, Expiry, Lookup, MemoryTokenStore, NewToken, Permissions, Principal,
    PrincipalMissing, StoreError, TokenDigest, TokenStore,
};
use tower::{Layer as _, Service, ServiceExt as _};

use crate::support::{bearer, request, send, store_with};

/// A service that must be polled ready before it is called. A clone is not ready.
#[derive(Default)]
struct Picky {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
    polls: Arc<AtomicUsize>,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { is_ready: false, calls: self.calls.clone(), polls: self.polls.clone() }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Failed(&'static str);

impl<B> Service<Request<B>> for Picky {
    type Response = Response<Body>;
    type Error = Failed;
    type Future = Ready<Result<Response<Body>, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(match request.uri().path() {
            "/config" => Ok(Response::new(Body::from("reached"))),
            _ => Err(Failed("inside")),
        })
    }
}

/// A store whose look-ups are ready at once, or pending for a number of polls.
#[derive(Clone)]
struct Slow {
    store: MemoryTokenStore,
    polls: usize,
}

impl TokenStore for Slow {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        let found = self.store.find(digest);
        let Lookup::Ready(found) = found else { panic!("a memory store responds at once") };
        let mut polls = self.polls;
        if polls == 0 {
            return Lookup::Ready(found);
        }
        Lookup::pending(async move {
            while polls > 1 {
                polls -= 1;
                tokio::task::yield_now().await;
            }
            found
        })
    }
}

/// Polls a service ready for a request with an ordinary body.
async fn readied<S: Service<Request<Body>>>(service: &mut S) -> &mut S
where
    S::Error: std::fmt::Debug,
{
    service.ready().await.unwrap()
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    for polls in [0, 1, 3] {
        let (store, token) = store_with(Permissions::READ);
        let picky = Picky::default();
        let (calls, polled) = (picky.calls.clone(), picky.polls.clone());
        let mut service = AuthLayer::new(Slow { store, polls }).layer(picky);
        for round in 1..=3 {
            let service = readied(&mut service).await;
            assert_eq!(polled.load(Ordering::SeqCst), round, "polled once for each request");
            let response = service.call(bearer("GET", "/config", &token)).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(calls.load(Ordering::SeqCst), round);
        }
        // A second request may be made ready while the first one's look-up is under way.
        let first = readied(&mut service).await.call(bearer("GET", "/config", &token));
        let second = readied(&mut service).await.call(bearer("GET", "/config", &token));
        let (second, first) = (second.await.unwrap(), first.await.unwrap());
        assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
        // A denied one calls nothing.
        let before = calls.load(Ordering::SeqCst);
        for request in [request("GET", "/config"), bearer("POST", "/config", &token)] {
            let denied = readied(&mut service).await.call(request).await.unwrap();
            assert!(denied.status().is_client_error());
        }
        assert_eq!(calls.load(Ordering::SeqCst), before);
    }
}

#[tokio::test]
async fn readiness_and_errors_of_the_inner_service_pass_through() {
    #[derive(Clone)]
    struct Busy;
    impl Service<Request<Body>> for Busy {
        type Response = Response<Body>;
        type Error = Failed;
        type Future = Ready<Result<Response<Body>, Failed>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
            Poll::Ready(Err(Failed("not ready")))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            unreachable!()
        }
    }
    let (store, token) = store_with(Permissions::READ);
    let mut busy = AuthLayer::new(store.clone()).layer(Busy);
    assert_eq!(busy.ready().await.err(), Some(Failed("not ready")));

    for polls in [0, 2] {
        let service = AuthLayer::new(Slow { store: store.clone(), polls }).layer(Picky::default());
        let failed = service.oneshot(bearer("GET", "/else", &token)).await;
        assert_eq!(failed.err(), Some(Failed("inside")));
    }
}

/// A body that fails the test if anybody reads it.
struct Untouchable;

impl HttpBody for Untouchable {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        panic!("the body of a denied request was read")
    }
}

#[tokio::test]
async fn the_body_of_a_denied_request_is_not_read_if_the_host_says_so() {
    for polls in [0, 2] {
        let (store, token) = store_with(Permissions::READ);
        let layer = AuthLayer::new(Slow { store, polls }).denial_drain(0, Duration::ZERO);
        let service = layer.layer(Picky::default());
        for (authorization, status) in
            [(format!("Bearer {}", token.expose_secret()), 403), ("Bearer x".to_owned(), 401)]
        {
            let request = Request::post("/session").header("authorization", authorization);
            let denied = service.clone().oneshot(request.body(Untouchable).unwrap()).await.unwrap();
            assert_eq!(denied.status(), status);
        }
    }
}

#[tokio::test]
async fn a_look_up_that_fails_late_is_503() {
    let (store, token) = store_with(Permissions::ALL);
    store.fail_with(StoreError::new(std::io::Error::other("gone")));
    let service = AuthLayer::new(Slow { store, polls: 2 }).layer(Picky::default());
    let response = service.oneshot(bearer("GET", "/config", &token)).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(response.headers().get("www-authenticate").is_none());
}

#[tokio::test]
async fn a_future_that_has_completed_stays_pending() {
    let (store, token) = store_with(Permissions::READ);
    let mut service = AuthLayer::new(store).layer(Picky::default());
    let mut denied = Box::pin(readied(&mut service).await.call(bearer("POST", "/x", &token)));
    assert_eq!(denied.as_mut().await.unwrap().status(), 403);
    let waker = std::task::Waker::noop();
    assert!(denied.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
}

#[tokio::test]
async fn the_token_is_removed_from_an_allowed_request_unless_the_host_forwards_it() {
    for polls in [0, 2] {
        let (store, token) = store_with(Permissions::READ);
        let app = |forward| {
            let handler = async |request: Request<Body>| {
                let values = request.headers().get_all("authorization").iter();
                let sensitive: Vec<_> = values.map(HeaderValue::is_sensitive).collect();
                assert_eq!(request.headers()["x-api-key"], "stays");
                format!("{sensitive:?}")
            };
            let store = Slow { store: store.clone(), polls };
            let layer = AuthLayer::new(store).forward_credentials(forward);
            Router::new().route("/config", get(handler)).layer(layer)
        };
        for (forward, expected) in [(false, "[]"), (true, "[true]")] {
            let mut request = bearer("GET", "/config", &token);
            request.headers_mut().insert("x-api-key", "stays".parse().unwrap());
            let response = send(&app(forward), request).await;
            assert_eq!((response.status.as_u16(), &*response.body), (200, expected));
        }
    }
}

#[tokio::test]
async fn no_request_that_starts_after_the_expiry_is_allowed() {
    let store = MemoryTokenStore::new();
    let second = Duration::from_secs(1);
    let created = store.create(NewToken::new().expires(Expiry::After(2 * second))).unwrap();
    let expires_at = SystemTime::from(created.record.expires_at().unwrap());
    let app = Router::new().fallback(async || "reached").layer(AuthLayer::new(store));
    let mut allowed = 0;
    loop {
        let started = SystemTime::now();
        let status = send(&app, bearer("GET", "/config", &created.token)).await.status;
        if status == 200 {
            assert!(started < expires_at, "{:?} late", started.duration_since(expires_at));
            allowed += 1;
        } else {
            assert_eq!(status, 401);
            let early = expires_at.duration_since(started).unwrap_or_default();
            assert!(early <= second / 2, "denied {early:?} early");
            break;
        }
    }
    assert!(allowed > 0);
}

#[tokio::test]
async fn a_handler_without_the_layer_says_what_is_missing() {
    let app: Router = Router::new()
        .route("/must", get(|principal: Principal| async move { principal.id().to_string() }))
        .route("/may", get(|principal: Option<Principal>| async move { format!("{principal:?}") }));
    let response = send(&app, request("GET", "/must")).await;
    assert_eq!(response.status, 500);
    assert_eq!(
        response.body,
        "this handler takes a `Principal`, but no `opencode_auth::AuthLayer` has allowed the request: \
         wrap the router in the layer, or take `Option<Principal>` on a public route"
    );
    assert_eq!(response.body, PrincipalMissing.to_string());
    let response = send(&app, request("GET", "/may")).await;
    assert_eq!((response.status.as_u16(), &*response.body), (200, "None"));
}

#[tokio::test]
async fn a_principal_shows_the_token_without_its_secret() {
    let store = MemoryTokenStore::new();
    let new = NewToken::new().name("ci").permissions(Permissions::READ | Permissions::WRITE);
    let token = store.create(new).unwrap().token;
    let app = Router::new().route(
        "/config",
        get(|principal: Principal| async move {
            let (id, name) = (principal.id(), principal.name().map(str::to_owned));
            format!(
                "{id} {name:?} {:?} {}",
                principal.permissions(),
                principal.expires_at().is_some()
            )
        }),
    );
    let app = app.layer(AuthLayer::new(store.clone()));
    let response = send(&app, bearer("GET", "/config", &token)).await;
    assert_eq!(
        response.body,
        format!("{} Some(\"ci\") {{Read, Write}} true", store.list()[0].id())
    );
}

#[test]
fn debug_outputs_name_the_parts() {
    let layer =
        AuthLayer::new(MemoryTokenStore::new()).realm("here").denial_body(|_| unreachable!());
    let shown = format!("{layer:?}");
    assert!(shown.contains(r#"realm: "here""#), "{shown}");
    assert!(shown.contains("/session") || shown.contains("Policy"), "{shown}");
    let service = format!("{:?}", layer.layer("inner"));
    assert!(service.starts_with("AuthService") && service.contains("inner"), "{service}");
    assert!(service.contains("watch: Watch { .. }"), "{service}");
    let mut service = AuthLayer::new(MemoryTokenStore::new()).layer(Picky::default());
    let future = service.call(request("GET", "/config"));
    assert_eq!(format!("{future:?}"), "ResponseFuture { .. }");
    assert_eq!(format!("{:?}", Lookup::pending(async { Ok(None) })), "Pending(..)");
    assert_eq!(format!("{:?}", Lookup::Ready(Ok(None))), "Ready(Ok(None))");
}
