//! What is measured.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opencode_auth::{AuthLayer, CredentialSources, FileTokenStore, Policy, Token};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_http::validate_request::{ValidateRequest, ValidateRequestHeaderLayer};

use crate::store_file;

pub const BARE: &str = "bare router";
pub const STATIC: &str = "tower-http, one static token";
pub const DIGEST: &str = "one SHA-256 of a token";
pub const NOTHING: &str = "a service that does nothing";

/// Each with its suffix in the names of cases.
const POLICIES: [(&str, MakePolicy); 2] = [("", Policy::default), (", opencode", Policy::opencode)];

type MakePolicy = fn() -> Policy;

/// How many requests are built before they are sent, so that building them is not measured.
const BATCH: u64 = 64;

/// How many requests a new thread sends before it is measured.
const WARM_UP: u64 = 20 * BATCH;

/// Something to measure: the time of so many runs.
pub struct Case {
    pub name: String,
    pub run: Box<dyn Fn(u64) -> Duration>,
}

/// Cases that are reported together.
pub struct Group<'a> {
    pub name: &'static str,
    pub cases: &'a [Case],
}

pub struct Cases {
    requests: Vec<Case>,
    carriers: Vec<Case>,
    denials: Vec<Case>,
    decisions: Vec<Case>,
    threads: Vec<Case>,
    _directory: TempDir,
}

impl Cases {
    /// Cases with stores of so many tokens.
    pub fn new(sizes: &[(&'static str, usize)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores: Vec<(&str, Token, FileTokenStore)> = sizes
            .iter()
            .map(|(name, tokens)| {
                let path = directory.path().join(format!("{tokens}.json"));
                let token = store_file::write(&path, *tokens);
                (*name, token, FileTokenStore::open(&path).unwrap())
            })
            .collect();
        // A file that changed in the last two seconds is racy, and each refresh would read it.
        std::thread::sleep(Duration::from_secs(4));
        Self {
            requests: requests(&stores),
            carriers: carriers(&stores[0]),
            denials: denials(&stores[0]),
            decisions: decisions(&stores),
            threads: threads(&stores[0]),
            _directory: directory,
        }
    }

    pub fn groups(&self) -> [Group<'_>; 5] {
        [
            Group { name: "allowed requests", cases: &self.requests },
            Group { name: "carriers", cases: &self.carriers },
            Group { name: "denied requests", cases: &self.denials },
            Group { name: "decisions", cases: &self.decisions },
            Group { name: "threads", cases: &self.threads },
        ]
    }
}

fn requests(stores: &[(&str, Token, FileTokenStore)]) -> Vec<Case> {
    let (_, token, _) = &stores[0];
    let allowed = |name: String, token, app| {
        request_case(name, app, Template::new("/config", Some(token)), StatusCode::OK)
    };
    let mut cases = vec![
        allowed(BARE.to_owned(), token, served(router())),
        allowed(STATIC.to_owned(), token, with_static_token(token)),
        request_case(
            "the same around the router".to_owned(),
            static_token_layer(token).layer(served(router())),
            Template::new("/config", Some(token)),
            StatusCode::OK,
        ),
        allowed("axum from_fn, one static token".to_owned(), token, with_from_fn(token)),
    ];
    for (policy_name, policy) in POLICIES {
        for (name, token, store) in stores {
            let layer = || AuthLayer::new(store.clone()).policy(policy());
            let name = format!("{name}{policy_name}");
            cases.push(allowed(format!("layer, {name}"), token, served(router().layer(layer()))));
            cases.push(request_case(
                format!("around the router, {name}"),
                layer().layer(served(router())),
                Template::new("/config", Some(token)),
                StatusCode::OK,
            ));
        }
    }
    cases
}

/// The same request with its token in each place. All places are switched on.
fn carriers((_, token, store): &(&str, Token, FileTokenStore)) -> Vec<Case> {
    let secret = token.expose_secret();
    let basic = STANDARD.encode(format!("opencode:{secret}"));
    let own = HeaderName::from_static("x-opencode-token");
    let sources = CredentialSources::opencode().header(own.clone());
    let app = || served(router().layer(AuthLayer::new(store.clone()).credentials(sources.clone())));
    let with = |path: String, header: Option<(HeaderName, String)>| {
        let mut template = Template::new("/config", None);
        template.uri = path.parse().unwrap();
        if let Some((name, value)) = header {
            template.headers.insert(name, value.parse().unwrap());
        }
        template
    };
    let path = || "/config".to_owned();
    [
        ("carrier: Bearer", with(path(), Some((AUTHORIZATION, format!("Bearer {secret}"))))),
        ("carrier: Basic", with(path(), Some((AUTHORIZATION, format!("Basic {basic}"))))),
        ("carrier: header", with(path(), Some((own.clone(), secret.to_owned())))),
        ("carrier: query, token", with(format!("/config?auth_token={secret}"), None)),
        ("carrier: query, base64", with(format!("/config?a=b&auth_token={basic}"), None)),
        (
            "carrier: WebSocket protocol",
            with(path(), Some((SEC_WEBSOCKET_PROTOCOL, format!("bearer, {secret}")))),
        ),
    ]
    .into_iter()
    .map(|(name, template)| request_case(name.to_owned(), app(), template, StatusCode::OK))
    .collect()
}

fn denials((_, token, store): &(&str, Token, FileTokenStore)) -> Vec<Case> {
    let unknown = Token::generate().unwrap();
    let reader_store = opencode_auth::MemoryTokenStore::new();
    let created = reader_store
        .create(opencode_auth::NewToken::new().permissions(opencode_auth::Permissions::READ))
        .unwrap();
    let app = || served(router().layer(AuthLayer::new(store.clone())));
    let case = |name: &str, app, path, token, status| {
        request_case(name.to_owned(), app, Template::new(path, token), status)
    };
    vec![
        case(
            "denied: absent (static layer)",
            with_static_token(token),
            "/config",
            None,
            StatusCode::UNAUTHORIZED,
        ),
        case("denied: absent", app(), "/config", None, StatusCode::UNAUTHORIZED),
        case("denied: unknown", app(), "/config", Some(&unknown), StatusCode::UNAUTHORIZED),
        case(
            "denied: insufficient",
            served(router().layer(AuthLayer::new(reader_store))),
            "/session",
            Some(&created.token),
            StatusCode::FORBIDDEN,
        ),
    ]
}

/// The layer around a service that does nothing, beside that service and one SHA-256.
fn decisions(stores: &[(&str, Token, FileTokenStore)]) -> Vec<Case> {
    let secret: [u8; 32] = stores[0].1.expose_secret().as_bytes().try_into().unwrap();
    let alone = |name: String, app, token| {
        request_case(name, app, Template::new("/config", Some(token)), StatusCode::OK)
    };
    let nothing =
        || service_fn(async |_: Request| Ok::<_, Infallible>(Response::new(Body::empty())));
    let mut cases = vec![loop_case(DIGEST.to_owned(), move || {
        black_box(Sha256::digest(black_box(&secret)));
    })];
    cases.push(request_case(
        NOTHING.to_owned(),
        nothing(),
        Template::new("/config", Some(&stores[0].1)),
        StatusCode::OK,
    ));
    for (policy_name, policy) in POLICIES {
        for (name, token, store) in stores {
            let layer = AuthLayer::new(store.clone()).policy(policy());
            cases.push(alone(
                format!("decision, {name}{policy_name}"),
                layer.layer(nothing()),
                token,
            ));
        }
    }
    cases
}

/// The cost of a request on each of two threads, beside its cost on one: with the same token, and with nothing
/// shared.
fn threads(store: &(&str, Token, FileTokenStore)) -> Vec<Case> {
    let (_, token, store) = store;
    let template = Template::new("/config", Some(token));

    let shared = served(router().layer(AuthLayer::new(store.clone())));
    let apart = {
        let store = FileTokenStore::open(store.path()).unwrap();
        served(router().layer(AuthLayer::new(store)))
    };
    let bare = served(router());
    vec![
        thread_case("bare router, one thread", vec![bare.clone()], &template),
        thread_case("bare router, two threads", vec![bare.clone(), bare], &template),
        thread_case("layer, one thread", vec![shared.clone()], &template),
        thread_case("layer, two threads, nothing shared", vec![shared.clone(), apart], &template),
        thread_case("layer, two threads, one token", vec![shared.clone(), shared], &template),
    ]
}

fn router() -> Router {
    Router::new()
        .route("/config", get(async || "config"))
        .route("/session", get(async || "sessions"))
        .route("/session/{id}", get(async || "session"))
        .route("/file/content", get(async || "content"))
}

/// Builds the routes, as `axum::serve` does for each connection. Otherwise each request layers them again.
fn served(router: Router) -> Router {
    router.with_state(())
}

fn expected_header(token: &Token) -> HeaderValue {
    format!("Bearer {}", token.expose_secret()).parse().unwrap()
}

fn with_static_token(token: &Token) -> Router {
    served(router().layer(static_token_layer(token)))
}

fn static_token_layer(token: &Token) -> ValidateRequestHeaderLayer<impl Validate> {
    let expected = expected_header(token);
    ValidateRequestHeaderLayer::custom(move |request: &mut Request| {
        if request.headers().get(AUTHORIZATION) == Some(&expected) {
            return Ok(());
        }
        Err(StatusCode::UNAUTHORIZED.into_response())
    })
}

trait Validate: ValidateRequest<Body, ResponseBody = Body> + Clone + Send + Sync + 'static {}

impl<V: ValidateRequest<Body, ResponseBody = Body> + Clone + Send + Sync + 'static> Validate for V {}

fn with_from_fn(token: &Token) -> Router {
    let expected = expected_header(token);
    served(router().layer(from_fn(move |request: Request, next: Next| {
        let is_expected = request.headers().get(AUTHORIZATION) == Some(&expected);
        async move {
            if is_expected {
                next.run(request).await
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            }
        }
    })))
}

/// What requests are made of.
#[derive(Clone)]
struct Template {
    uri: Uri,
    headers: HeaderMap,
}

impl Template {
    fn new(path: &'static str, token: Option<&Token>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:4096"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        headers.insert("user-agent", HeaderValue::from_static("opencode/1.0"));
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, expected_header(token));
        }
        Self { uri: Uri::from_static(path), headers }
    }

    /// A copy that shares no bytes, like a request of another connection.
    fn unshared(&self) -> Self {
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), copy(value)));
        Self { uri: self.uri.clone(), headers: headers.collect() }
    }

    fn request(&self) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

trait App: Service<Request, Response = Response, Error = Infallible> + Clone + 'static {}

impl<S: Service<Request, Response = Response, Error = Infallible> + Clone + 'static> App for S {}

/// Sends requests one after another, each to a clone of the service, as a connection does.
fn request_case(name: String, app: impl App, template: Template, expected: StatusCode) -> Case {
    let runtime = runtime();
    let answer = runtime.block_on(app.clone().oneshot(template.request())).unwrap();
    assert_eq!(answer.status(), expected, "{name}");
    let run = move |times| runtime.block_on(send(&app, &template, times));
    Case { name, run: Box::new(run) }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn send(app: &impl App, template: &Template, times: u64) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = times;
    let mut requests = Vec::new();
    while left > 0 {
        let size = left.min(BATCH);
        left -= size;
        requests.extend((0..size).map(|_| template.request()));
        let started = Instant::now();
        for request in requests.drain(..) {
            drop(black_box(app.clone().oneshot(request).await));
        }
        elapsed += started.elapsed();
    }
    elapsed
}

fn loop_case(name: String, once: impl Fn() + 'static) -> Case {
    let run = move |times| {
        let started = Instant::now();
        (0..times).for_each(|_| once());
        started.elapsed()
    };
    Case { name, run: Box::new(run) }
}

/// Sends the same number of requests from each thread, to an app each. The slower thread counts.
fn thread_case(name: &str, apps: Vec<Router>, template: &Template) -> Case {
    let template = template.clone();
    let run = move |times| {
        let start = Arc::new(Barrier::new(apps.len()));
        let threads: Vec<_> = apps
            .iter()
            .map(|app| {
                let (app, template, start) = (app.clone(), template.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    let runtime = runtime();
                    let template = template.unshared();
                    // The thread of a connection has been warmed up.
                    runtime.block_on(send(&app, &template, WARM_UP));
                    start.wait();
                    runtime.block_on(send(&app, &template, times))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    };
    Case { name: name.to_owned(), run: Box::new(run) }
}
