//! A policy compared with OpenAPI documents and with lists of routes, and a router without its layer.

use std::fmt::Write as _;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use opencode_auth::{
    AuthLayer, MemoryTokenStore, OpenApi, OpenApiError, Permissions, Policy, Requirement, Route,
    RouteError, unguarded,
};
use serde_json::Value;

fn document(paths: &str) -> OpenApi {
    OpenApi::parse(format!(r#"{{"openapi": "3.1.0", "paths": {paths}}}"#)).unwrap()
}

fn host() -> Policy {
    Policy::by_method()
}

/// A policy with a table, and few operations to miss.
fn drift(policy: &Policy, paths: &str) -> (Vec<String>, Vec<String>) {
    let document = document(paths);
    let drift = policy.drift(&document);
    let unknown = drift.unknown.iter().map(ToString::to_string).collect();
    (unknown, drift.not_understood)
}

#[test]
fn new_operations_are_unknown_and_names_of_parameters_do_not_count() {
    for version in ["3.0.0", "3.0.4", "3.1.0"] {
        let json = format!(
            r#"{{
  "openapi": "{version}",
  "info": {{"title": "opencode"}},
  "paths": {{
    "x-order": 1,
    "/session/{{id}}": {{
      "summary": "one session", "parameters": [], "x-get": {{}},
      "get": {{"operationId": "session.get"}}, "head": {{}},
      "trace": {{}}
    }},
    "/session/new": {{"get": {{}}}},
    "/skills/{{id}}": {{"post": {{}}}}
  }}
}}"#
        );
        let document = OpenApi::parse(&json).unwrap();
        let policy = Policy::opencode();
        let drift = policy.drift(&document);
        let unknown: Vec<_> = drift.unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            unknown,
            [
                "TRACE /session/{id} requires read,write,execute (unknown operation)",
                "GET /session/new requires read (operation session.get)",
                "POST /skills/{id} requires read,write,execute (unknown operation)",
            ]
        );
        assert_eq!(drift.missing.len(), 284);
        assert!(drift.not_understood.is_empty() && !drift.is_empty());
    }
}

#[test]
fn opencode_2_does_not_differ_from_its_own_table() {
    let rows: Vec<Value> =
        serde_json::from_str(include_str!("fixtures/opencode-v2-operations.json")).unwrap();
    let mut paths = serde_json::Map::new();
    for row in &rows {
        let path = row["path"].as_str().unwrap();
        let method = row["method"].as_str().unwrap().to_lowercase();
        let item = paths.entry(path).or_insert_with(|| serde_json::json!({}));
        item[method] = serde_json::json!({"operationId": row["operation"]});
    }
    let policy = Policy::opencode_v2();
    let as_text = |paths: &serde_json::Map<String, Value>| {
        serde_json::json!({"openapi": "3.1.0", "paths": paths}).to_string()
    };
    let served = OpenApi::parse(as_text(&paths)).unwrap();
    assert_eq!(served.routes().len(), 143);
    let drift = policy.drift(&served);
    assert!(drift.is_empty(), "{drift}");
    assert_eq!(drift.to_string(), "");

    // opencode writes a wildcard as `*`.
    assert!(paths.contains_key("/api/fs/read/*"), "{:?}", paths.keys());

    paths.remove("/api/info").unwrap();
    let served = OpenApi::parse(as_text(&paths)).unwrap();
    assert_eq!(
        policy.drift(&served).to_string(),
        "Known to the policy, not in the document: 1\n  GET /api/info (server.info, opencode 2.0)\n"
    );
    // The other version is missing as a whole.
    let both = Policy::opencode();
    let drift = both.drift(&served);
    let missing = |version| {
        drift.missing.iter().filter(|operation| operation.audited_for().contains(&version)).count()
    };
    assert_eq!((missing("2.0"), drift.unknown.len()), (1, 0));
    assert!(missing("1.18") > 100);
}

#[test]
fn a_document_has_the_mount() {
    let policy = host().mount("/v1").rule(Method::POST, "/hooks/{name}", Permissions::WRITE);
    let paths = r#"{"/v1/hooks/{id}": {"post": {}}, "/v1/config": {"get": {}}}"#;
    let both = document(paths);
    let same = policy.drift(&both);
    assert!(same.is_empty(), "{same}");
    let routes: Vec<_> = policy.routes().map(|route| route.to_string()).collect();
    assert_eq!(routes, ["POST /v1/hooks/{name}"]);

    let relative = document(r#"{"/hooks/{id}": {"post": {}}}"#);
    let drift = policy.drift(&relative);
    assert_eq!(
        drift.to_string(),
        "In the document, unknown to the policy: 1\n  \
         POST /hooks/{id} requires read,write,execute (outside the mount)\n\
         Known to the policy, not in the document: 1\n  \
         POST /hooks/{name} (POST /hooks/{name})\n"
    );
}

#[test]
fn public_routes_are_known() {
    let policy = Policy::opencode().public(Method::GET, "/health/{part}");
    let paths = r#"{"/health/{x}": {"get": {}, "head": {}, "post": {}}}"#;
    let unknown = ["POST /health/{x} requires read,write,execute (unknown operation)"];
    assert_eq!(drift(&policy, paths).0, unknown);
}

#[test]
fn what_is_not_understood_is_listed() {
    let policy = host();
    for (paths, expected) in [
        (r##"{"/a": {"$ref": "#/x"}}"##, &["`$ref` of `/a`"][..]),
        (r#"{"/a": {"GET": {}, "query": {}}}"#, &["`GET` of `/a`", "`query` of `/a`"]),
        (r#"{"/a/*/b": {"get": {}}}"#, &["`GET /a/*/b`: a wildcard is not the last segment"]),
        (r#"{"/{{a}}": {"get": {}}}"#, &["`GET /{{a}}`: a brace has no partner"]),
        (
            r#"{"/a/../b": {"get": {}}}"#,
            &["`GET /a/../b`: ambiguous pattern `/a/../b`: dot segment; no request matches it"],
        ),
    ] {
        let (unknown, not_understood) = drift(&policy, paths);
        assert_eq!(
            (unknown, not_understood),
            (vec![], expected.iter().map(|s| (*s).to_owned()).collect())
        );
        assert!(!policy.drift(&document(paths)).is_empty());
    }
    let (_, partial) = drift(&policy, r#"{"/{name}.json": {"get": {}}}"#);
    assert_eq!(partial.len(), 1);
    assert!(partial[0].contains("a parameter is not a whole segment"), "{partial:?}");
}

#[test]
fn a_path_that_comes_twice_keeps_the_operations_of_both() {
    let document =
        document(r#"{"/a/{x}": {"get": {}}, "/a/{x}": {"post": {}}, "/a/{y}": {"get": {}}}"#);
    let routes: Vec<_> = document.routes().iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["GET /a/{x}", "POST /a/{x}"]);
}

#[test]
fn other_texts_are_clear_errors() {
    let failed = "failed to read the OpenAPI document: ";
    for (text, expected) in [
        ("", "it is not JSON: EOF while parsing a value at line 1 column 0"),
        ("openapi: 3.1.0", "it is not JSON: expected value at line 1 column 1"),
        ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
        ("{}", "it has no field `openapi`; give one of version 3.0 or 3.1"),
        (
            r#"{"swagger": "2.0", "paths": {}}"#,
            "it has no field `openapi`; give one of version 3.0 or 3.1",
        ),
        (r#"{"openapi": "2.0"}"#, "its version is `2.0`; give one of version 3.0 or 3.1"),
        (r#"{"openapi": "3.1.0"}"#, "it has no field `paths`"),
        (r#"{"openapi": "3.1.0", "paths": {"a": {}}}"#, "the path `a` does not begin with a slash"),
        (r#"{"openapi": "3.1.0", "paths": {"/a": []}}"#, "the path `/a` is not an object"),
        (r#"{"openapi": "3.1.0", "paths": {"/a": null}}"#, "the path `/a` is not an object"),
        (
            r#"{"openapi": "3.1.0", "paths": {1: {}}}"#,
            "it is not JSON: key must be a string at line 1 column 32",
        ),
    ] {
        let error = OpenApi::parse(text).unwrap_err();
        assert_eq!(error.to_string(), format!("{failed}{expected}"), "{text}");
    }
    let twice =
        r#"{"openapi": "3.1.0", "paths": {"/a": {"get": {}}}, "paths": {"/b": {"get": {}}}}"#;
    assert_eq!(OpenApi::parse(twice).unwrap().routes().len(), 2);
}

#[test]
fn a_document_that_breaks_off_is_an_error_at_every_byte() {
    let text =
        r#"{"openapi":"3.1.0","paths":{"/a/{é}":{"get":{"tags":["x",1.5,null]},"x-a":"\u00e9"}}}"#;
    assert_eq!(OpenApi::parse(text).unwrap().routes().len(), 1);
    for end in 0..text.len() {
        let error = OpenApi::parse(&text.as_bytes()[..end]).unwrap_err();
        assert!(matches!(error, OpenApiError::NotJson(_)), "{end}: {error}");
    }
    assert!(matches!(OpenApi::parse(b"{\"\xff\": 1}"), Err(OpenApiError::NotJson(_))));
}

#[test]
fn deep_and_large_documents_do_not_overflow() {
    let open = "[".repeat(1_000_000);
    let close = "]".repeat(1_000_000);
    for place in [
        format!(
            r#"{{"x": {open}{close}, "openapi": "3.1.0", "paths": {{"/a": {{"get": {{}}}}}}}}"#
        ),
        format!(r#"{{"openapi": "3.1.0", "paths": {{"/a": {{"get": {open}{close}}}}}}}"#),
        format!(r#"{{"openapi": "3.1.0", "paths": {{"x-a": {open}{close}, "/a": {{"get": 1}}}}}}"#),
    ] {
        assert_eq!(OpenApi::parse(&place).unwrap().routes().len(), 1);
    }
    assert!(matches!(OpenApi::parse(&open), Err(OpenApiError::Structure(_))));
    let objects = r#"{"a":"#.repeat(1_000_000);
    assert!(matches!(OpenApi::parse(&objects), Err(OpenApiError::NotJson(_))));
    // A pattern of many segments.
    let deep = format!(r#"{{"{}": {{"get": {{}}}}}}"#, "/{a}".repeat(1000));
    assert_eq!(document(&deep).routes().len(), 1);
    let mut many = String::from("{");
    for number in 0..10_000 {
        let _ = write!(many, r#""/a{number}": {{"get": {{}}}},"#);
    }
    many.push_str(r#""x-end": 0}"#);
    assert_eq!(drift(&Policy::opencode(), &many).0.len(), 10_000);
}

#[test]
fn words_that_run_things_are_warned_of_unless_execute_is_required() {
    let warning = |policy: &Policy, route: &str| {
        policy.audit(&route.parse().unwrap()).warning.unwrap_or_default()
    };
    for (route, expected) in [
        ("POST /sessions/{sid}/prompt", "sessions"),
        ("POST /s/{sid}/prompts", "prompts"),
        ("POST /s/prompt_async", "prompt"),
        ("POST /s/runCommand", "command"),
        ("POST /s/Shell", "shell"),
        ("GET /exec", "exec"),
        ("PUT /ptys/{id}", "ptys"),
        ("POST /execute", "execute"),
        ("DELETE /a/messages", "messages"),
        ("POST /config", ""),
        ("POST /promptly/{prompt}", ""),
        ("POST /session/{id}", ""),
    ] {
        assert_eq!(warning(&Policy::default(), route), expected, "{route}");
    }
    assert_eq!(warning(&host(), "POST /session/{id}"), "session");
    // A row or a rule says that it is so on purpose; another row that happens to match does not.
    assert_eq!(warning(&Policy::opencode(), "GET /session/{id}"), "");
    assert_eq!(warning(&Policy::opencode(), "GET /session/prompts"), "session");
    let ruled = host().rule(Method::POST, "/prompt/{id}", Permissions::WRITE);
    assert_eq!(warning(&ruled, "POST /prompt/{name}"), "");
    let public = ruled.public(Method::POST, "/shell");
    let audit = public.audit(&"POST /shell".parse().unwrap());
    assert_eq!(audit.decision.requirement, Requirement::Public);
    assert_eq!(audit.warning.as_deref(), Some("shell"));
    assert_eq!(audit.to_string(), "POST /shell requires no token (public route)");
}

#[test]
fn every_operation_is_decided_by_its_own_row() {
    for policy in [Policy::opencode(), Policy::opencode().mount("/api/v1")] {
        assert_eq!(policy.routes().count(), 285);
        for (operation, route) in policy.operations().zip(policy.routes()) {
            let audit = policy.audit(&route);
            let required = Requirement::Permissions(operation.required());
            assert_eq!((audit.decision.requirement, audit.warning), (required, None), "{route}");
        }
    }
}

#[test]
fn texts_that_are_no_routes_are_errors() {
    for text in ["", "GET", "/a", "GET /a b"] {
        assert_eq!(text.parse::<Route>().unwrap_err(), RouteError::NotTwoWords, "{text}");
    }
    for text in ["get /a", "G(T /a"] {
        assert!(matches!(text.parse::<Route>(), Err(RouteError::Method(_))), "{text}");
    }
    for text in ["GET a", "GET /{a", "GET /a%2fb", "GET /\"<>"] {
        assert!(matches!(text.parse::<Route>(), Err(RouteError::Pattern(_))), "{text}");
    }
    assert_eq!(" GET\t/a/{b} ".parse::<Route>().unwrap().to_string(), "GET /a/{b}");
}

#[tokio::test]
async fn routes_outside_the_layer_are_found() {
    let policy = Policy::by_method()
        .rule(Method::GET, "/inside/{id}", Permissions::READ)
        .rule(Method::POST, "/late/{id}", Permissions::WRITE)
        .rule(Method::GET, "/health", Permissions::READ)
        .rule(Method::POST, "/nowhere", Permissions::WRITE)
        .public(Method::GET, "/open");
    let layer = AuthLayer::new(MemoryTokenStore::new()).policy(policy.clone());
    let app = || {
        Router::new()
            .route("/inside/{id}", get(|| async {}))
            .route("/health", get(|| async {}))
            .route("/open", get(|| async { StatusCode::NO_CONTENT }))
    };
    let found = |app: Router, routes: Vec<Route>| async {
        let found = unguarded(app, routes).await.unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut routes: Vec<Route> = policy.routes().collect();
    routes.push("GET /open".parse().unwrap());
    let late = app().layer(layer.clone()).route("/late/{id}", post(|| async {}));
    assert_eq!(
        found(late, routes.clone()).await,
        ["POST /late/{id} responded 200 OK", "GET /open responded 204 No Content"]
    );
    let all = app().route("/late/{id}", post(|| async {})).layer(layer.clone());
    assert_eq!(found(all, routes.clone()).await, ["GET /open responded 204 No Content"]);
    let routes_only = app().route_layer(layer);
    assert_eq!(
        found(routes_only, routes).await,
        [
            "POST /late/{id} responded 404 Not Found",
            "POST /nowhere responded 404 Not Found",
            "GET /open responded 204 No Content",
        ]
    );
}
