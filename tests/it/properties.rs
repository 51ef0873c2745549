//! Properties of all requests, tokens and texts.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{Method, Request, Response, Uri};
use futures_util::FutureExt as _;
use opencode_auth::{
    AuthLayer, Denial, Expiry, MemoryTokenStore, NewToken, Permission, Permissions, Policy,
    Requirement, Token, TokenDigest, TokenId,
};
use proptest::prelude::*;
use time::UtcDateTime;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::lenient::is_interactive_to_some_reader;
use crate::support::{bearer, store_with};

fn permissions() -> impl Strategy<Value = Permissions> {
    prop::collection::vec(prop::sample::select(&Permission::ALL[..]), 0..4)
        .prop_map(|permissions| permissions.into_iter().collect())
}

fn method() -> impl Strategy<Value = Method> {
    let known =
        ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY"];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[A-Za-z]{1,12}",
    ]
    .prop_map(|method| method.parse().unwrap())
}

/// Paths made of what matters in paths.
fn path() -> impl Strategy<Value = String> {
    let pieces = [
        "/",
        "/",
        "/",
        "pty",
        "session",
        "message",
        "config",
        "tui",
        "prompt_async",
        "shell",
        "api",
        "v1",
        ".",
        "..",
        "%2e",
        "%2F",
        "%5c",
        ";",
        "%3b",
        "%70",
        "%2570",
        "PTY",
        "s",
        "x",
        "%",
        "%00",
        "é",
        "\u{17f}",
        "?",
        "\\",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..9)
        .prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn request(method: &Method, path: &str) -> Option<Request<()>> {
    Request::builder().method(method).uri(path.parse::<Uri>().ok()?).body(()).ok()
}

fn needed(policy: &Policy, method: &Method, path: &str) -> Option<Permissions> {
    match policy.decide(&request(method, path)?).requirement {
        Requirement::Permissions(needed) => Some(needed),
        other => panic!("{method} {path}: {other:?}"),
    }
}

/// Each policy without additions.
fn rules() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::default()),
        Just(Policy::by_method()),
        Just(Policy::opencode()),
        Just(Policy::opencode_v2().into()),
    ]
}

/// A policy with any mount and any interactive prefixes.
fn policy() -> impl Strategy<Value = Policy> {
    let prefixes = prop::collection::vec(path(), 0..3);
    (rules(), prop::option::of(path()), prefixes).prop_map(|(rules, mount, prefixes)| {
        let policy = match mount {
            Some(mount) => rules.mount(&mount),
            None => rules,
        };
        prefixes.iter().fold(policy, |policy, prefix| policy.interactive(prefix))
    })
}

/// What the layer does with a request whose token was granted these permissions.
fn decide(
    policy: &Policy,
    method: &Method,
    path: &str,
    granted: Permissions,
) -> Result<(), Denial> {
    let (store, token) = store_with(granted);
    let inner =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = AuthLayer::new(store).policy(policy.clone()).layer(inner);
    let mut request = bearer("GET", "/", &token);
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse().unwrap();
    let response = service.oneshot(request).now_or_never().unwrap().unwrap();
    response.extensions().get().cloned().map_or(Ok(()), Err)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// More permissions never turn an allow into a denial.
    #[test]
    fn another_permission_never_turns_an_allow_into_a_denial(
        policy in policy(), method in method(), path in path(),
        granted in permissions(), more in permissions(),
    ) {
        prop_assume!(!granted.is_empty());
        if let Some(needed) = needed(&policy, &method, &path) {
            let few = decide(&policy, &method, &path, granted);
            let many = decide(&policy, &method, &path, granted | more);
            prop_assert_eq!(few.is_ok(), granted.contains(needed));
            prop_assert!(few.is_err() || many.is_ok());
            prop_assert!(decide(&policy, &method, &path, Permissions::ALL).is_ok());
            if let Err(denial) = few {
                let is_missing = matches!(denial, Denial::PermissionMissing { .. });
                prop_assert!(is_missing);
            }
        }
    }

    #[test]
    fn another_interactive_prefix_never_lowers_what_a_request_requires(
        policy in policy(), prefix in path(), method in method(), path in path(),
        original in prop::option::of(path()),
    ) {
        let Some(mut request) = request(&method, &path) else { return Ok(()) };
        if let Some(Ok(original)) = original.map(|original| original.parse()) {
            request.extensions_mut().insert(OriginalUri(original));
        }
        let before = policy.decide(&request).requirement;
        let after = policy.interactive(&prefix).decide(&request).requirement;
        let (Requirement::Permissions(before), Requirement::Permissions(after)) = (before, after)
        else { panic!("public") };
        prop_assert!(after.contains(before));
    }

    /// The path before `nest` shortened it may add required permissions. It never removes any.
    #[test]
    fn of_two_paths_both_count_where_both_are_known(
        prefix in path(), method in method(), path in path(), original in path(),
    ) {
        let policy = Policy::default().interactive(&prefix);
        let (Some(one), Some(other)) = (needed(&policy, &method, &path), needed(&policy, &method, &original))
        else { return Ok(()) };
        let mut request = request(&method, &path).unwrap();
        request.extensions_mut().insert(OriginalUri(original.parse().unwrap()));
        prop_assert_eq!(policy.decide(&request).requirement, Requirement::Permissions(one | other));
    }

    /// A mount adds no rule. It moves the existing ones: what is required
    /// under it is what was required without it, and elsewhere all permissions are required.
    #[test]
    fn a_mount_moves_the_rules_and_opens_nothing(
        rules in rules(), prefix in path(), method in method(), path in path(),
    ) {
        let policy = rules.interactive(&prefix);
        let mounted = policy.clone().mount("/api/v1");
        let moved = needed(&mounted, &method, &format!("/api/v1{path}"));
        prop_assert_eq!(moved, needed(&policy, &method, &path));
        if !path.to_lowercase().contains("api") {
            let outside = needed(&mounted, &method, &path);
            prop_assert!(outside.is_none_or(|outside| outside == Permissions::ALL));
        }
    }

    #[test]
    fn a_path_that_any_router_could_match_to_an_interactive_route_requires_execute(
        method in method(), path in path(),
    ) {
        if let Some(needed) = needed(&Policy::default(), &method, &path) {
            let read = path.split('?').next().unwrap();
            let interactive = is_interactive_to_some_reader(read);
            prop_assert!(!interactive || needed.contains(Permissions::EXECUTE), "{}", path);
        }
    }

    #[test]
    fn only_the_given_routes_are_public(path in path(), other in path(), method in method()) {
        let Ok(policy) = Policy::default().try_public(Method::GET, &path) else { return Ok(()) };
        if let Some(request) = request(&method, &other) {
            let is_public = policy.decide(&request).requirement == Requirement::Public;
            let same = request.uri().path() == path && ["GET", "HEAD"].contains(&method.as_str());
            prop_assert_eq!(is_public, same);
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,40}", number in "[0-9]{0,25}[hdwyé]?") {
        for text in [&text, &number] {
            let _ = text.parse::<Expiry>();
            let _ = text.parse::<Permission>();
            let _ = text.parse::<TokenId>();
            prop_assert!(text.parse::<Token>().is_err());
            if let Ok(expiry) = text.parse::<Expiry>() {
                let _ = NewToken::new().name(text.as_str()).expires(expiry).issue(UtcDateTime::UNIX_EPOCH);
                let _ = NewToken::new().expires(expiry).issue(UtcDateTime::MAX);
                let _ = NewToken::new().expires(expiry).issue(UtcDateTime::MIN);
            }
            if let Ok(permissions) = text.parse::<Permissions>() {
                prop_assert_eq!(permissions.to_string().parse(), Ok(permissions));
            }
            let policy = Policy::default().mount(text).interactive(text);
            let _ = policy.clone().try_public(Method::GET, text);
            let _ = policy.clone().try_rule(Method::GET, text, Permissions::READ);
            let _ = policy.try_directories([text]);
        }
    }

    #[test]
    fn a_set_of_permissions_is_read_as_it_is_written(permissions in permissions()) {
        let text = permissions.to_string();
        prop_assert_eq!(text.parse().ok(), (!permissions.is_empty()).then_some(permissions));
    }

    #[test]
    fn a_token_with_one_character_changed_is_no_token(
        position in 0..32_usize, byte in any::<u8>(), other in any::<char>(),
    ) {
        let token = Token::generate().unwrap();
        let text = token.expose_secret();
        let again: Token = text.parse().unwrap();
        prop_assert_eq!(again.expose_secret(), text);

        let mut bytes = text.as_bytes().to_vec();
        bytes[position] = byte;
        if bytes != text.as_bytes() {
            let mut request = Request::new(Body::empty());
            let value = [b"Bearer ", &*bytes].concat();
            if let Ok(value) = axum::http::HeaderValue::from_bytes(&value) {
                request.headers_mut().insert("authorization", value);
                let layer = AuthLayer::new(MemoryTokenStore::new());
                let service = layer.layer(service_fn(async |_: Request<Body>| {
                    Ok::<_, Infallible>(Response::new(Body::empty()))
                }));
                let response = service.oneshot(request).now_or_never().unwrap().unwrap();
                prop_assert_eq!(response.extensions().get(), Some(&Denial::CredentialsMalformed));
            }
        }
        let changed = format!("{}{other}{}", &text[..position], &text[position + 1..]);
        prop_assert!(changed == text || changed.parse::<Token>().is_err());
        let longer = format!("{}{other}{}", &text[..position], &text[position..]);
        prop_assert!(longer.parse::<Token>().is_err());
        let shorter = format!("{}{}", &text[..position], &text[position + 1..]);
        prop_assert!(shorter.parse::<Token>().is_err());
        prop_assert_eq!(TokenDigest::from_bytes(*token.digest().as_bytes()), token.digest());
    }
}
