//! Requests that a browser makes for another site's page, with the password that it remembers.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{Request, Response, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opencode_auth::{
    AuthLayer, CredentialSources, Denial, MemoryTokenStore, Permissions, Policy, Token,
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use crate::support::store_with;

const HOST: &str = "code.example:4096";
const TRUSTED: &str = "https://app.example";

/// A guarded service that trusts one other origin, and a token that may do everything.
fn guarded(
    policy: Policy,
) -> (impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone, Token) {
    let (store, token) = store_with(Permissions::ALL);
    let inner =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let layer = AuthLayer::new(store)
        .policy(policy)
        .credentials(CredentialSources::opencode())
        .trusted_origins([TRUSTED])
        .unwrap();
    (layer.layer(inner), token)
}

fn basic(token: &Token) -> String {
    format!("Basic {}", STANDARD.encode(format!("opencode:{}", token.expose_secret())))
}

/// The rule, written anew: whether the request is denied.
fn is_denied(
    method: &str,
    upgrade: bool,
    site: Option<&str>,
    origin: Option<&str>,
    ambient: bool,
) -> bool {
    let changes = upgrade || !["GET", "HEAD", "OPTIONS"].contains(&method);
    let trusted = origin == Some(TRUSTED);
    let foreign = match (site, origin) {
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => true,
        (None, Some(origin)) => origin != format!("http://{HOST}"),
    };
    ambient && changes && foreign && !trusted
}

#[tokio::test]
async fn ambient_credentials_count_only_for_pages_of_the_same_or_a_trusted_origin() {
    let (service, token) = guarded(Policy::default());
    let (basic, token) = (basic(&token), token.expose_secret());
    let sites =
        [None, Some("same-origin"), Some("same-site"), Some("cross-site"), Some("none"), Some("?")];
    let own = format!("http://{HOST}");
    let origins = [
        None,
        Some(&*own),
        Some("http://code.example:4097"),
        Some("http://code.example"),
        Some("http://evil.example:4096"),
        Some("https://app.example.evil.example"),
        Some("null"),
        Some("?"),
        Some(""),
        Some(TRUSTED),
    ];
    let (mut denied, mut allowed) = (0, 0);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for method in
            ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "QUERY", "CONNECT"]
        {
            for upgrade in [false, true] {
                for site in sites {
                    for origin in origins {
                        for (carrier, ambient) in [
                            ("basic", true),
                            ("bearer", false),
                            ("query", false),
                            ("protocol", false),
                        ] {
                            let query = if carrier == "query" {
                                &*format!("?auth_token={token}")
                            } else {
                                ""
                            };
                            let mut request = Request::builder().method(method).version(version);
                            request = if version == Version::HTTP_2 {
                                request.uri(format!("http://{HOST}/config{query}"))
                            } else {
                                request.uri(format!("/config{query}")).header("host", HOST)
                            };
                            request = match carrier {
                                "basic" => request.header("authorization", &*basic),
                                "bearer" => {
                                    request.header("authorization", format!("Bearer {token}"))
                                }
                                "protocol" => request
                                    .header("sec-websocket-protocol", format!("bearer, {token}")),
                                _ => request,
                            };
                            if upgrade {
                                request = request
                                    .header("upgrade", "websocket")
                                    .header("connection", "upgrade");
                            }
                            if let Some(site) = site {
                                request = request.header("sec-fetch-site", site);
                            }
                            if let Some(origin) = origin {
                                request = request.header("origin", origin);
                            }
                            let request = request.body(Body::empty()).unwrap();
                            let response = service.clone().oneshot(request).await.unwrap();
                            let changes = upgrade || method == "CONNECT";
                            let expected = is_denied(method, changes, site, origin, ambient);
                            let case = format!(
                                "{version:?} {method} {upgrade} {site:?} {origin:?} {carrier}"
                            );
                            let denial = response.extensions().get::<Denial>();
                            if expected {
                                assert_eq!(denial, Some(&Denial::CrossOrigin), "{case}");
                                assert_eq!(response.status(), 403, "{case}");
                                assert!(
                                    !response.headers().contains_key("www-authenticate"),
                                    "{case}"
                                );
                                denied += 1;
                            } else {
                                assert_eq!(
                                    (denial, response.status().as_u16()),
                                    (None, 200),
                                    "{case}"
                                );
                                allowed += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(denied > 500 && allowed > 1_000, "{denied} {allowed}");
}

#[tokio::test]
async fn repeated_or_absent_headers_do_not_open_it() {
    let (service, token) = guarded(Policy::default());
    let basic = basic(&token);
    let own = &*format!("http://{HOST}");
    for (case, headers, status) in [
        ("no browser", vec![("host", HOST)], 200),
        (
            "two origins",
            vec![("host", HOST), ("origin", own), ("origin", "http://evil.example")],
            403,
        ),
        (
            "a trusted origin and another",
            vec![("host", HOST), ("origin", TRUSTED), ("origin", "http://evil.example")],
            403,
        ),
        (
            "two sites",
            vec![
                ("host", HOST),
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            403,
        ),
        ("two hosts", vec![("host", "evil.example"), ("host", HOST), ("origin", own)], 403),
        ("no host", vec![("origin", own)], 403),
        ("the host in upper case", vec![("host", "CODE.example:4096"), ("origin", own)], 200),
    ] {
        let mut request = Request::post("/config").header("authorization", &*basic);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{case}");
    }
}

#[test]
fn a_trusted_origin_is_exactly_one() {
    let layer = || AuthLayer::new(MemoryTokenStore::new());
    for origin in [
        "https://app.example",
        "http://localhost:3000",
        "http://127.0.0.1:4096",
        "http://[::1]:8080",
        "tauri://localhost",
        "https://xn--bcher-kva.example",
        "http://app.example:443",
    ] {
        assert!(layer().trusted_origins([origin]).is_ok(), "{origin}");
    }
    for (origin, problem) in [
        ("", "it has no scheme"),
        ("null", "it has no scheme"),
        ("*", "it has no scheme"),
        ("app.example", "it has no scheme"),
        ("://app.example", "its scheme is not one in lower case"),
        ("HTTPS://app.example", "its scheme is not one in lower case"),
        ("https://app.example/", "it has more than scheme, host and port"),
        ("https://app.example/x", "it has more than scheme, host and port"),
        ("https://user@app.example", "it has more than scheme, host and port"),
        ("https://app.example?x", "it has more than scheme, host and port"),
        ("https://*.example", "it has a wildcard, and only exact origins are compared"),
        ("https://App.example", "its host is not in lower case and Punycode, as browsers send it"),
        (
            "https://bücher.example",
            "its host is not in lower case and Punycode, as browsers send it",
        ),
        ("https://", "its host or port is malformed"),
        ("https://:443", "its host or port is malformed"),
        ("https://app.example:", "its host or port is malformed"),
        ("https://app.example:x", "its host or port is malformed"),
        ("https://app.example:08", "its host or port is malformed"),
        ("https://app.example:65536", "its host or port is malformed"),
        ("https://app example", "its host or port is malformed"),
        ("https://app.example:443", "it names the port that browsers leave out"),
        ("http://app.example:80", "it names the port that browsers leave out"),
    ] {
        let error = layer().trusted_origins(["https://good.example", origin]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "failed to trust the origin `{origin}`: {problem}; write it as browsers do, such as \
                 `https://example.org:8443`"
            )
        );
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}

/// opencode loads the plugins of a directory that a request names, so a `GET` from another site's page could
/// run code with the password that the browser remembers.
#[tokio::test]
async fn a_get_that_names_a_directory_has_to_come_from_the_same_or_a_trusted_origin() {
    let (service, token) = guarded(Policy::default());
    let (basic, bearer) = (basic(&token), format!("Bearer {}", token.expose_secret()));
    for (query, site, origin, authorization, expected) in [
        ("?directory=/tmp/x", "cross-site", None, &basic, 403),
        ("?a=b&location[directory]=/tmp/x", "same-site", None, &basic, 403),
        ("?location%5Bdirectory%5D=/tmp/x", "cross-site", None, &basic, 403),
        ("?Directory=/tmp/x", "cross-site", None, &basic, 403),
        ("?directory=/tmp/x", "cross-site", Some(TRUSTED), &basic, 200),
        ("?directory=/tmp/x", "same-origin", None, &basic, 200),
        ("?directory=/tmp/x", "none", None, &basic, 200),
        ("?directory=/tmp/x", "cross-site", None, &bearer, 200),
        ("?roots=true", "cross-site", None, &basic, 200),
        ("", "cross-site", None, &basic, 200),
    ] {
        let mut request = Request::get(format!("/config{query}"))
            .header("host", HOST)
            .header("sec-fetch-site", site)
            .header("authorization", authorization);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected, "{query} {site} {origin:?} {authorization}");
        let is_cross_origin = response.extensions().get() == Some(&Denial::CrossOrigin);
        assert_eq!(is_cross_origin, expected == 403);
    }
}

/// A host's rule, a prefix, and a path in doubt: for each of them the policy knows better than the method.
#[tokio::test]
async fn a_get_that_requires_more_than_read_has_to_come_from_the_same_or_a_trusted_origin() {
    let policy = Policy::default()
        .rule("GET".parse().unwrap(), "/hooks/{id}", Permissions::EXECUTE)
        .rule("GET".parse().unwrap(), "/reset", Permissions::WRITE)
        .rule("GET".parse().unwrap(), "/list", Permissions::READ)
        .rule("POST".parse().unwrap(), "/search", Permissions::READ);
    let (service, token) = guarded(policy);
    let (basic, bearer) = (basic(&token), format!("Bearer {}", token.expose_secret()));
    for (method, path, expected) in [
        ("GET", "/hooks/1", 403),
        ("HEAD", "/hooks/1", 403),
        ("GET", "/reset", 403),
        ("GET", "/pty/1", 403),
        ("GET", "/config/%2e%2e/x", 403),
        ("GET", "/config", 200),
        ("HEAD", "/config", 200),
        ("GET", "/list", 200),
        // That it only reads is no reason to trust the method.
        ("POST", "/search", 403),
    ] {
        for (site, origin, authorization, expected) in [
            ("cross-site", None, &basic, expected),
            ("same-site", None, &basic, expected),
            ("cross-site", Some(TRUSTED), &basic, 200),
            ("same-origin", None, &basic, 200),
            ("none", None, &basic, 200),
            ("cross-site", None, &bearer, 200),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", HOST)
                .header("sec-fetch-site", site)
                .header("authorization", authorization);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            let case = format!("{method} {path} {site} {origin:?} {authorization}");
            assert_eq!(response.status(), expected, "{case}");
            let is_cross_origin = response.extensions().get() == Some(&Denial::CrossOrigin);
            assert_eq!(is_cross_origin, expected == 403, "{case}");
        }
    }
}
