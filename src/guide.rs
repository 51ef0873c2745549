//! How to guard a server that already exists. There is no code in this module.
//!
//! The short version: build the router as you always did. Where the program listens, wrap it in
//! [`AuthLayer`](crate::AuthLayer). Put CORS and tracing outside of that.
//!
//! ```no_run
//! # use axum::Router;
//! # fn build() -> Router { Router::new() }
//! use opencode_auth::{AuthLayer, FileTokenStore, Policy};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = build(); // as before
//! let guard = AuthLayer::new(FileTokenStore::open_default()?).policy(Policy::default().mount("/api/v1"));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:4096").await?;
//! axum::serve(listener, router.layer(guard)).await?;
//! # Ok(()) }
//! ```
//!
//! # Guard where the server listens
//!
//! Many programs call their own router in process: a command sends it a request instead of opening a
//! socket. Such a call has no token. If the function that builds the router adds the layer, the program's own
//! commands get 401. Add the layer where the program binds a port, and nowhere else.
//!
//! ```
//! use axum::{Router, body::Body, http::{Request, StatusCode}, routing::get};
//! use opencode_auth::{AuthLayer, MemoryTokenStore};
//! use tower::ServiceExt as _;
//!
//! /// Used by the server and by the program's own commands.
//! fn build() -> Router {
//!     Router::new().route("/info", get(async || "info"))
//! }
//!
//! /// What the listener gets.
//! fn guarded(store: MemoryTokenStore) -> Router {
//!     build().layer(AuthLayer::new(store))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let request = || Request::get("/info").body(Body::empty()).unwrap();
//! assert_eq!(build().oneshot(request()).await.unwrap().status(), StatusCode::OK);
//! let guarded = guarded(MemoryTokenStore::new());
//! assert_eq!(guarded.oneshot(request()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
//! # }
//! ```
//!
//! # CORS
//!
//! A browser sends a preflight without credentials, and a page can read a 401 only if it carries CORS
//! headers. So the CORS layer goes outside: add it *after* the guard. Name `Authorization` in
//! `allow_headers`. The wildcard `*` does not include it (Fetch standard, "CORS non-wildcard request-header
//! name").
//!
//! ```
//! use axum::{Router, body::Body, http::{Method, Request, StatusCode, header}, routing::get};
//! use opencode_auth::{AuthLayer, MemoryTokenStore};
//! use tower::ServiceExt as _;
//! use tower_http::cors::CorsLayer;
//!
//! fn cors() -> CorsLayer {
//!     CorsLayer::new()
//!         .allow_origin(["https://app.example".parse().unwrap()])
//!         .allow_methods([Method::GET, Method::POST])
//!         .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
//! }
//!
//! let app: Router = Router::new()
//!     .route("/config", get(async || "{}"))
//!     .layer(AuthLayer::new(MemoryTokenStore::new()))
//!     .layer(cors());
//!
//! # #[tokio::main(flavor = "current_thread")] async fn run(app: Router) {
//! let request = |method| {
//!     Request::builder().method(method).uri("/config").header("origin", "https://app.example")
//!         .header("access-control-request-method", "GET")
//!         .body(Body::empty()).unwrap()
//! };
//! let preflight = app.clone().oneshot(request(Method::OPTIONS)).await.unwrap();
//! assert_eq!(preflight.status(), StatusCode::OK);
//! let denied = app.oneshot(request(Method::GET)).await.unwrap();
//! assert_eq!(denied.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(denied.headers()["access-control-allow-origin"], "https://app.example");
//! # }
//! # run(app);
//! ```
//!
//! If the CORS layer sits inside a function that you cannot change, add an equal one outside of the guard. The
//! outer one handles preflights and the denials. Its headers replace those of the inner one. Only `Vary` is
//! sent by both: other layers may have added to it, and a name that is listed twice counts once (RFC 9110
//! section 12.5.5).
//!
//! ```
//! # use axum::{Router, body::Body, http::{Method, Request, header}, routing::get};
//! # use opencode_auth::{AuthLayer, MemoryTokenStore, NewToken};
//! # use tower::ServiceExt as _;
//! # use tower_http::cors::CorsLayer;
//! # fn cors() -> CorsLayer {
//! #     CorsLayer::new().allow_origin(["https://app.example".parse().unwrap()]).allow_headers([header::AUTHORIZATION])
//! # }
//! # fn build() -> Router { Router::new().route("/config", get(async || "{}")).layer(cors()) }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let store = MemoryTokenStore::new();
//! # let token = store.create(NewToken::new()).unwrap().token;
//! let app = build().layer(AuthLayer::new(store)).layer(cors());
//! # let request = Request::get("/config").header("origin", "https://app.example")
//! #     .header("authorization", format!("Bearer {}", token.expose_secret())).body(Body::empty()).unwrap();
//! let response = app.oneshot(request).await.unwrap();
//! assert_eq!(response.headers().get_all("access-control-allow-origin").iter().count(), 1);
//! assert_eq!(response.headers().get_all("vary").iter().count(), 2);
//! # }
//! ```
//!
//! # `Router::layer`, or around the router
//!
//! `router.layer(guard)` is the usual place. `guard.layer(router)` puts the guard around the whole router. It
//! costs less, because axum makes no service for each route, and it also guards a fallback that is added to
//! the inner router later. [`AuthLayer`](crate::AuthLayer) shows how to serve it.
//!
//! `Router::layer` guards what the router has **at that moment**. These stay open:
//!
//! - a route, `merge` or `nest` that is added after the layer;
//! - a method that `merge` adds, after the layer, to a path that is already there;
//! - a `fallback` or `method_not_allowed_fallback` that is set after the layer;
//! - a fallback of the outer router, when only a nested router has the layer;
//! - everything that no route matches, with `route_layer`.
//!
//! ```
//! use axum::{Router, body::Body, http::{Request, StatusCode}, routing::get};
//! use opencode_auth::{AuthLayer, MemoryTokenStore};
//! use tower::ServiceExt as _;
//!
//! let guard = AuthLayer::new(MemoryTokenStore::new());
//! let api = Router::new().route("/config", get(async || "config"));
//! let page = async || "page";
//! // The layer is on the nested router: the fallback outside is open, as a public web page should be.
//! let nested: Router = Router::new().nest("/api", api.clone().layer(guard.clone())).fallback(page);
//! // The layer is on the whole router: the fallback requires a token.
//! let whole: Router = Router::new().nest("/api", api).fallback(page).layer(guard);
//!
//! # #[tokio::main(flavor = "current_thread")] async fn run(nested: Router, whole: Router) {
//! let status = async |app: &Router, path: &str| {
//!     app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
//! };
//! assert_eq!(status(&nested, "/api/config").await, StatusCode::UNAUTHORIZED);
//! assert_eq!(status(&nested, "/").await, StatusCode::OK);
//! assert_eq!(status(&whole, "/").await, StatusCode::UNAUTHORIZED);
//! # }
//! # run(nested, whole);
//! ```
//!
//! # `ServiceBuilder`
//!
//! `Router::layer` runs the layer that was added last first. `ServiceBuilder` runs the layer that was added
//! *first* first, so the order is the other way round: CORS, then the guard.
//!
//! ```
//! use axum::{Router, routing::get};
//! use opencode_auth::{AuthLayer, MemoryTokenStore};
//! use tower::ServiceBuilder;
//! use tower_http::cors::CorsLayer;
//!
//! let app: Router = Router::new().route("/config", get(async || "config")).layer(
//!     ServiceBuilder::new()
//!         .layer(CorsLayer::permissive()) // sees the request first
//!         .layer(AuthLayer::new(MemoryTokenStore::new())),
//! );
//! # let _ = app;
//! ```
//!
//! # A switch
//!
//! `tower::util::option_layer(None)` is no layer at all: the server is open, and nothing says so. If your
//! program needs a switch, let it be a flag whose name says what it does, and log it where the program listens:
//!
//! ```
//! # use axum::Router;
//! # use opencode_auth::{AuthLayer, MemoryTokenStore};
//! fn listen(router: Router, store: MemoryTokenStore, allow_everyone: bool) -> Router {
//!     if allow_everyone {
//!         tracing::warn!("--allow-everyone: this server runs commands for anyone who can reach it");
//!         return router;
//!     }
//!     router.layer(AuthLayer::new(store))
//! }
//! # let _ = listen;
//! ```
//!
//! # Forwarding to another server
//!
//! The credential of an allowed request is removed before a handler sees it, from the headers and from the
//! URI. So a handler that forwards its request cannot forward the token. Keep it that way:
//! [`forward_credentials`](crate::AuthLayer::forward_credentials) leaves the token on the request, and where a
//! client can choose the target, the token goes to whatever server the client names.
//!
//! # The server's own clients
//!
//! A server that starts its own TUI, or whose commands call it over HTTP, has no token to give them: the users'
//! tokens are stored hashed. Let the server make one in memory when it starts. It ends with the process.
//!
//! ```no_run
//! use axum::Router;
//! use opencode_auth::{AuthLayer, FileTokenStore, MemoryTokenStore, NewToken};
//!
//! # fn start(router: Router) -> Result<(), Box<dyn std::error::Error>> {
//! let own = MemoryTokenStore::new();
//! let token = own.create(NewToken::new().name("own client"))?.token;
//! let app = router.layer(AuthLayer::new((own, FileTokenStore::open_default()?)));
//! // The environment of a child, or a file with mode 0600 beside the URL and the process id.
//! std::process::Command::new("my-tui").env("MY_TUI_TOKEN", token.expose_secret()).spawn()?;
//! # drop(app); Ok(()) }
//! ```
//!
//! Name the variable with care: `OPENCODE_AUTH_TOKENS`, with an S, is the path of the token *file*. The example
//! `existing_server` hands the token over in a file.
//!
//! # Open streams, and graceful shutdown
//!
//! A response without a known length ends when its token ends: the layer sees to that. A WebSocket ends if its
//! handler waits for [`Principal::ended`](crate::Principal::ended). Neither ends when the *server* stops.
//! `axum::serve(..).with_graceful_shutdown(..)` waits for open streams, so tell them to end, and set a limit:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::Router;
//! use tokio::sync::watch;
//!
//! # async fn serve(listener: tokio::net::TcpListener, build: fn(watch::Receiver<bool>) -> Router) -> std::io::Result<()> {
//! let (stop, mut stopped) = watch::channel(false);
//! let app = build(stopped.clone()); // each stream selects on `stopped.wait_for(|stopped| *stopped)`
//! let server = axum::serve(listener, app).with_graceful_shutdown(async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     let _ = stop.send(true);
//! });
//! tokio::select! {
//!     served = server => served,
//!     () = async {
//!         let _ = stopped.wait_for(|stopped| *stopped).await;
//!         tokio::time::sleep(Duration::from_secs(2)).await;
//!     } => Ok(()),
//! }
//! # }
//! ```
//!
//! # axum 0.7
//!
//! The layer works around a router of axum 0.7 with [`wrap_body`](crate::AuthLayer::wrap_body). Two things
//! differ. The extractor is of axum 0.8, so a handler takes `Extension<Principal>`. And axum 0.7 does not tell a
//! layer what `nest` removed, so put the layer outside of `nest` and state the
//! [`mount`](crate::Policy::mount).
//!
//! ```
//! use axum07::{Extension, Router, body::Body, http::{Request, StatusCode}, routing::get};
//! use opencode_auth::{AuthLayer, MemoryTokenStore, Permissions, Policy, Principal};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn whoami(Extension(principal): Extension<Principal>) -> String {
//!     principal.id().to_string()
//! }
//!
//! let (store, token) = MemoryTokenStore::with_token(Permissions::READ)?;
//! let app: Router = Router::new()
//!     .nest("/api", Router::new().route("/whoami", get(whoami)))
//!     .layer(AuthLayer::new(store).policy(Policy::default().mount("/api")).wrap_body());
//! let request = Request::get("/api/whoami")
//!     .header("authorization", format!("Bearer {}", token.expose_secret()))
//!     .body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(()) }
//! ```
//!
//! # Testing
//!
//! A handler that takes a [`Principal`](crate::Principal) is tested with an extension, without a store:
//!
//! ```
//! use axum::{Extension, Router, body::Body, http::{Request, StatusCode}, routing::get};
//! use opencode_auth::{Permissions, Principal};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new()
//!     .route("/whoami", get(async |principal: Principal| principal.permissions().to_string()))
//!     .layer(Extension(Principal::for_test(Permissions::READ)?));
//! let response = app.oneshot(Request::get("/whoami").body(Body::empty())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(()) }
//! ```
//!
//! The guarded router is tested with [`MemoryTokenStore::with_token`](crate::MemoryTokenStore::with_token):
//!
//! ```
//! use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
//! use opencode_auth::{AuthLayer, MemoryTokenStore, Permissions};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (store, read) = MemoryTokenStore::with_token(Permissions::READ)?;
//! let app: Router = Router::new().route("/pty", post("a shell")).layer(AuthLayer::new(store));
//! let request = Request::post("/pty")
//!     .header("authorization", format!("Bearer {}", read.expose_secret()))
//!     .body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), StatusCode::FORBIDDEN);
//! # Ok(()) }
//! ```
