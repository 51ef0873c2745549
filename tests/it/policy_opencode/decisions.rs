//! What each request requires, and by which rule.

use std::hint::black_box;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use opencode_auth::{Permissions, Policy, Requirement, Rule};
use proptest::prelude::*;

use super::audit::{AUDIT, required};
use super::server::Server;
use crate::support::{nested, permission_sets, request};

const READ: Permissions = Permissions::READ;
const WRITE: Permissions = Permissions::WRITE;
const WRITE_EXECUTE: Permissions = WRITE.union(Permissions::EXECUTE);
const ALL: Permissions = Permissions::ALL;

/// Sends every operation with every set of permissions.
async fn assert_allowed_exactly(server: &Server, mount: &str) {
    for operation in AUDIT.iter() {
        let uri = format!("{mount}{}", operation.example()).parse().unwrap();
        for method in operation.methods() {
            for granted in permission_sets() {
                let (status, ran) = server.send(&method, &uri, granted).await;
                let ran: Vec<_> = ran.into_iter().map(|ran| &*ran.name).collect();
                if granted.contains(operation.required) {
                    assert_eq!(ran, [&*operation.name], "{method} {uri} with {granted}");
                    assert_eq!(status, StatusCode::OK, "{method} {uri} with {granted}");
                } else {
                    assert!(ran.is_empty(), "{method} {uri} with {granted} ran {ran:?}");
                    let refused = if granted.is_empty() {
                        StatusCode::UNAUTHORIZED
                    } else {
                        StatusCode::FORBIDDEN
                    };
                    assert_eq!(status, refused, "{method} {uri} with {granted}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_operation_is_allowed_only_with_the_required_permissions() {
    assert_allowed_exactly(&Server::strict(Policy::opencode()), "").await;
}

#[tokio::test]
async fn each_operation_under_a_mount_is_allowed_only_with_the_required_permissions() {
    let server = Server::nested_inside(Policy::opencode().mount("/api/v1"));
    assert_allowed_exactly(&server, "/api/v1").await;
}

#[tokio::test]
async fn each_operation_of_a_guard_within_nest_is_allowed_only_with_the_required_permissions() {
    let server = Server::nested_outside(Policy::opencode());
    assert_allowed_exactly(&server, "/api/v1").await;
}

#[track_caller]
fn assert_explained(policy: &Policy, request: &Request<Body>, needs: Permissions, rule: &str) {
    let decision = policy.decide(request);
    let expected = (Requirement::Permissions(needs), rule.to_owned());
    assert_eq!(
        (decision.requirement, decision.to_string()),
        expected,
        "{} {}",
        request.method(),
        request.uri()
    );
}

#[test]
fn the_rule_is_named() {
    let policy = Policy::opencode();
    for (method, path, needs, rule) in [
        ("GET", "/session", READ, "operation session.list"),
        ("HEAD", "/session", READ, "operation session.list"),
        ("GET", "/session/status", READ, "operation session.status"),
        ("GET", "/session/STATUS", READ, "operation session.get"),
        ("GET", "/session/ses_1", READ, "operation session.get"),
        ("GET", "/session/a%20b", READ, "operation session.get"),
        ("GET", "/session/%C3%A9", READ, "operation session.get"),
        ("GET", "/session/ses_1?directory=/etc", READ, "operation session.get"),
        ("POST", "/session/ses_1/message", WRITE_EXECUTE, "operation session.prompt"),
        ("POST", "/sync/history", READ, "operation sync.history.list"),
        ("GET", "/pty/pty_1/connect", READ | Permissions::EXECUTE, "operation pty.connect"),
        (
            "DELETE",
            "/experimental/workspace/status",
            WRITE,
            "operation experimental.workspace.remove",
        ),
        ("GET", "/api/integration/attempt", READ, "operation v2.integration.get"),
        ("GET", "/api/integration/attempt/x", READ, "operation v2.integration.attempt.status"),
        ("GET", "/api/fs/read/a", READ, "operation v2.fs.read"),
        ("GET", "/api/fs/read/a/b/c.txt", READ, "operation v2.fs.read"),
        ("GET", "/api/fs/read/a/", READ, "operation v2.fs.read"),
        ("GET", "/api/fs/read/", ALL, "unknown operation"),
        ("GET", "/api/fs/read", ALL, "unknown operation"),
        ("GET", "/", ALL, "unknown operation"),
        ("GET", "/sessions", ALL, "unknown operation"),
        ("GET", "/session/", ALL, "unknown operation"),
        ("GET", "/session/ses_1/", ALL, "unknown operation"),
        ("GET", "/SESSION", ALL, "unknown operation"),
        ("GET", "/%73ession", ALL, "unknown operation"),
        ("GET", "/session%20", ALL, "unknown operation"),
        ("GET", "/session/ses_1/message/msg_1/part/prt_1", ALL, "unknown operation"),
        ("PUT", "/session", ALL, "unknown operation"),
        ("OPTIONS", "/session", ALL, "unknown operation"),
        ("CONNECT", "/session", ALL, "unknown operation"),
        ("TRACE", "/session", ALL, "unknown operation"),
        ("get", "/session", ALL, "unknown operation"),
        ("GET", "/session//x", ALL, "ambiguous path: empty segment"),
        ("GET", "/session/../config", ALL, "ambiguous path: dot segment"),
        ("GET", "/session%2Fx", ALL, "ambiguous path: encoded slash"),
        ("GET", "/session/x;a", ALL, "ambiguous path: `;` in a segment"),
        ("GET", "/session/a%00", ALL, "ambiguous path: control character"),
        ("GET", "/session/%ff", ALL, "ambiguous path: not UTF-8"),
        ("GET", "/se%c5%bfsion", ALL, "ambiguous path: U+017F, which folds to ASCII letters"),
        ("GET", "/api/fs/read/a%23b", ALL, "ambiguous path: `#` in a segment"),
    ] {
        assert_explained(&policy, &request(method, path), needs, rule);
    }
    // The same table, shifted: the mount and the rest are compared as sent.
    let policy = policy.mount("api/v1/");
    for (path, needs, rule) in [
        ("/api/v1/session", READ, "operation session.list"),
        ("/API/%761/session", ALL, "ambiguous path: the mount in another spelling"),
        ("/api/v1/api/session", READ, "operation v2.session.list"),
        ("/api/v1/SESSION", ALL, "unknown operation"),
        ("/api/v1/session/", ALL, "unknown operation"),
        ("/api/v1/", ALL, "unknown operation"),
        ("/api/v1", ALL, "unknown operation"),
        ("/session", ALL, "outside the mount"),
        ("/api/session", ALL, "outside the mount"),
        ("/api/v1session", ALL, "outside the mount"),
        ("/api/v1/../session", ALL, "ambiguous path: dot segment"),
    ] {
        assert_explained(&policy, &request("GET", path), needs, rule);
    }
    // The default policy says the same in other words.
    let policy = Policy::default();
    for (method, path, needs, rule) in [
        ("GET", "/config", READ, "method"),
        ("GET", "/pty/", READ | Permissions::EXECUTE, "prefix /pty"),
        ("OPTIONS", "/config", READ, "method"),
        ("TRACE", "/pty", ALL, "unknown method"),
        ("GET", "/a%2fb", ALL, "ambiguous path: encoded slash"),
    ] {
        assert_explained(&policy, &request(method, path), needs, rule);
    }
}

#[test]
fn an_unknown_path_adds_nothing_to_a_known_one() {
    let policy = Policy::opencode();
    for (path, original, needs, rule) in [
        ("/session", "/v1/session", READ, "operation session.list"),
        ("/x", "/session/x", ALL, "unknown operation"),
        ("/pty", "/api/pty", WRITE_EXECUTE, "operation pty.create"),
        ("/session", "/pty", WRITE_EXECUTE, "operation pty.create"),
        ("/x", "/v1/x", ALL, "unknown operation"),
        ("/session", "/v1//session", ALL, "ambiguous path: empty segment"),
    ] {
        let method = if needs == WRITE_EXECUTE { "POST" } else { "GET" };
        assert_explained(&policy, &nested(method, path, original), needs, rule);
    }
    let policy = policy.mount("/v1");
    for (path, original, needs, rule) in [
        ("/session", "/v1/session", READ, "operation session.list"),
        ("/session", "/v1/x", ALL, "outside the mount"),
        ("/v1/x", "/session", ALL, "unknown operation"),
    ] {
        assert_explained(&policy, &nested("GET", path, original), needs, rule);
    }
}

#[test]
fn interactive_and_public_work_on_top() {
    let policy = Policy::opencode()
        .interactive("/tui")
        .interactive("/session")
        .public(Method::GET, "/global/health");
    for (method, path, needs, rule) in [
        ("POST", "/tui/open-help", WRITE_EXECUTE, "prefix /tui"),
        ("POST", "/tui/submit-prompt", WRITE_EXECUTE, "operation tui.submitPrompt"),
        ("GET", "/tui/control/next", READ | Permissions::EXECUTE, "prefix /tui"),
        ("GET", "/session", READ | Permissions::EXECUTE, "prefix /session"),
        ("GET", "/config", READ, "operation config.get"),
        ("POST", "/TUI/open-help", ALL, "unknown operation"),
        ("POST", "/global/health", ALL, "unknown operation"),
    ] {
        assert_explained(&policy, &request(method, path), needs, rule);
    }
    for method in ["GET", "HEAD"] {
        let request = request(method, "/global/health");
        let decision = policy.decide(&request);
        assert_eq!((decision.requirement, decision.rule), (Requirement::Public, Rule::Public));
    }
}

#[test]
fn a_decision_allocates_nothing() {
    let policy = Policy::opencode().mount("/v1").interactive("/tui");
    let assert_allocates_nothing = |method: &Method, path: &str| {
        let request = request(method.as_str(), path);
        let counted = allocation_counter::measure(|| {
            black_box(policy.decide(&request).requirement);
        });
        assert_eq!(counted.count_total, 0, "{method} {path}");
    };
    assert_allocates_nothing(&Method::GET, "/v1/session/ses_1");
    for operation in AUDIT.iter() {
        // A parameter that begins as, or is, a literal beside it makes a router backtrack.
        for path in [
            operation.example(),
            operation.path.replace('{', "s").replace('}', ""),
            operation.path.replace('{', "attempt").replace('}', ""),
            format!("{}/more", operation.example()),
            operation.example().to_uppercase(),
        ] {
            for method in operation.methods() {
                assert_allocates_nothing(&method, &format!("/v1{path}"));
                assert_allocates_nothing(&method, &path);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_interactive_prefix_never_lowers_what_a_request_requires(
        operation in any::<prop::sample::Index>(),
        depth in 0..6_usize,
        prefixes in prop::collection::vec("/[a-z]{0,7}", 0..3),
    ) {
        let operation = operation.get(&AUDIT);
        let path = operation.example();
        let own: Vec<_> = path.split('/').take(depth + 1).collect();
        for base in [Policy::default(), Policy::opencode(), Policy::opencode().mount("/api")] {
            let before = required(&base, &operation.method, &path);
            let more = prefixes.iter().fold(base.clone(), |policy, prefix| policy.interactive(prefix));
            prop_assert!(required(&more, &operation.method, &path).contains(before));
            let more = more.interactive(&own.join("/"));
            prop_assert!(required(&more, &operation.method, &path).contains(before));
        }
        let policy = Policy::opencode().interactive(&own.join("/"));
        prop_assert_eq!(
            required(&policy, &operation.method, &path),
            operation.required | Permissions::EXECUTE
        );
    }
}
