//! Pages of other origins.

use axum::body::Body;
use axum::http::HeaderValue;

use crate::stub;
use crate::support::{Gateway, Received, basic, request, send};

async fn from(
    gateway: &Gateway,
    origin: &'static str,
    method: &str,
    authorization: &str,
) -> Received {
    let mut request = request(gateway.address, method, "/config", authorization);
    let headers = request.headers_mut();
    headers.insert("origin", HeaderValue::from_static(origin));
    if method == "OPTIONS" {
        headers.insert("access-control-request-method", HeaderValue::from_static("PATCH"));
        headers.insert(
            "access-control-request-headers",
            HeaderValue::from_static("authorization,content-type"),
        );
    }
    send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_is_the_upstreams_and_added_origins_are_the_gateways() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start_with(upstream, &["--cors", "https://app.example"]);
    let allowed = "access-control-allow-origin";

    let response = from(&gateway, "http://localhost:3000", "OPTIONS", "").await;
    assert_eq!((response.status, response.header(allowed)), (204, Some("http://localhost:3000")));
    assert_eq!(response.header("access-control-max-age"), Some("86400"));

    let response = from(&gateway, "https://app.example", "OPTIONS", "").await;
    assert_eq!((response.status, response.header(allowed)), (204, Some("https://app.example")));
    assert_eq!(response.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert!(response.header("access-control-allow-methods").unwrap().contains("PATCH"));

    let response = from(&gateway, "https://evil.example", "OPTIONS", "").await;
    assert_eq!((response.status, response.header(allowed)), (204, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_reaches_the_upstream_without_query_body_and_its_length() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let mut request = request(gateway.address, "OPTIONS", "/config?directory=/tmp/evil", "");
    *request.body_mut() = Body::from("the length of this would cover the next request");
    for (name, value) in [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "POST"),
        ("x-opencode-directory", "/tmp/evil"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = send(request).await;
    assert_eq!((response.status, response.header("x-target")), (204, Some("/config")));
    assert_eq!(
        response.header("x-headers"),
        Some(
            "access-control-request-method forwarded host origin via x-forwarded-for \
             x-forwarded-host x-forwarded-proto"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn page_of_an_allowed_origin_can_read_responses_and_denials() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start_with(upstream, &["--cors", "https://app.example"]);
    let authorization = basic(&gateway.token);
    for (origin, authorization, status, allowed) in [
        ("http://localhost:3000", &*authorization, 200, true),
        ("http://localhost:3000", "", 401, true),
        ("https://app.opencode.ai", "", 401, true),
        ("https://app.example", &*authorization, 200, true),
        ("https://app.example", "", 401, true),
        ("https://evil.example", "", 401, false),
        ("https://evil-opencode.ai", "", 401, false),
        ("https://opencode.ai.evil.example", "", 401, false),
        ("https://evil.example", &*authorization, 200, false),
    ] {
        let response = from(&gateway, origin, "GET", authorization).await;
        assert_eq!(response.status, status, "{origin}");
        let header = response.header("access-control-allow-origin");
        assert_eq!(header, allowed.then_some(origin), "{origin} {status}");
    }
    let response = from(&gateway, "https://evil.example", "PATCH", &authorization).await;
    assert_eq!(response.status, 403);
    assert!(response.json()["message"].as_str().unwrap().contains("origin"));
}

#[test]
fn malformed_origin_is_named_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let output = crate::support::command(&directory)
        .args(["--cors", "https://app.example/path", "--upstream=http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("error: failed to trust the origin `https://app.example/path`: "),
        "{error}"
    );
}
