//! The layer inside and around nested routers. The route that runs decides what a request requires, whatever
//! path the layer sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::map_request;
use axum::routing::{MethodFilter, get, on, post};
use opencode_auth::{AuthLayer, Permissions, Policy};

use crate::support::{bearer, permission_sets, request, send, store_with};

const READ: Permissions = Permissions::READ;

/// Routes of an opencode server and what each requires: two that the table knows as harmless, two that run
/// code, and three that it does not know.
const ROUTES: [(Method, &str, &str, Permissions); 7] = [
    (Method::GET, "/config", "/config", READ),
    (Method::GET, "/session", "/session", READ),
    (Method::POST, "/pty", "/pty", Permissions::WRITE.union(Permissions::EXECUTE)),
    (
        Method::POST,
        "/session/{id}/message",
        "/session/s/message",
        Permissions::WRITE.union(Permissions::EXECUTE),
    ),
    (Method::POST, "/session/{id}/wait", "/session/s/wait", Permissions::ALL),
    (Method::GET, "/status", "/status", Permissions::ALL),
    (Method::GET, "/content", "/content", Permissions::ALL),
];

/// The route, and whether it ran.
fn routes(ran: &Arc<AtomicBool>) -> Router {
    ROUTES.iter().fold(Router::new(), |router, (method, pattern, ..)| {
        let ran = Arc::clone(ran);
        let handler = move || {
            ran.store(true, Ordering::SeqCst);
            std::future::ready("ran")
        };
        router.route(pattern, on(MethodFilter::try_from(method.clone()).unwrap(), handler))
    })
}

/// The paths that the nested routers below are reached by.
const BASES: [&str; 9] = [
    "/api",
    "/v1",
    "/session",
    "/session/x",
    "/file",
    "/pty",
    "/v1/pty",
    "/api/session",
    "/api/v1",
];

#[tokio::test]
async fn a_route_runs_only_with_the_permissions_that_it_requires() {
    for granted in permission_sets().filter(|granted| !granted.is_empty()) {
        let (store, token) = store_with(granted);
        let layer = |policy: Policy| AuthLayer::new(store.clone()).policy(policy);
        let ran = Arc::new(AtomicBool::new(false));
        let plain = || routes(&ran);
        let inside = || plain().layer(layer(Policy::opencode()));
        let mut apps = vec![("flat".to_owned(), inside(), String::new())];
        for base in BASES {
            let mounted = || layer(Policy::opencode().mount(base));
            let (first, rest) = base[1..].split_once('/').map_or((base, None), |(first, rest)| {
                (&base[..=first.len()], Some(format!("/{rest}")))
            });
            let twice = |router: Router| match &rest {
                Some(rest) => Router::new().nest(first, Router::new().nest(rest, router)),
                None => Router::new().nest(first, router),
            };
            let app = |case: &str, app: Router| (format!("{case} {base}"), app, base.to_owned());
            apps.extend([
                app("inside", Router::new().nest(base, inside())),
                app("inside two nests", twice(inside())),
                app("inside a parameter", Router::new().nest("/{a}", inside())),
                app("around with a mount", Router::new().nest(base, plain()).layer(mounted())),
                app("inside with a mount", Router::new().nest(base, plain().layer(mounted()))),
                app(
                    "merged",
                    Router::new().nest(base, inside()).merge(Router::new().route("/x", get("x"))),
                ),
                app("fallback", Router::new().fallback_service(Router::new().nest(base, inside()))),
            ]);
            // Nothing in the tables begins so. Elsewhere a missing mount is a mistake.
            if base == "/v1" {
                let around = Router::new().nest(base, plain()).layer(layer(Policy::opencode()));
                apps.push(app("around, no mount", around));
            }
        }
        for (case, app, base) in apps {
            for (method, _, path, required) in &ROUTES {
                ran.store(false, Ordering::SeqCst);
                let path = format!("{base}{path}");
                let response = send(&app, bearer(method.as_str(), &path, &token)).await;
                let ran = ran.load(Ordering::SeqCst);
                assert!(
                    !ran || granted.contains(*required),
                    "{case}: {method} {path} ran with {granted}: {}",
                    response.status
                );
                let is_exact = ["flat", "inside ", "inside two"]
                    .iter()
                    .any(|exact| case.starts_with(exact))
                    && !["inside a p", "inside with"].iter().any(|other| case.starts_with(other));
                // Nothing else adds to these bases, so the route also runs as soon as it may.
                if is_exact && ["", "/v1", "/api"].contains(&&*base) {
                    assert_eq!(
                        ran,
                        granted.contains(*required),
                        "{case}: {method} {path}, {granted}"
                    );
                }
            }
        }
    }
}

/// Found by an attack: the original path stood in for the shortened one.
#[tokio::test]
async fn an_unknown_operation_is_not_opened_by_the_path_before_nest() {
    let ran = Arc::new(AtomicBool::new(false));
    let (store, token) = store_with(READ);
    let inner = routes(&ran).layer(AuthLayer::new(store).policy(Policy::opencode()));
    let app = Router::new().nest("/api", inner);
    // 2.0 has `POST /api/session/{id}/wait`, which requires read. The route here is another one.
    let response = send(&app, bearer("POST", "/api/session/s/wait", &token)).await;
    assert_eq!((response.status.as_u16(), ran.load(Ordering::SeqCst)), (403, false));
    assert_eq!(response.json()["data"]["reason"], "unknown operation");
}

#[tokio::test]
async fn a_path_that_something_else_rewrote_is_not_trusted() {
    async fn rewrite(mut request: Request) -> Request {
        *request.uri_mut() = "/global/health".parse().unwrap();
        request
    }
    let (store, token) = store_with(READ);
    let policies = [Policy::default(), Policy::opencode(), Policy::by_method()];
    for policy in policies.map(|policy| policy.public(Method::GET, "/global/health")) {
        let app = Router::new()
            .route("/pty", get("a terminal").post("a terminal"))
            .layer(AuthLayer::new(store.clone()).policy(policy))
            .layer(map_request(rewrite));
        assert_eq!(send(&app, request("GET", "/pty")).await.status, 401);
        assert_eq!(send(&app, bearer("POST", "/pty", &token)).await.status, 403);
    }
}

#[tokio::test]
async fn an_interactive_prefix_counts_wherever_nest_removed_it() {
    let (store, read) = store_with(READ);
    let layer = || AuthLayer::new(store.clone());
    let terminal = || Router::new().route("/{id}", get("a terminal")).layer(layer());
    for (case, app, path) in [
        (
            "nested twice",
            Router::new().nest("/v1", Router::new().nest("/pty", terminal())),
            "/v1/pty/1",
        ),
        ("nested at two segments", Router::new().nest("/v1/pty", terminal()), "/v1/pty/1"),
        ("nested at a parameter", Router::new().nest("/{t}/pty", terminal()), "/x/pty/1"),
        ("nested", Router::new().nest("/pty", terminal()), "/pty/1"),
        ("nested under /api", Router::new().nest("/api/message", terminal()), "/api/message/1"),
    ] {
        assert_eq!(send(&app, bearer("GET", path, &read)).await.status, 403, "{case}");
    }
}

/// As axum documents: `Router::layer` guards only the routes that were added before it.
#[tokio::test]
async fn routes_added_after_the_layer_are_open() {
    let (store, _) = store_with(READ);
    let guarded =
        || Router::new().route("/config", get("config")).layer(AuthLayer::new(store.clone()));
    for (case, app, method, path, expected) in [
        ("the route", guarded(), "GET", "/config", 401),
        ("another route", guarded().route("/later", get("later")), "GET", "/later", 200),
        (
            "another method",
            guarded().merge(Router::new().route("/config", post("later"))),
            "POST",
            "/config",
            200,
        ),
        ("fallback", guarded().fallback(async || "later"), "GET", "/nowhere", 200),
        (
            "method_not_allowed_fallback",
            guarded().method_not_allowed_fallback(async || "later"),
            "POST",
            "/config",
            200,
        ),
    ] {
        assert_eq!(send(&app, request(method, path)).await.status, expected, "{case}");
    }
}

#[tokio::test]
async fn a_long_path_is_denied_before_it_is_decoded() {
    let (store, read) = store_with(READ);
    let app = Router::new().fallback(async || "ran").layer(AuthLayer::new(store));
    let path = format!("/{}", "%61".repeat(20_000));
    let response = send(&app, bearer("GET", &path, &read)).await;
    assert_eq!(response.status, 403);
    assert_eq!(response.json()["data"]["reason"], "ambiguous path: too long");
}
