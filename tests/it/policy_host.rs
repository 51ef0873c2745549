//! What a host adds to a policy: rules, public patterns, directories.

use axum::extract::OriginalUri;
use axum::http::{Method, Request};
use opencode_auth::{Permissions, Policy, Requirement};

const READ: Permissions = Permissions::READ;
const WRITE: Permissions = Permissions::WRITE;
const EXECUTE: Permissions = Permissions::EXECUTE;
const ALL: Permissions = Permissions::ALL;

#[track_caller]
fn assert_decided(policy: &Policy, method: &str, uri: &str, required: Permissions, rule: &str) {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let decision = policy.decide(&request);
    let expected = (Requirement::Permissions(required), rule.to_owned());
    assert_eq!((decision.requirement, decision.to_string()), expected, "{method} {uri}");
}

#[track_caller]
fn assert_public(policy: &Policy, method: &str, uri: &str, expected: bool) {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let is_public = policy.decide(&request).requirement == Requirement::Public;
    assert_eq!(is_public, expected, "{method} {uri}");
}

#[test]
fn a_rule_wins_over_table_and_method_and_may_lower_them() {
    let add = |policy: Policy| {
        policy
            .rule(Method::POST, "/hooks/{name}", WRITE)
            .rule(Method::POST, "/hooks/deploy", WRITE | EXECUTE)
            .rule(Method::GET, "/pages/{*page}", READ)
            .rule(Method::POST, "/tui/append-prompt", WRITE)
    };
    for policy in [add(Policy::opencode()), add(Policy::by_method())] {
        for (method, path, required, rule) in [
            ("POST", "/hooks/build", WRITE, "rule POST /hooks/{name}"),
            ("POST", "/hooks/deploy", WRITE | EXECUTE, "rule POST /hooks/deploy"),
            ("GET", "/pages/a/b/c", READ, "rule GET /pages/{*page}"),
            ("HEAD", "/pages/a", READ, "rule GET /pages/{*page}"),
            ("POST", "/tui/append-prompt", WRITE, "rule POST /tui/append-prompt"),
            ("POST", "/hooks/a%2fb", ALL, "ambiguous path: encoded slash"),
            ("POST", "/hooks//", ALL, "ambiguous path: empty segment"),
        ] {
            assert_decided(&policy, method, path, required, rule);
        }
    }
    let policy = add(Policy::opencode());
    assert_decided(&policy, "POST", "/hooks", ALL, "unknown operation");
    assert_decided(&policy, "POST", "/hooks/a/b", ALL, "unknown operation");
    assert_decided(&policy, "PUT", "/hooks/build", ALL, "unknown operation");
    assert!(policy.operations().any(|operation| operation.path() == "/hooks/{name}"));
}

#[test]
fn a_rule_replaces_the_operation_with_its_method_and_pattern_in_the_list() {
    let policy = Policy::opencode()
        .rule(Method::GET, "/session/{id}", Permissions::NONE) // the table's parameter has another name
        .rule(Method::GET, "/session/{id}/{*rest}", READ)
        .rule(Method::PUT, "/session/{id}", WRITE);
    let operations: Vec<_> = policy.operations().collect();
    let (table, rules) = operations.split_at(operations.len() - 3);
    let named = |name| table.iter().any(|operation| operation.name() == name);
    assert_eq!(table.len(), 284);
    assert!(!named("session.get") && named("session.update") && named("session.list"));
    let rules: Vec<_> = rules.iter().map(|rule| (rule.name(), rule.required())).collect();
    assert_eq!(
        rules,
        [
            ("GET /session/{id}", Permissions::NONE),
            ("GET /session/{id}/{*rest}", READ),
            ("PUT /session/{id}", WRITE),
        ]
    );
}

#[test]
fn a_rule_is_relative_to_the_mount_and_an_interactive_prefix_adds_to_it() {
    let policy = Policy::default()
        .mount("/api/v1")
        .rule(Method::POST, "/sessions/{id}/prompt", WRITE | EXECUTE)
        .rule(Method::GET, "/session/{id}", READ);
    assert_decided(
        &policy,
        "POST",
        "/api/v1/sessions/1/prompt",
        WRITE | EXECUTE,
        "rule POST /sessions/{id}/prompt",
    );
    assert_decided(&policy, "POST", "/sessions/1/prompt", ALL, "outside the mount");
    assert_decided(&policy, "GET", "/api/v1/session/1", READ | EXECUTE, "prefix /session");
    let lowered = Policy::by_method().rule(Method::GET, "/session/{id}", READ);
    assert_decided(&lowered, "GET", "/session/1", READ, "rule GET /session/{id}");
}

#[test]
fn of_a_public_pattern_and_a_rule_the_more_specific_one_decides() {
    for mount in ["", "/a", "/a/b/c"] {
        let policy = Policy::by_method()
            .mount(mount)
            .public(Method::GET, &format!("{mount}/{{*rest}}"))
            .public(Method::GET, &format!("{mount}/files/open"))
            .rule(Method::GET, "/files/{id}", EXECUTE);
        assert_public(&policy, "GET", &format!("{mount}/other/1"), true);
        assert_public(&policy, "GET", &format!("{mount}/files/open"), true);
        let path = format!("{mount}/files/1");
        assert_decided(&policy, "GET", &path, EXECUTE, "rule GET /files/{id}");
    }
}

#[test]
fn public_patterns_match_as_axum_s_routes() {
    let policy = Policy::opencode()
        .public(Method::GET, "/assets/{*rest}")
        .public(Method::GET, "/icons/{name}")
        .rule(Method::GET, "/assets/private", READ);
    for (method, path, expected) in [
        ("GET", "/assets/a.js", true),
        ("HEAD", "/assets/a/b.js", true),
        ("POST", "/assets/a.js", false),
        ("GET", "/assets", false),
        ("GET", "/assets/", false),
        ("GET", "/assets/private", false),
        ("GET", "/assets/%2e%2e/config", false),
        ("GET", "/assets/a%2fb", false),
        ("GET", "/icons/a", true),
        ("GET", "/icons/a/b", false),
        ("GET", "/ICONS/a", false),
    ] {
        assert_public(&policy, method, path, expected);
    }
}

#[test]
fn an_invalid_or_clashing_pattern_is_found_when_the_policy_is_built() {
    let rule = |policy: Policy, pattern| policy.try_rule(Method::GET, pattern, READ);
    for (pattern, problem) in [
        ("hooks", "it does not begin with `/`"),
        ("/{*rest}/x", "something follows `{*rest}`"),
        ("/icon-{size}", "a parameter is not a whole segment"),
        ("/{}", "a parameter has no name"),
        ("/{a", "a brace has no partner"),
        ("/a/../b", "ambiguous pattern"),
        ("/a//b", "ambiguous pattern"),
        ("/a%2fb", "ambiguous pattern"),
    ] {
        let error = rule(Policy::by_method(), pattern).unwrap_err().to_string();
        assert!(error.contains(problem), "{pattern}: {error}");
        let error = Policy::by_method().try_public(Method::GET, pattern).unwrap_err().to_string();
        assert!(error.contains(problem), "{pattern}: {error}");
    }
    let policy = rule(Policy::by_method(), "/hooks/{name}").unwrap();
    assert_eq!(
        rule(policy, "/hooks/{other}").unwrap_err().to_string(),
        "`GET /hooks/{other}` clashes with `GET /hooks/{name}`: both match the same paths"
    );
}

#[test]
#[should_panic(expected = "it does not begin with `/`")]
fn a_builder_panics_on_an_invalid_pattern() {
    let _ = Policy::by_method().rule(Method::GET, "hooks", READ);
}

#[test]
fn a_directory_outside_of_the_allowed_ones_requires_everything() {
    let policy = Policy::opencode().directories(["/home/me/work", "/srv/x/"]);
    let outside = "directory outside the allowed ones";
    for (query, header, expected) in [
        ("", None, None),
        ("?directory=/home/me/work", None, None),
        ("?directory=%2Fhome%2Fme%2Fwork%2Fapp", None, None),
        ("?a=b&directory=/srv/x/y&c=d", None, None),
        ("?location[directory]=/srv/x", None, None),
        ("?location%5Bdirectory%5D=/srv/x", None, None),
        ("", Some("/srv/x"), None),
        ("", Some("%2Fsrv%2Fx"), None),
        ("?directory=/srv/x", Some("/srv/x"), None),
        ("", Some("/srv/x/%C3%A9"), None),
        ("", Some("/srv/x/é"), Some("ambiguous directory")),
        ("?directory=/tmp", None, Some(outside)),
        ("?directory=/home/me/workshop", None, Some(outside)),
        ("?directory=/", None, Some(outside)),
        ("", Some("/tmp"), Some(outside)),
        ("?location[directory]=/tmp", None, Some(outside)),
        ("?directory=/srv/x", Some("/home/me/work"), Some("more than one directory")),
        ("?directory=/srv/x&directory=/tmp", None, Some("more than one directory")),
        ("?directory=/srv/x&location[directory]=/srv/x", None, Some("more than one directory")),
        ("?directory=", None, Some("relative directory")),
        ("?directory=srv/x", None, Some("relative directory")),
        ("?directory=/srv/x/../../etc", None, Some("ambiguous directory")),
        ("?directory=/srv/x/%2e%2e/y", None, Some("ambiguous directory")),
        ("?directory=/srv/x%00", None, Some("ambiguous directory")),
        ("?directory=/srv/x/a+b", None, Some("ambiguous directory")),
        ("?directory=/srv/x;y", None, Some("ambiguous directory")),
        ("?directory=/srv/x%5c..", None, Some("ambiguous directory")),
        ("?directory=/srv/x%ff", None, Some("ambiguous directory")),
        ("?directory=/srv//x", None, Some("ambiguous directory")),
        ("?a=b;directory=/tmp", None, Some("ambiguous directory")),
        ("?Directory=/tmp", None, Some("ambiguous directory")),
        ("?directory[]=/tmp", None, Some("ambiguous directory")),
        ("?%2564irectory=/tmp", None, Some("ambiguous directory")),
        ("?location=/tmp", None, Some("ambiguous directory")),
    ] {
        let mut request = Request::get(format!("/file{query}"));
        if let Some(header) = header {
            request = request.header("x-opencode-directory", header);
        }
        let decision = policy.decide(&request.body(()).unwrap());
        let doubt = decision.doubt().map(|doubt| doubt.to_string());
        assert_eq!(doubt.as_deref(), expected, "{query} {header:?}");
        let required = if expected.is_some() { ALL } else { READ };
        assert_eq!(decision.requirement, Requirement::Permissions(required), "{query} {header:?}");
    }
    // A query of more than 8,192 bytes is not searched.
    for (length, expected) in [
        (8192, "operation file.list"),
        (8193, "ambiguous directory"),
        (9000, "ambiguous directory"),
    ] {
        let request = Request::get(format!("/file?x={}", "a".repeat(length - 2))).body(()).unwrap();
        assert_eq!(policy.decide(&request).to_string(), expected, "{length}");
    }
    // The query that was sent counts beside the one that is left.
    let mut request = Request::get("/file").body(()).unwrap();
    request.extensions_mut().insert(OriginalUri("/file?directory=/tmp".parse().unwrap()));
    assert_eq!(policy.decide(&request).to_string(), outside);
    // A doubt about the path comes first.
    let request = Request::get("/a;b?directory=/tmp").body(()).unwrap();
    assert_eq!(policy.decide(&request).to_string(), "ambiguous path: `;` in a segment");
    // A public route loads the plugins of a directory as any other.
    let policy = policy.public(Method::GET, "/assets/{*rest}");
    assert_public(&policy, "GET", "/assets/a.js", true);
    assert_public(&policy, "GET", "/assets/a.js?v=1&directory=/srv/x", true);
    assert_public(&policy, "GET", "/assets/a.js?directory=/tmp", false);
    for directory in ["work", "", "/a/../b", "/a//b", "C:\\work", "/a%2fb"] {
        assert!(Policy::opencode().try_directories([directory]).is_err(), "{directory}");
    }
}

#[test]
fn an_empty_list_of_directories_allows_none() {
    let policy = Policy::opencode().directories::<&str>([]);
    for (target, required, by) in [
        ("/file", READ, "operation file.list"),
        ("/file?directory=/srv/x", ALL, "directory outside the allowed ones"),
    ] {
        let decision = policy.decide(&Request::get(target).body(()).unwrap());
        assert_eq!(decision.requirement, Requirement::Permissions(required), "{target}");
        assert_eq!(decision.to_string(), by, "{target}");
    }
}

#[test]
fn the_web_page_of_2_0_is_public_and_its_api_is_not() {
    let policy: Policy = Policy::opencode_v2().public_web_page().into();
    for (method, path, expected) in [
        ("GET", "/", true),
        ("HEAD", "/session/ses_1", true),
        ("GET", "/assets/index.js", true),
        ("POST", "/", false),
        ("GET", "/api", false),
        ("GET", "/api/info", false),
        ("GET", "/api/unknown", false),
        ("GET", "/auth/connect/x", false),
        ("GET", "/auth", false),
        ("GET", "/openapi.json", false),
        ("GET", "/API/info", false),
        ("GET", "/%61pi/info", false),
        ("GET", "/x/../api/info", false),
        ("GET", "//api/info", false),
        ("GET", "/openapi.json/", false),
    ] {
        assert_public(&policy, method, path, expected);
    }
    assert_decided(&policy, "GET", "/api/info", READ, "operation server.info");
}

#[test]
fn the_default_policy_protects_the_interactive_paths_of_both_versions() {
    let policy = Policy::default();
    for word in ["pty", "session", "message"] {
        for prefix in ["", "/api"] {
            let rule = format!("prefix {prefix}/{word}");
            assert_decided(&policy, "GET", &format!("{prefix}/{word}/1"), READ | EXECUTE, &rule);
        }
    }
    assert_decided(&Policy::by_method(), "GET", "/pty", READ, "method");
}
