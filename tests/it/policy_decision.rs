//! A decision names its rule.

use axum::body::Body;
use axum::http::{Method, Request};
use opencode_auth::{Ambiguity, Doubt, Permissions, Policy, Requirement, Rule};

use crate::support::{nested, nested_at, request};

/// The required permissions and the rule, in words.
fn decided(policy: &Policy, request: &Request<Body>) -> (String, String) {
    let decision = policy.decide(request);
    assert_eq!(decision.to_string(), decision.rule.to_string());
    (decision.requirement.to_string(), decision.to_string())
}

#[test]
fn the_rule_is_named() {
    let policy = Policy::default().interactive("tui/").public(Method::GET, "/global/health");
    let mounted = policy.clone().mount("/api/v1");
    let long = format!("/%41{}", "a".repeat(4096));
    for (policy, method, path, required, rule) in [
        (&policy, "GET", "/global/health", "no token", "public route"),
        (&policy, "HEAD", "/global/health", "no token", "public route"),
        (&policy, "POST", "/global/health", "write", "method"),
        (&policy, "GET", "/config", "read", "method"),
        (&policy, "DELETE", "/config", "write", "method"),
        (&policy, "GET", "/tui/open", "read,execute", "prefix /tui"),
        (&policy, "GET", "/TUI", "read,execute", "prefix /tui"),
        (&policy, "POST", "/pty", "write,execute", "prefix /pty"),
        (&policy, "LINK", "/config", "read,write,execute", "unknown method"),
        (&policy, "LINK", "/pty", "read,write,execute", "unknown method"),
        (&policy, "GET", "*", "read,write,execute", "ambiguous path: no leading slash"),
        (&policy, "GET", "//", "read,write,execute", "ambiguous path: empty segment"),
        (&policy, "GET", "/.", "read,write,execute", "ambiguous path: dot segment"),
        (&policy, "GET", "/a%2f", "read,write,execute", "ambiguous path: encoded slash"),
        (&policy, "GET", "/a;", "read,write,execute", "ambiguous path: `;` in a segment"),
        (&policy, "GET", "/%zz", "read,write,execute", "ambiguous path: `%` in a segment"),
        (&policy, "GET", "/%0a", "read,write,execute", "ambiguous path: control character"),
        (&policy, "GET", "/%ff", "read,write,execute", "ambiguous path: not UTF-8"),
        (
            &policy,
            "GET",
            "/\u{17f}",
            "read,write,execute",
            "ambiguous path: U+017F, which folds to ASCII letters",
        ),
        (&policy, "GET", &long, "read,write,execute", "ambiguous path: too long"),
        (&policy, "GET", "/%F0%9F%A6%80/🦀", "read", "method"),
        (&mounted, "GET", "/api/v1/config", "read", "method"),
        (&mounted, "GET", "/api/v1", "read", "method"),
        (&mounted, "GET", "/api/v1/tui", "read,execute", "prefix /tui"),
        (&mounted, "GET", "/api/config", "read,write,execute", "outside the mount"),
        (&mounted, "GET", "/global/health", "no token", "public route"),
    ] {
        let decided = decided(policy, &request(method, path));
        assert_eq!(decided, (required.to_owned(), rule.to_owned()), "{method} {path}");
    }
}

#[test]
fn of_two_paths_the_rule_is_that_of_the_more_demanding() {
    let plain = Policy::default();
    let mounted = Policy::default().mount("/api");
    for (policy, path, original, required, rule) in [
        (&plain, "/config", "/api/config", "read", "method"),
        (&plain, "/pty/1", "/api/pty/1", "read,execute", "prefix /pty"),
        (&plain, "/1", "/pty/1", "read,execute", "prefix /pty"),
        (&plain, "/pty/1", "/session/pty/1", "read,execute", "prefix /pty"),
        (
            &plain,
            "/config",
            "/a;b/config",
            "read,write,execute",
            "ambiguous path: `;` in a segment",
        ),
        (&plain, "/a;b", "/pty/a;b", "read,write,execute", "ambiguous path: `;` in a segment"),
        // A path outside the mount adds nothing where the other one is inside.
        (&mounted, "/config", "/api/config", "read", "method"),
        (&mounted, "/api/config", "/outer/api/config", "read", "method"),
        (&mounted, "/api/pty", "/outer/api/pty", "read,execute", "prefix /pty"),
        // Only `nest` records the prefix that it removed.
        (&mounted, "/pty", "/api/config", "read,write,execute", "outside the mount"),
        (&mounted, "/config", "/outer/config", "read,write,execute", "outside the mount"),
        (&mounted, "//", "/api/config", "read,write,execute", "ambiguous path: empty segment"),
    ] {
        let decided = decided(policy, &nested("GET", path, original));
        assert_eq!(decided, (required.to_owned(), rule.to_owned()), "{path} was {original}");
    }
}

/// What the sender has chosen does not say which route runs.
#[test]
fn a_path_that_was_nested_under_a_parameter_says_nothing_of_the_rest() {
    let mounted = Policy::default().mount("/api").public(Method::GET, "/api/health");
    let opencode = Policy::opencode();
    for (policy, base, path, required, rule) in [
        (&mounted, "/api", "/api/config", "read", "method"),
        (&mounted, "/{tenant}", "/api/config", "read,write,execute", "outside the mount"),
        (&mounted, "/{tenant}", "/t/api/config", "read", "method"),
        (&mounted, "/{tenant}", "/pty/api/config", "read", "method"),
        (&mounted, "/{tenant}", "/api/pty/1", "read,write,execute", "outside the mount"),
        (&mounted, "/api", "/api/health", "no token", "public route"),
        (&mounted, "/{tenant}", "/api/health", "read,write,execute", "outside the mount"),
        (&mounted, "/{tenant}", "/t/api/health", "no token", "public route"),
        (&mounted, "/api/health", "/api/health", "no token", "public route"),
        // The shortened path decides, and it is unknown.
        (&opencode, "/file", "/file/content", "read,write,execute", "unknown operation"),
        (&opencode, "/{w}", "/file/content", "read,write,execute", "unknown operation"),
        (&opencode, "/{w}", "/w/file/content", "read", "operation file.read"),
        (&opencode, "/a/{w}", "/a/session/session/status", "read", "operation session.status"),
    ] {
        let decided = decided(policy, &nested_at(base, request("GET", path)));
        assert_eq!(decided, (required.to_owned(), rule.to_owned()), "{path} at {base}");
    }
}

#[test]
fn a_path_that_was_changed_after_nest_is_not_trusted() {
    let mounted = Policy::default().mount("/api").public(Method::GET, "/api");
    for (original, changed, required) in [
        ("/api/config", "/config", "read"),
        ("/api/config", "/pty", "read,write,execute"),
        ("/api/config", "/", "read,write,execute"),
        ("/api", "/", "no token"),
        ("/api", "/pty", "read,write,execute"),
    ] {
        let mut request = nested_at("/api", request("GET", original));
        *request.uri_mut() = changed.parse().unwrap();
        assert_eq!(decided(&mounted, &request).0, required, "{original}, then {changed}");
    }
    // Both are paths of the web page, and what runs need not be.
    let page = Policy::opencode_v2().public_web_page().into();
    let decided = decided(&page, &nested("GET", "/index", "/x/page"));
    assert_eq!(decided, ("read,write,execute".to_owned(), "unknown operation".to_owned()));
}

/// The rest of an API's path reads as a path of the web page.
#[test]
fn the_web_page_opens_nothing_where_nest_has_taken_the_api_s_prefix_off() {
    let page = Policy::opencode_v2().public_web_page();
    let policy = page.rule(Method::GET, "/api/me", Permissions::NONE).into();
    for (path, original, required, rule) in [
        ("/index", "/app/index", "no token", "public route"),
        ("/info", "/api/info", "read", "operation server.info"),
        ("/unknown", "/api/unknown", "read,write,execute", "unknown operation"),
        ("/me", "/api/me", "any valid token", "rule GET /api/me"),
    ] {
        let decided = decided(&policy, &nested("GET", path, original));
        assert_eq!(decided, (required.to_owned(), rule.to_owned()), "{path} was {original}");
    }
}

/// The router has removed the prefix, and the table knows only the rest.
#[test]
fn an_interactive_prefix_counts_where_nest_has_taken_it_off() {
    for policy in [Policy::default(), Policy::opencode()] {
        let policy = policy.interactive("/admin");
        let decided = decided(&policy, &nested("GET", "/config", "/admin/config"));
        assert_eq!(decided, ("read,execute".to_owned(), "prefix /admin".to_owned()));
    }
}

#[test]
fn an_interactive_pattern_protects_the_paths_above_it() {
    for pattern in [
        "/project/{id}/pty",
        "/project/:id/pty",
        "/project/<id>/pty",
        "/project/*",
        "/project/pty?x=1",
        "/project/p*",
        "/project#x",
    ] {
        let policy = Policy::default().interactive(pattern);
        let (required, _) = decided(&policy, &request("GET", "/project/1/pty"));
        assert_eq!(required, "read,execute", "{pattern}");
    }
}

#[test]
fn debug_output_of_a_policy_is_short_and_says_which_it_is() {
    let policy = Policy::opencode().mount("/api").directories(["/srv/x"]);
    let shown = format!("{policy:?}");
    assert!(shown.contains("OperationTable") && shown.contains("PathPrefix(/api)"), "{shown}");
    assert!(shown.contains(r#"directories: ["/srv/x"]"#), "{shown}");
    assert!(shown.len() < 400, "{shown}");
}

#[test]
fn rules_can_be_matched_on() {
    let policy = Policy::default();
    let ambiguous = request("GET", "/a\\b");
    let decision = policy.decide(&ambiguous);
    let doubt = Doubt::AmbiguousPath(Ambiguity::Delimiter('\\'));
    assert_eq!(decision.rule, Rule::Doubt(doubt));
    assert_eq!(decision.doubt(), Some(doubt));
    assert_eq!(decision.requirement, Requirement::Permissions(Permissions::ALL));
    let session = request("GET", "/session");
    let Rule::Prefix(prefix) = policy.decide(&session).rule else { panic!() };
    assert_eq!(prefix.to_string(), "/session");
}
