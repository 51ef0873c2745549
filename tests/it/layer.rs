//! The layer around routers and services of all kinds.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, Full};
use opencode_auth::{AuthBody, AuthLayer, MemoryTokenStore, Permissions, Policy, Principal, Token};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::marked::{Marks, harmless_routes, interactive_routes, reader, routes};
use crate::support::{bearer, request, send, store_with};

fn app(store: MemoryTokenStore) -> Router {
    Router::new()
        .route("/config", get(|principal: Principal| async move { principal.id().to_string() }))
        .fallback(|| async { "fallback" })
        .layer(AuthLayer::new(store))
}

#[tokio::test]
async fn a_valid_token_passes_and_the_handler_sees_the_principal() {
    let (store, token) = store_with(Permissions::READ);
    let app = app(store.clone());
    let response = send(&app, bearer("GET", "/config", &token)).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body, store.list()[0].id().to_string());
}

#[tokio::test]
async fn without_a_token_nothing_inside_is_reached() {
    let (store, _token) = store_with(Permissions::ALL);
    let app = app(store);
    for path in ["/config", "/nowhere", "/"] {
        let response = send(&app, request("GET", path)).await;
        assert_eq!(response.status, 401, "{path}");
        assert_eq!(response.header("www-authenticate"), Some(r#"Bearer realm="opencode""#));
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}

/// The statuses of a request with a token for everything, with one that may read, and with none.
async fn statuses(
    app: &Router,
    layer_store: &MemoryTokenStore,
    method: &str,
    path: &str,
) -> [u16; 3] {
    let token = |permissions| {
        layer_store.create(opencode_auth::NewToken::new().permissions(permissions)).unwrap().token
    };
    let (all, read) = (token(Permissions::ALL), token(Permissions::READ));
    [
        send(app, bearer(method, path, &all)).await.status.as_u16(),
        send(app, bearer(method, path, &read)).await.status.as_u16(),
        send(app, request(method, path)).await.status.as_u16(),
    ]
}

#[tokio::test]
async fn every_route_of_a_finished_router_is_behind_the_layer() {
    let store = MemoryTokenStore::new();
    let (layer, marks) = (AuthLayer::new(store.clone()), Marks::default());
    let flat = routes(&marks).layer(layer.clone());
    let merged = interactive_routes(&marks).merge(harmless_routes(&marks)).layer(layer.clone());
    let nested = Router::new()
        .nest("/api", routes(&marks))
        .layer(layer.clone().policy(Policy::default().mount("/api")));
    let fallback = Router::new().fallback_service(routes(&marks)).layer(layer.clone());
    let only_fallback = Router::new().fallback(reader(&marks)).layer(layer.clone());
    for (case, app, base) in [
        ("flat", flat, ""),
        ("merged", merged, ""),
        ("nested", nested, "/api"),
        ("fallback service", fallback, ""),
        ("only a fallback", only_fallback, ""),
    ] {
        for (method, path, expected) in [
            ("GET", "/config", [200, 200, 401]),
            ("PATCH", "/config", [200, 403, 401]),
            ("GET", "/session", [200, 403, 401]),
            ("POST", "/session/1/message", [200, 403, 401]),
        ] {
            let path = format!("{base}{path}");
            assert_eq!(statuses(&app, &store, method, &path).await, expected, "{case}: {path}");
        }
    }
    assert!(marks.take().iter().all(|mark| !mark.headers.contains_key("authorization")));
}

#[tokio::test]
async fn requests_without_a_route_are_behind_the_layer_too() {
    let store = MemoryTokenStore::new();
    let app = Router::new()
        .route("/config", get(|| async { "config" }))
        .route("/tool", post(|| async { "tool" }))
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "not so") })
        .layer(AuthLayer::new(store.clone()));
    for (method, path, expected) in [
        ("DELETE", "/config", [405, 403, 401]),
        ("GET", "/tool", [405, 405, 401]),
        ("GET", "/nowhere", [404, 404, 401]),
        ("POST", "/nowhere", [404, 403, 401]),
    ] {
        assert_eq!(statuses(&app, &store, method, path).await, expected, "{method} {path}");
    }
}

/// Why the layer belongs on a finished router: elsewhere axum does not call it for requests without a route.
#[tokio::test]
async fn on_a_part_of_a_router_it_guards_that_part_and_no_fallback() {
    let layer = || AuthLayer::new(MemoryTokenStore::new());
    let routes = |path| Router::new().route(path, get(async || "route"));
    let fallback = async || "fallback";
    let nested = Router::new().nest("/config", routes("/").layer(layer()));
    for (case, app, expected) in [
        ("route_layer", routes("/config").fallback(fallback).route_layer(layer()), [401, 200, 200]),
        (
            "before the fallback",
            routes("/config").layer(layer()).fallback(fallback),
            [401, 200, 200],
        ),
        ("nested", nested.fallback(fallback), [401, 200, 200]),
        ("finished", routes("/config").fallback(fallback).layer(layer()), [401, 401, 401]),
    ] {
        for (path, expected) in ["/config", "/config/nowhere", "/nowhere"].into_iter().zip(expected)
        {
            assert_eq!(send(&app, request("GET", path)).await.status, expected, "{case}: {path}");
        }
    }
}

#[tokio::test]
async fn inside_nest_a_request_requires_what_either_path_requires() {
    let store = MemoryTokenStore::new();
    let marks = Marks::default();
    let inside = |base: &str, policy| {
        let inner = routes(&marks).layer(AuthLayer::new(store.clone()).policy(policy));
        Router::new().nest(base, inner)
    };
    let plain = Policy::default;
    for (case, app, path, expected) in [
        ("harmless on both", inside("/api", plain()), "/api/config", [200, 200, 401]),
        ("inner path is interactive", inside("/api", plain()), "/api/session", [200, 403, 401]),
        ("outer path is interactive", inside("/pty", plain()), "/pty/config", [200, 403, 401]),
        (
            "mount says the same",
            inside("/api", plain().mount("/api")),
            "/api/config",
            [200, 200, 401],
        ),
        ("and this", inside("/api", plain().mount("/api")), "/api/session", [200, 403, 401]),
        ("mistyped mount", inside("/api", plain().mount("/apl")), "/api/config", [200, 403, 401]),
        ("ambiguous outside", inside("/a;b", plain()), "/a;b/config", [200, 403, 401]),
        ("fallback inside", inside("/api", plain()), "/api/nowhere", [200, 200, 401]),
        (
            "a prefix between the two paths is interactive",
            Router::new().nest("/v1", inside("/pty", plain())),
            "/v1/pty/config",
            [200, 403, 401],
        ),
    ] {
        assert_eq!(statuses(&app, &store, "GET", path).await, expected, "{case}");
    }
}

#[tokio::test]
async fn a_request_outside_the_mount_requires_all_permissions() {
    let store = MemoryTokenStore::new();
    let marks = Marks::default();
    for mount in ["/api/v1", "api/v1/", "//api//v1"] {
        let app = Router::new()
            .nest("/api/v1", routes(&marks))
            .fallback(reader(&marks))
            .layer(AuthLayer::new(store.clone()).policy(Policy::default().mount(mount)));
        for (path, expected) in [
            ("/api/v1/config", [200, 200, 401]),
            // A strict router takes it elsewhere, a lenient one to the API.
            ("/API/v1/config", [200, 403, 401]),
            ("/api/v1/pty", [200, 403, 401]),
            ("/config", [200, 403, 401]),
            ("/api/v10/config", [200, 403, 401]),
            ("/api", [200, 403, 401]),
        ] {
            assert_eq!(statuses(&app, &store, "GET", path).await, expected, "{mount}: {path}");
        }
    }
}

#[tokio::test]
async fn a_plain_tower_service_with_full_bodies_is_wrapped() {
    let (store, token) = store_with(Permissions::READ);
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        assert!(request.headers().get("authorization").is_none());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"reached"))))
    });
    let service = AuthLayer::new(store).wrap_body().layer(inner);
    let call = async |authorization: Option<String>| {
        let mut request = Request::get("/config");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let response: Response<AuthBody<Full<Bytes>>> =
            service.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    let allowed = call(Some(format!("Bearer {}", token.expose_secret()))).await;
    assert_eq!(allowed, (200, Bytes::from_static(b"reached")));
    let (status, body) = call(None).await;
    assert_eq!(status, 401);
    assert!(body.starts_with(br#"{"name":"UnauthorizedError""#));
}

#[tokio::test]
async fn a_router_of_axum_0_7_is_wrapped() {
    let (store, token) = store_with(Permissions::READ);
    let app = axum07::Router::new()
        .route("/config", axum07::routing::any(|| async { "config" }))
        .route("/pty/:id/connect", axum07::routing::any(|| async { "pty" }))
        .fallback(|| async { "fallback" })
        .layer(AuthLayer::new(store).wrap_body());
    let call = async |method: &str, path: &str, token: Option<&Token>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("bearer {}", token.expose_secret()));
        }
        let request = request.body(axum07::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    let config = call("GET", "/config", Some(&token)).await;
    assert_eq!(config, (200, Bytes::from_static(b"config")));
    let nowhere = call("GET", "/nowhere", Some(&token)).await;
    assert_eq!(nowhere, (200, Bytes::from_static(b"fallback")));
    assert_eq!(call("PATCH", "/config", Some(&token)).await.0, 403);
    assert_eq!(call("GET", "/pty/1/connect", Some(&token)).await.0, 403);
    assert_eq!(call("GET", "/nowhere", None).await.0, 401);
}

#[tokio::test]
async fn a_public_route_is_exactly_that_method_and_path() {
    let store = MemoryTokenStore::new();
    let policy = Policy::default()
        .public(Method::GET, "/global/health")
        .public(Method::POST, "/config")
        .public(Method::HEAD, "/files/x");
    let who = async |principal: Option<Principal>, request: Request<Body>| {
        let token = request.headers().contains_key("authorization");
        format!("{} {token}", principal.is_some())
    };
    let app = Router::new().fallback(who).layer(AuthLayer::new(store.clone()).policy(policy));
    for (method, path, expected) in [
        ("GET", "/global/health", 200),
        ("HEAD", "/global/health", 200),
        ("GET", "/global/health?verbose=1", 200),
        ("POST", "/config", 200),
        ("HEAD", "/files/x", 200),
        ("POST", "/global/health", 401),
        ("OPTIONS", "/global/health", 401),
        ("get", "/global/health", 401),
        ("GET", "/global/health/", 401),
        ("GET", "/global/health/detailed", 401),
        ("GET", "/global/healthy", 401),
        ("GET", "/Global/health", 401),
        ("GET", "/global/%68ealth", 401),
        ("GET", "//global/health", 401),
        ("GET", "/global/../global/health", 401),
        ("GET", "/session?/global/health", 401),
        ("GET", "/config", 401),
        ("GET", "/files/x", 401),
    ] {
        let response = send(&app, request(method, path)).await;
        assert_eq!(response.status.as_u16(), expected, "{method} {path}");
        if expected == 200 {
            assert_eq!(response.body, if method == "HEAD" { "" } else { "false false" });
        }
    }
    // It is not examined: even a valid token makes no principal of it.
    let (store, token) = store_with(Permissions::ALL);
    let policy = Policy::default().public(Method::GET, "/global/health");
    let app = Router::new().fallback(who).layer(AuthLayer::new(store).policy(policy));
    assert_eq!(send(&app, bearer("GET", "/global/health", &token)).await.body, "false true");
    assert_eq!(send(&app, bearer("GET", "/config", &token)).await.body, "true false");
}

#[tokio::test]
async fn inside_nest_a_route_is_public_by_either_path() {
    for (public, expected) in [("/health", 200), ("/api/health", 200), ("/api", 401)] {
        let policy = Policy::default().public(Method::GET, public);
        let layer = AuthLayer::new(MemoryTokenStore::new()).policy(policy);
        let inner = Router::new().route("/health", get(|| async {})).layer(layer);
        let response =
            send(&Router::new().nest("/api", inner), request("GET", "/api/health")).await;
        assert_eq!(response.status.as_u16(), expected, "{public}");
    }
}
