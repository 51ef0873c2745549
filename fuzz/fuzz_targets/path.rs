//! A path that some lenient reader takes to an interactive route is never called harmless, and a path
//! is an operation if and only if a plain matcher finds it. A rule wins over the tables, and no reader of the
//! query finds a directory outside of the allowed ones in a request that keeps its requirement.
#![no_main]

use axum::http::{Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use opencode_auth::{Operation, Permissions, Policy, Requirement};

#[path = "../../tests/it/lenient.rs"]
mod lenient;

fuzz_target!(|path: &str| {
    check_directories(path);
    let policy = Policy::default();
    let mounted = Policy::default().mount("/api/v1");
    let needed = |policy: &Policy, method: Method, path: &str| {
        let uri = path.parse::<Uri>().ok()?;
        let path = uri.path().to_owned();
        let request = Request::builder().method(method).uri(uri).body(()).ok()?;
        match policy.decide(&request).requirement {
            Requirement::Permissions(needed) => Some((needed, path)),
            other => panic!("{other:?}"),
        }
    };
    let Some((read, path)) = needed(&policy, Method::GET, path) else { return };
    let Some((write, _)) = needed(&policy, Method::POST, &path) else { return };
    assert!(read.contains(Permissions::READ) && write.contains(Permissions::WRITE));
    assert_eq!(read.contains(Permissions::EXECUTE), write.contains(Permissions::EXECUTE));
    if lenient::is_interactive_to_some_reader(&path) {
        assert!(read.contains(Permissions::EXECUTE), "{path:?} was called harmless");
    }
    // Under a mount the same path is read without the mount. Any other path requires all permissions.
    if path.starts_with('/')
        && let Some((moved, _)) = needed(&mounted, Method::GET, &format!("/api/v1{path}"))
    {
        assert_eq!(moved, read, "{path:?}");
    }
    let opencode = Policy::opencode();
    let version_2 = Policy::from(Policy::opencode_v2());
    let ruled = RULES.iter().fold(Policy::opencode(), |policy, (method, pattern, required)| {
        policy.rule(method.clone(), pattern, *required)
    });
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let Some((found, _)) = needed(&opencode, method.clone(), &path) else { return };
        // Nobody has an operation `/`; it is what an ambiguous path has in common with it.
        let is_ambiguous =
            needed(&Policy::default().mount("/api"), Method::GET, &format!("/api{path}"))
                .is_some_and(|(needed, _)| needed == Permissions::ALL);
        let expected = operation(&opencode, &method, &path).filter(|_| !is_ambiguous);
        assert_eq!(found, expected.map_or(Permissions::ALL, Operation::required), "{method} {path:?}");

        let expected = operation(&version_2, &method, &path).filter(|_| !is_ambiguous);
        let found_2 = needed(&version_2, method.clone(), &path).unwrap().0;
        assert_eq!(found_2, expected.map_or(Permissions::ALL, Operation::required), "{method} {path:?}");

        let rule = RULES
            .iter()
            .filter(|(of, _, _)| *of == method && !is_ambiguous)
            .filter_map(|(_, pattern, required)| Some((fit(pattern, &path)?, *required)))
            .min_by(|(one, _), (other, _)| one.cmp(other));
        let found_ruled = needed(&ruled, method.clone(), &path).unwrap().0;
        assert_eq!(found_ruled, rule.map_or(found, |(_, required)| required), "{method} {path:?}");
    }
    // Whatever text makes a policy, it decides, and no rule or directory opens what is ambiguous.
    if let Ok(ruled) = Policy::opencode().try_rule(Method::GET, &path, Permissions::READ)
        && let Some((needed, path)) = needed(&ruled, Method::GET, &path)
    {
        // Braces are parameters, or escapes of themselves.
        let is_pattern = path.contains(['{', '}']);
        assert!(needed == Permissions::READ || is_pattern, "{path:?} does not match its own rule");
    }
    // What the reader is told to be interactive is.
    if let Some((needed, _)) = needed(&policy.interactive(&path), Method::GET, &path) {
        assert!(needed.contains(Permissions::EXECUTE), "{path:?} does not match itself");
    }
});

const RULES: [(Method, &str, Permissions); 7] = [
    (Method::GET, "/session/{*rest}", Permissions::EXECUTE),
    (Method::GET, "/session/{id}", Permissions::NONE),
    (Method::GET, "/session/status", Permissions::ALL),
    (Method::GET, "/{a}/config", Permissions::WRITE),
    (Method::POST, "/api/{*rest}", Permissions::READ),
    (Method::POST, "/{a}/{b}/message", Permissions::EXECUTE),
    (Method::DELETE, "/{*rest}", Permissions::WRITE),
];

const ROOT: &str = "/home/me/work";

/// The text after the first `?`, or all of it, is the query.
fn check_directories(text: &str) {
    let query = text.split_once('?').map_or(text, |(_, query)| query);
    let Ok(uri) = format!("/config?{query}").parse::<Uri>() else { return };
    let query = uri.query().unwrap_or_default().to_owned();
    let request = Request::get(uri).body(()).unwrap();
    let policy = Policy::opencode().directories([ROOT]);
    let is_kept = policy.decide(&request).requirement == Requirement::Permissions(Permissions::READ);
    let mut is_named = false;
    for pair in query.split(['&', ';']) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name);
        is_named |= name.len() >= 64
            || ["directory", "location"].iter().any(|word| name.to_ascii_lowercase().contains(word));
        let names = [decoded(&name), name];
        if !names.iter().any(|name| name.to_ascii_lowercase().contains("directory")) {
            continue;
        }
        for value in [decoded(value), decoded(&decoded(value)), decoded(&value.replace('+', " "))] {
            assert!(!is_kept || is_inside(&value), "{query:?} names {value:?}");
        }
    }
    let is_plain = !is_named && !query.contains(['%', ';']) && query.len() <= 8192;
    assert!(is_kept || !is_plain, "{query:?} names no directory");
}

/// Whether a careless reader stays inside the root.
fn is_inside(directory: &str) -> bool {
    let is_up = directory.split(['/', '\\']).any(|segment| segment == "..");
    let rest = directory.strip_prefix(ROOT);
    !is_up && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The text with its escapes decoded once.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let (mut bytes, mut decoded) = (text.as_bytes(), Vec::new());
    while let [first, after @ ..] = bytes {
        bytes = after;
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                bytes = &after[2..];
            }
            _ => decoded.push(*first),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The operation of a path as it was sent; the one whose first differing segment is a literal wins.
fn operation<'p>(policy: &'p Policy, method: &Method, path: &str) -> Option<&'p Operation> {
    let matching = policy.operations().filter(|one| one.method() == method);
    matching
        .filter_map(|operation| Some((fit(operation.path(), path)?, operation)))
        .min_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, operation)| operation)
}

/// For each segment 0 if it is a literal, 1 if it is a parameter, 2 if it is the rest.
fn fit(pattern: &str, path: &str) -> Option<Vec<u8>> {
    let mut fit = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with("{*") {
            let rest: Vec<_> = [segment].into_iter().chain(segments).collect();
            fit.push(2);
            return (!rest.join("/").is_empty()).then_some(fit);
        }
        let is_parameter = wanted.starts_with('{');
        if if is_parameter { segment.is_empty() } else { segment != wanted } {
            return None;
        }
        fit.push(u8::from(is_parameter));
    }
    segments.next().is_none().then_some(fit)
}
