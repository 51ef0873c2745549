//! A policy says by which rule it decided.

use axum::extract::OriginalUri;
use axum::http::{Method, Request, Uri};
use opencode_auth::{Ambiguity, Permissions, Policy, Requirement, Rule};

fn request(method: &str, path: &str, original: Option<&str>) -> Request<()> {
    let uri: Uri = path.parse().unwrap();
    let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
    if let Some(original) = original {
        request.extensions_mut().insert(OriginalUri(original.parse().unwrap()));
    }
    request
}

/// Needs and rule, as words.
fn explained(policy: &Policy, request: &Request<()>) -> (String, String) {
    let explanation = policy.explain(request);
    assert_eq!(policy.requirement(request), explanation.requirement);
    assert_eq!(explanation.to_string(), explanation.rule.to_string());
    let needs = match explanation.requirement {
        Requirement::Permissions(needs) => needs.to_string(),
        other => format!("{other:?}"),
    };
    (needs, explanation.to_string())
}

#[test]
fn the_rule_is_named() {
    let policy = Policy::default().interactive("tui/").public(Method::GET, "/global/health");
    let mounted = policy.clone().mount("/api/v1");
    for (policy, method, path, needs, rule) in [
        (&policy, "GET", "/global/health", "Public", "public route"),
        (&policy, "HEAD", "/global/health", "Public", "public route"),
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
        (&policy, "GET", "/%F0%9F%A6%80/🦀", "read", "method"),
        (&mounted, "GET", "/api/v1/config", "read", "method"),
        (&mounted, "GET", "/api/v1", "read", "method"),
        (&mounted, "GET", "/api/v1/tui", "read,execute", "prefix /tui"),
        (&mounted, "GET", "/api/config", "read,write,execute", "outside the mount"),
        (&mounted, "GET", "/global/health", "Public", "public route"),
    ] {
        let explained = explained(policy, &request(method, path, None));
        assert_eq!(explained, (needs.to_owned(), rule.to_owned()), "{method} {path}");
    }
}

#[test]
fn of_two_paths_the_rule_is_that_of_the_more_demanding() {
    let plain = Policy::default();
    let mounted = Policy::default().mount("/api");
    for (policy, path, original, needs, rule) in [
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
        (&mounted, "/pty", "/api/config", "read", "method"),
        (&mounted, "/config", "/outer/config", "read,write,execute", "outside the mount"),
        (&mounted, "//", "/api/config", "read,write,execute", "ambiguous path: empty segment"),
    ] {
        let explained = explained(policy, &request("GET", path, Some(original)));
        assert_eq!(explained, (needs.to_owned(), rule.to_owned()), "{path} was {original}");
    }
}

/// The router has taken the prefix off, and the table knows only what is left.
#[test]
fn an_interactive_prefix_counts_where_nest_has_taken_it_off() {
    for policy in [Policy::default(), Policy::opencode()] {
        let policy = policy.interactive("/admin");
        let explained = explained(&policy, &request("GET", "/config", Some("/admin/config")));
        assert_eq!(explained, ("read,execute".to_owned(), "prefix /admin".to_owned()));
    }
}

#[test]
fn an_interactive_pattern_protects_what_lies_above_it() {
    for pattern in
        ["/project/{id}/pty", "/project/*", "/project/pty?x=1", "/project/p*", "/project#x"]
    {
        let policy = Policy::default().interactive(pattern);
        let (needs, _) = explained(&policy, &request("GET", "/project/1/pty", None));
        assert_eq!(needs, "read,execute", "{pattern}");
    }
}

#[test]
fn debug_output_of_a_policy_is_short_and_says_which_it_is() {
    let shown = format!("{:?}", Policy::opencode().mount("/api"));
    assert!(shown.contains("OperationIndex") && shown.contains("PathPrefix(/api)"), "{shown}");
    assert!(shown.len() < 400, "{shown}");
}

#[test]
fn rules_can_be_matched_on() {
    let policy = Policy::default();
    let ambiguous = request("GET", "/a\\b", None);
    let explanation = policy.explain(&ambiguous);
    assert_eq!(explanation.rule, Rule::Ambiguous(Ambiguity::Delimiter('\\')));
    assert_eq!(explanation.requirement, Requirement::Permissions(Permissions::ALL));
    let session = request("GET", "/session", None);
    let Rule::Prefix(prefix) = policy.explain(&session).rule else { panic!() };
    assert_eq!(prefix.to_string(), "/session");
}
