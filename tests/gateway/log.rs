//! One line a request.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use opencode_auth::Permissions;
use serde_json::Value;

use crate::stub;
use crate::support::{Gateway, basic, eventually, request, send};

#[tokio::test(flavor = "multi_thread")]
async fn log_says_who_did_what_and_no_secret() {
    let (upstream, _) = stub::first().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.log");
    let gateway =
        Gateway::start_with(upstream, &["--log", path.to_str().unwrap(), "--log-format", "json"]);
    let read = gateway.token("viewer", Permissions::READ);
    let id = gateway.store.list().unwrap()[0].id().to_string();
    for (method, target, authorization) in [
        ("GET", "/config", basic(&gateway.token)),
        ("GET", &*format!("/config?auth_token={}", gateway.token), String::new()),
        ("POST", "/echo", format!("Bearer {read}")),
        ("GET", "/config", String::new()),
        ("GET", &*format!("/{}", gateway.token), String::new()),
    ] {
        send(request(gateway.address, method, target, &authorization)).await;
    }
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"] == "request").collect()
    };
    eventually("five requests are logged", || lines().len() == 5);
    let lines = lines();
    let of = |line: &Value| {
        ["method", "path", "status", "token", "name", "carrier", "denial"].map(|key| {
            match &line[key] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            }
        })
    };
    assert_eq!(of(&lines[0]), ["GET", "/config", "200", &id, "all", "basic", "null"]);
    assert_eq!(of(&lines[1]), ["GET", "/config", "200", &id, "all", "query", "null"]);
    assert_eq!(of(&lines[2])[..3], ["POST", "/echo", "403"]);
    assert_eq!(of(&lines[2])[6], "permission_missing");
    assert_eq!(
        of(&lines[3]),
        ["GET", "/config", "401", "null", "null", "null", "credentials_absent"]
    );
    assert_eq!(of(&lines[4])[1], "<contains a token>");
    for line in &lines {
        assert!(line["ms"].is_u64() && line["timestamp"].is_string(), "{line}");
    }
    let text = fs::read_to_string(&path).unwrap() + &gateway.stderr();
    for secret in [&*gateway.token, &read, crate::support::PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
