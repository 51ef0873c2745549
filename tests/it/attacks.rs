//! Attacks that got past other systems, against routers of every shape. The one check: a handler runs only
//! if the token is granted what its route requires.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Uri};
use opencode_auth::{AuthLayer, MemoryTokenStore, NewToken, Permissions, Policy, Token};

use crate::lenient::{INTERACTIVE, is_interactive_to_some_reader};
use crate::marked::{Marks, harmless_routes, interactive_routes, reader, routes};
use crate::support::{bearer, permission_sets, request, send};

/// `{}` is each interactive prefix without its slash, in turn; `{^}` is it in upper case, and `{1}` its
/// first letter encoded, before the rest.
pub const PATHS: [&str; 74] = [
    // Traefik: dot segments, plain and encoded.
    "/public/../{}",
    "/config/%2e%2e/{}",
    "/config/%2E%2e/{}",
    "/config/.%2e/{}",
    "/./{}",
    "/%2e/{}",
    "/{}/../config",
    "/{}/..",
    "/../{}",
    "/files/../{}",
    "/files/../../{}/x",
    "/files/%2e%2e/{}",
    // Traefik: encoded delimiters.
    "/config%2f..%2f{}",
    "/files%2f{}",
    "/%2f{}",
    "/{}%2fx",
    "/{}%2Fx",
    "/{}%5cx",
    "/config%5c..%5c{}",
    "/%5c{}",
    "/{}%00",
    "/{}%00/x",
    "/%00{}",
    "/{}%3b",
    "/{}%3bx=1/x",
    "/{}%3f",
    "/{}%3fx",
    "/{}%23",
    "/{}%23x",
    // Traefik: a dot segment that appears only after stripping.
    "/api%2e/{}",
    "/api%2e%2e/{}",
    "/.%2e{}",
    // Caddy: letter case together with an escape.
    "/{^}",
    "/{^}/1",
    "/{^}%2Fx",
    "/{1}",
    "/{1}/1/message",
    "/{^}%2e",
    // Istio: slashes that are collapsed.
    "//{}",
    "///{}",
    "/{}//",
    "/{}//x",
    "/config//../{}",
    "//files//{}",
    // Shiro, Keycloak: matrix parameters.
    "/x/..;/{}",
    "/{};a=b",
    "/{};a=b/x",
    "/;a=b/{}",
    "/{}/;x",
    "/;{}",
    "/..;/{}",
    // Spring: control characters.
    "/{}/%0A",
    "/{}%0a",
    "/{}%0d%0a",
    "/%09{}",
    "/{}%7f",
    "/{}%c2%85",
    // Envoy and others: fragments, queries, backslashes, broken and double escapes.
    "/{}#frag",
    "/config#/{}",
    "/config?x=/{}",
    "/{}?x=/config",
    "/config\\..\\{}",
    "/\\{}",
    "/%255c{}",
    "/%252e%252e/{}",
    "/config/%252e%252e%252f{}",
    "/{}%",
    "/{}%zz",
    "/%u0070ty",
    "/%c0%ae%c0%ae/{}",
    "/{}%ff",
    // Characters that fold to ASCII letters.
    "/\u{17f}ession",
    "/%c5%bfession",
    "/me\u{df}age",
];

/// Harmless paths, which require only what their method requires. A policy that denies everything would
/// pass the other cases.
const HARMLESS: [&str; 8] =
    ["/config", "/config/", "/", "/{}s", "/{}.json", "/x/{}", "/config?x=/{}", "/files/x/{}"];

const METHODS: [&str; 14] = [
    "GET",
    "HEAD",
    "OPTIONS",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "QUERY",
    "get",
    "post",
    LONG_METHOD,
];
const LONG_METHOD: &str =
    "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM";

/// A row's paths.
pub fn spelled_out(row: &str) -> impl Iterator<Item = String> {
    INTERACTIVE.into_iter().map(move |prefix| {
        let (first, rest) = prefix.split_at(1);
        let encoded = format!("%{:02x}{rest}", first.as_bytes()[0]);
        row.replace("{^}", &prefix.to_uppercase()).replace("{1}", &encoded).replace("{}", prefix)
    })
}

/// Routers of every shape, and the path under which each serves its routes.
fn shapes(store: &MemoryTokenStore, marks: &Marks) -> Vec<(&'static str, Router, &'static str)> {
    let layer = AuthLayer::new(store.clone());
    let mounted = layer.clone().policy(Policy::default().mount("/api"));
    vec![
        ("flat", routes(marks).layer(layer.clone()), ""),
        (
            "merged",
            interactive_routes(marks).merge(harmless_routes(marks)).layer(layer.clone()),
            "",
        ),
        ("around nest", Router::new().nest("/api", routes(marks)).layer(mounted.clone()), "/api"),
        (
            "around nest with a fallback",
            Router::new().nest("/api", routes(marks)).fallback(reader(marks)).layer(mounted),
            "/api",
        ),
        ("inside nest", Router::new().nest("/api", routes(marks).layer(layer.clone())), "/api"),
        (
            "inside an interactive nest",
            Router::new().nest("/pty", routes(marks).layer(layer.clone())),
            "/pty",
        ),
        (
            "inside a service",
            Router::new().nest_service("/api", routes(marks).layer(layer.clone())),
            "/api",
        ),
        (
            "fallback service",
            Router::new().fallback_service(routes(marks)).layer(layer.clone()),
            "",
        ),
        ("only a fallback", Router::new().fallback(reader(marks)).layer(layer), ""),
    ]
}

fn tokens(store: &MemoryTokenStore) -> Vec<(Permissions, Token)> {
    permission_sets()
        .filter(|permissions| !permissions.is_empty())
        .map(|permissions| {
            (permissions, store.create(NewToken::new().permissions(permissions)).unwrap().token)
        })
        .collect()
}

#[tokio::test]
async fn no_spelling_of_a_path_reaches_a_route_that_the_token_may_not_use() {
    let (store, marks) = (MemoryTokenStore::new(), Marks::default());
    let tokens = tokens(&store);
    let (mut reached, mut refused) = (0, 0);
    for (shape, app, base) in shapes(&store, &marks) {
        for path in PATHS.into_iter().chain(HARMLESS).flat_map(spelled_out) {
            for path in [format!("{base}{path}"), path] {
                // What is no request target in this process goes over a socket elsewhere.
                if path.parse::<Uri>().is_err() {
                    continue;
                }
                for method in ["GET", "POST"] {
                    for (granted, token) in &tokens {
                        let response = send(&app, bearer(method, &path, token)).await;
                        let marks = marks.take();
                        for mark in &marks {
                            assert!(
                                granted.contains(mark.needed()),
                                "{shape}: {method} {path} with {granted:?} ran {mark:?}"
                            );
                        }
                        match response.status.as_u16() {
                            403 => refused += 1,
                            200 => reached += marks.len(),
                            404 | 405 => assert!(marks.is_empty()),
                            other => panic!("{shape}: {method} {path}: {other}"),
                        }
                    }
                }
            }
        }
    }
    assert!(reached > 5_000 && refused > 5_000, "{reached} reached, {refused} refused");
}

#[tokio::test]
async fn no_method_reaches_a_route_that_the_token_may_not_use() {
    let (store, marks) = (MemoryTokenStore::new(), Marks::default());
    let tokens = tokens(&store);
    for (shape, app, base) in shapes(&store, &marks) {
        for path in ["/config", "/global/health", "/session", "/pty/1/message", "/nowhere"] {
            for method in METHODS {
                for (granted, token) in &tokens {
                    let mut request = bearer(method, &format!("{base}{path}?_method=GET"), token);
                    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
                        request.headers_mut().insert(header, HeaderValue::from_static("GET"));
                    }
                    send(&app, request).await;
                    for mark in marks.take() {
                        assert_eq!(mark.method, *method);
                        assert!(
                            granted.contains(mark.needed()),
                            "{shape}: {method} {path} with {granted:?} ran {mark:?}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn headers_that_proxies_route_by_are_ignored() {
    let (store, marks) = (MemoryTokenStore::new(), Marks::default());
    let read = store.create(NewToken::new().permissions(Permissions::READ)).unwrap().token;
    let policy = Policy::default().public("GET".parse().unwrap(), "/global/health");
    let app: Router = routes(&marks).layer(AuthLayer::new(store).policy(policy));
    for header in [
        "x-forwarded-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-prefix",
        "x-forwarded-path",
        "x-middleware-subrequest",
        "x-authenticated-user",
        "x-forwarded-user",
        "forwarded",
        "host",
    ] {
        let with = |mut request: Request<Body>| {
            request.headers_mut().insert(header, HeaderValue::from_static("/global/health"));
            request
        };
        let response = send(&app, with(bearer("GET", "/session", &read))).await;
        assert_eq!(response.status, 403, "{header}");
        let response = send(&app, with(request("GET", "/config"))).await;
        assert_eq!(response.status, 401, "{header}");
        assert!(marks.take().is_empty());
    }
}

#[test]
fn the_lenient_readers_are_lenient() {
    for path in ["/x/..;/pty", "/config%2f..%2fpty", "/%2570ty", "/\\pty", "/PTY", "//pty#x"] {
        assert!(is_interactive_to_some_reader(path), "{path}");
    }
    for path in ["/", "/config", "/x/pty", "/ptyx", "/sessions/pty"] {
        assert!(!is_interactive_to_some_reader(path), "{path}");
    }
}
