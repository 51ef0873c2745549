//! opencode 2.0.

use serde_json::json;

use crate::stub;
use crate::support::{Gateway, basic, request, send};

#[tokio::test(flavor = "multi_thread")]
async fn api_of_the_second_generation_is_guarded() {
    let (upstream, _) = stub::second().await;
    let mut gateway = Gateway::start(upstream);
    let response = gateway.get("/api/config").await;
    assert_eq!((response.status, response.json()), (200, json!({ "model": "stub" })));
    for target in ["/api/config", "/", "/some/page"] {
        assert_eq!(send(request(gateway.address, "GET", target, "")).await.status, 401, "{target}");
    }
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn web_page_is_refused_where_the_root_is_the_api() {
    let (upstream, _) = stub::first().await;
    let directory = tempfile::tempdir().unwrap();
    let output = crate::support::command(&directory)
        .arg(format!("--upstream=http://{upstream}"))
        .arg("--web-page")
        .env("OPENCODE_PASSWORD", crate::support::PASSWORD)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "error: --web-page is for opencode 2.0, and this is opencode 1.18.33\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn web_page_of_the_second_generation_is_public_on_request() {
    let (upstream, _) = stub::second().await;
    let gateway = Gateway::start_with(upstream, &["--web-page"]);
    for (target, status) in [
        ("/", 200),
        ("/some/page", 200),
        ("/api/config", 401),
        ("/api/../api/config", 401),
        ("/%61pi/config", 401),
        ("//api/config", 401),
        ("/openapi.json", 401),
        ("/auth/login", 401),
    ] {
        let response = send(request(gateway.address, "GET", target, "")).await;
        assert_eq!(response.status, status, "{target}");
    }
    let authorization = basic(&gateway.token);
    assert_eq!(
        send(request(gateway.address, "GET", "/api/config", &authorization)).await.status,
        200
    );
}
