//! The sources beside `Authorization: Bearer`: what each accepts, what two of them together are, and that no
//! handler can find the token afterwards.

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, HeaderName, Request, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use opencode_auth::{AuthLayer, CredentialSources, MemoryTokenStore, NewToken, Policy, Principal};

use crate::support::{Received, send};

const ABSENT: &str = r#"Bearer realm="opencode""#;
const INVALID: &str = r#"Bearer realm="opencode", error="invalid_token""#;
const BASIC: &str = r#"Basic realm="opencode", charset="UTF-8""#;

/// What a handler can see of a request: its carrier, its URIs and its headers.
async fn seen(
    principal: Principal,
    OriginalUri(original): OriginalUri,
    uri: Uri,
    headers: HeaderMap,
) -> String {
    let values = headers.iter().map(|(name, value)| {
        let sensitive = if value.is_sensitive() { " (sensitive)" } else { "" };
        format!("{name}: {}{sensitive}\n", String::from_utf8_lossy(value.as_bytes()))
    });
    format!("{:?}\n{uri}\n{original}\n{}", principal.carrier(), values.collect::<String>())
}

fn app(sources: CredentialSources, forward: bool) -> (Router, String) {
    let store = MemoryTokenStore::new();
    let token = store.create(NewToken::new()).unwrap().token;
    let layer = AuthLayer::new(store)
        .credentials(sources)
        .policy(Policy::default())
        .forward_credentials(forward);
    // The inner router gets an `OriginalUri`, and the layer is inside of it.
    let router = Router::new().nest("/in", Router::new().fallback(seen).layer(layer));
    (router, token.expose_secret().to_owned())
}

fn request(uri: &str, headers: &[(&str, String)]) -> Request<Body> {
    let mut request = Request::get(uri).body(Body::empty()).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        let value = axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(name, value);
    }
    request
}

fn challenges(response: &Received) -> Vec<&str> {
    let values = response.headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

fn user_and_token(user: &str, token: &str) -> String {
    STANDARD.encode(format!("{user}:{token}"))
}

fn own_header() -> HeaderName {
    HeaderName::from_static("x-opencode-token")
}

#[tokio::test]
async fn basic_takes_the_password_as_the_token() {
    let (app, token) = app(CredentialSources::bearer().basic(), false);
    let token = &*token;
    let unpadded = |user: &str| STANDARD_NO_PAD.encode(format!("{user}:{token}"));
    // 1,024 digits of base64 are read.
    let (long, too_long) = ("u".repeat(735), "u".repeat(736));
    for (case, authorization, status) in [
        ("a user", format!("Basic {}", user_and_token("opencode", token)), 200),
        ("no user", format!("Basic {}", user_and_token("", token)), 200),
        ("a user in UTF-8", format!("Basic {}", user_and_token("żółw", token)), 200),
        ("one byte of padding missing", format!("Basic {}", unpadded("ab")), 200),
        ("two bytes of padding missing", format!("Basic {}", unpadded("abc")), 200),
        ("scheme in lower case", format!("basic {}", user_and_token("x", token)), 200),
        ("several spaces", format!("BASIC    {}", user_and_token("x", token)), 200),
        ("a long user", format!("Basic {}", user_and_token(&long, token)), 200),
        ("a byte more of it", format!("Basic {}", user_and_token(&too_long, token)), 401),
        ("a colon in the password", format!("Basic {}", user_and_token("a:b", token)), 401),
        ("the token as the user", format!("Basic {}", STANDARD.encode(format!("{token}:"))), 401),
        ("no colon", format!("Basic {}", STANDARD.encode(token)), 401),
        ("another password", format!("Basic {}", user_and_token("x", "hunter2")), 401),
        (
            "a space after the token",
            format!("Basic {}", user_and_token("x", &format!("{token} "))),
            401,
        ),
        (
            "a line break after the token",
            format!("Basic {}", user_and_token("x", &format!("{token}\n"))),
            401,
        ),
        ("the token itself", format!("Basic {token}"), 401),
        ("nothing", "Basic".to_owned(), 401),
        ("only a space", "Basic ".to_owned(), 401),
        // A digit of base64 that ends the word before it.
        (
            "no space",
            format!("Basic{}", STANDARD.encode([b"\xff:", token.as_bytes()].concat())),
            401,
        ),
        ("a tab", format!("Basic\t{}", user_and_token("x", token)), 401),
        ("text after it", format!("Basic {} x", user_and_token("x", token)), 401),
        ("base64url", format!("Basic {}", user_and_token("???", token).replace('/', "_")), 401),
        ("trailing bits", "Basic eDp5".to_owned(), 401),
        ("65 KB", format!("Basic {}", "A".repeat(65_000)), 401),
    ] {
        let response = send(&app, request("/in/config", &[("authorization", authorization)])).await;
        assert_eq!(response.status, status, "{case}");
        if status == 200 {
            assert!(response.body.starts_with("Basic\n"), "{case}: {}", response.body);
        } else {
            assert_eq!(challenges(&response), [INVALID, BASIC], "{case}");
        }
    }
    let bearer = request("/in/config", &[("authorization", format!("Bearer {token}"))]);
    assert!(send(&app, bearer).await.body.starts_with("Bearer\n"));
}

/// Clients that could use a source, and the sources that accept it.
#[tokio::test]
async fn only_a_source_that_is_switched_on_is_looked_at() {
    type Sources = fn() -> CredentialSources;
    let sources: [(&str, Sources); 6] = [
        ("bearer", CredentialSources::bearer),
        ("basic", || CredentialSources::bearer().basic()),
        ("header", || CredentialSources::bearer().header(own_header())),
        ("query", || CredentialSources::bearer().query("auth_token")),
        ("protocol", || CredentialSources::bearer().websocket_protocol()),
        ("opencode", CredentialSources::opencode),
    ];
    for (name, sources) in sources {
        let (app, token) = app(sources(), false);
        let basic = user_and_token("opencode", &token);
        let plain = "/in/config".to_owned();
        for (case, uri, headers, carrier, accepted_by) in [
            (
                "Bearer",
                plain.clone(),
                vec![("authorization", format!("Bearer {token}"))],
                "Bearer",
                vec!["bearer", "basic", "header", "query", "protocol", "opencode"],
            ),
            (
                "Basic",
                plain.clone(),
                vec![("authorization", format!("Basic {basic}"))],
                "Basic",
                vec!["basic", "opencode"],
            ),
            (
                "a header",
                plain.clone(),
                vec![("x-opencode-token", token.clone())],
                "Header",
                vec!["header"],
            ),
            (
                "a parameter",
                format!("{plain}?auth_token={token}"),
                vec![],
                "Query",
                vec!["query", "opencode"],
            ),
            (
                "a parameter with a user",
                format!("{plain}?a=b&auth_token={basic}"),
                vec![],
                "Query",
                vec!["query", "opencode"],
            ),
            (
                "two protocols",
                plain.clone(),
                vec![("sec-websocket-protocol", format!("bearer, {token}"))],
                "WebSocketProtocol",
                vec!["protocol", "opencode"],
            ),
            (
                "one protocol",
                plain.clone(),
                vec![("sec-websocket-protocol", format!("opencode.bearer.{token}"))],
                "WebSocketProtocol",
                vec!["protocol", "opencode"],
            ),
            (
                "a cookie",
                plain.clone(),
                vec![("cookie", format!("auth_token={token}"))],
                "",
                vec![],
            ),
            ("another parameter", format!("{plain}?access_token={token}"), vec![], "", vec![]),
            ("another header", plain.clone(), vec![("x-api-key", token.clone())], "", vec![]),
        ] {
            let response = send(&app, request(&uri, &headers)).await;
            let accepted = accepted_by.contains(&name);
            assert_eq!(response.status, if accepted { 200 } else { 401 }, "{name}: {case}");
            if accepted {
                assert!(
                    response.body.starts_with(&format!("{carrier}\n")),
                    "{name}: {case}: {}",
                    response.body
                );
                assert!(
                    !response.body.contains(&token) && !response.body.contains(&basic),
                    "{name}: {case}: {}",
                    response.body
                );
            } else {
                let offers_basic = ["basic", "opencode"].contains(&name);
                let expected = if offers_basic { vec![ABSENT, BASIC] } else { vec![ABSENT] };
                assert_eq!(challenges(&response), expected, "{name}: {case}");
            }
        }
    }
}

fn all() -> CredentialSources {
    CredentialSources::opencode().header(own_header())
}

#[tokio::test]
async fn two_credentials_are_malformed_and_a_parameter_decides_alone() {
    let (app, token) = app(all(), false);
    let token = &*token;
    let bearer = ("authorization", format!("Bearer {token}"));
    let basic = ("authorization", format!("Basic {}", user_and_token("x", token)));
    let old_basic = ("authorization", format!("Basic {}", user_and_token("x", "an old password")));
    let header = ("x-opencode-token", token.to_owned());
    let protocol = ("sec-websocket-protocol", format!("bearer, {token}"));
    let plain = "/in/config";
    let linked = &format!("{plain}?auth_token={token}");
    for (case, uri, headers, status) in [
        ("Bearer and Basic", plain, vec![bearer.clone(), basic.clone()], 401),
        ("Bearer twice", plain, vec![bearer.clone(), bearer.clone()], 401),
        ("Bearer and a header", plain, vec![bearer.clone(), header.clone()], 401),
        ("Basic and a header", plain, vec![basic.clone(), header.clone()], 401),
        ("a header twice", plain, vec![header.clone(), header.clone()], 401),
        ("an empty header", plain, vec![("x-opencode-token", String::new())], 401),
        (
            "an empty header and Bearer",
            plain,
            vec![("x-opencode-token", String::new()), bearer.clone()],
            401,
        ),
        (
            "another scheme and a header",
            plain,
            vec![("authorization", "Digest x".into()), header.clone()],
            200,
        ),
        ("Bearer and a protocol", plain, vec![bearer.clone(), protocol.clone()], 401),
        ("a header and a protocol", plain, vec![header.clone(), protocol.clone()], 401),
        ("a parameter and Bearer", linked, vec![bearer.clone()], 200),
        ("a parameter and old Basic", linked, vec![old_basic.clone()], 200),
        ("a parameter and a protocol", linked, vec![protocol.clone()], 200),
        ("a bad parameter and Bearer", "/in/config?auth_token=x", vec![bearer.clone()], 401),
        ("an empty parameter", "/in/config?auth_token=", vec![], 401),
        ("an empty parameter and Bearer", "/in/config?auth_token=", vec![bearer.clone()], 200),
        (
            "a parameter without a value and Bearer",
            "/in/config?auth_token",
            vec![bearer.clone()],
            200,
        ),
        ("two parameters", &format!("{linked}&auth_token={token}"), vec![], 401),
        (
            "an empty and a good parameter",
            &format!("{plain}?auth_token=&auth_token={token}"),
            vec![],
            401,
        ),
        ("two parameters, one encoded", &format!("{linked}&auth%5Ftoken=x"), vec![], 401),
        ("two parameters and Bearer", &format!("{linked}&auth_token=x"), vec![bearer.clone()], 401),
    ] {
        let response = send(&app, request(uri, &headers)).await;
        assert_eq!(response.status, status, "{case}: {}", response.body);
    }
}

#[tokio::test]
async fn a_parameter_is_decoded_once_and_has_either_form() {
    let (app, token) = app(CredentialSources::bearer().query("auth_token"), false);
    let token = &*token;
    // A user for which the base64 text has a plus, a slash and padding.
    let basic = STANDARD.encode(format!("???>>>u:{token}"));
    assert!(basic.contains('+') && basic.contains('/') && basic.contains('='), "{basic}");
    let escaped = basic.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    for (case, query, status) in [
        ("the token", format!("auth_token={token}"), 200),
        ("an escape in the token", format!("auth_token={}", token.replace('_', "%5F")), 200),
        ("an escape in the name", format!("auth%5ftoken={token}"), 200),
        ("base64 as it is", format!("auth_token={basic}"), 200),
        ("base64, escaped", format!("auth_token={escaped}"), 200),
        ("base64 without padding", format!("auth_token={}", basic.trim_end_matches('=')), 200),
        ("last of several", format!("a=1&b&=&auth_token={token}"), 200),
        ("first of several", format!("auth_token={token}&x=y&&"), 200),
        ("escaped twice", format!("auth_token={}", token.replace('_', "%255F")), 401),
        ("a space for the plus", format!("auth_token={}", basic.replace('+', "%20")), 401),
        ("the name in upper case", format!("AUTH_TOKEN={token}"), 401),
        ("a longer name", format!("xauth_token={token}"), 401),
        ("behind a semicolon", format!("a=1;auth_token={token}"), 401),
        ("with text after it", format!("auth_token={token}x"), 401),
        ("with Bearer", format!("auth_token=Bearer%20{token}"), 401),
        ("no text", "auth_token=%ff%00".to_owned(), 401),
        ("64 KB", format!("auth_token={}", "A".repeat(60_000)), 401),
    ] {
        let response = send(&app, request(&format!("/in/config?{query}"), &[])).await;
        assert_eq!(response.status, status, "{case}: {}", response.body);
    }
}

#[tokio::test]
async fn other_parameters_keep_their_bytes_and_order_in_both_uris() {
    let (app, token) = app(CredentialSources::opencode(), false);
    for (query, left) in [
        (format!("auth_token={token}"), ""),
        (format!("a=1&auth_token={token}"), "?a=1"),
        (format!("auth_token={token}&a=1"), "?a=1"),
        (format!("b=%2f+%20&auth_token={token}&a=&&c&=d"), "?b=%2f+%20&a=&&c&=d"),
        (format!("auth_token={token}&"), "?"),
        (format!("x=auth_token&auth%5ftoken={token}&xauth_token=1"), "?x=auth_token&xauth_token=1"),
    ] {
        let response = send(&app, request(&format!("/in/config?{query}"), &[])).await;
        assert_eq!(response.status, 200, "{query}: {}", response.body);
        assert_eq!(response.body, format!("Query\n/config{left}\n/in/config{left}\n"), "{query}");
    }
}

#[tokio::test]
async fn a_referer_with_the_link_is_removed_and_others_stay() {
    let (app, token) = app(CredentialSources::opencode(), false);
    let bearer = ("authorization", format!("Bearer {token}"));
    for (referer, stays) in [
        (format!("http://h/?auth_token={token}"), false),
        (format!("http://h/x?a=1&auth%5Ftoken={token}#top"), false),
        ("http://h/x?a=1".to_owned(), true),
        ("http://h/auth_token".to_owned(), true),
    ] {
        let headers = [bearer.clone(), ("referer", referer.clone())];
        let response = send(&app, request("/in/config", &headers)).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.body.contains(&referer), stays, "{referer}");
    }
}

/// A parameter decides alone, so what stands beside it is not an error. It has to go nevertheless.
#[tokio::test]
async fn a_token_beside_a_parameter_is_removed_wherever_it_is() {
    let (app, token) = app(all(), false);
    let link = format!("http://h/?auth_token={token}");
    let pair = format!("bearer, {token}");
    let uri = format!("/in/config?auth_token={token}");
    for (case, headers) in [
        ("two Referers", vec![("referer", "http://h/".to_owned()), ("referer", link)]),
        (
            "two headers",
            vec![("x-opencode-token", "x".into()), ("x-opencode-token", token.clone())],
        ),
        (
            "two Authorizations",
            vec![("authorization", token.clone()), ("authorization", "x".into())],
        ),
        (
            "two protocols",
            vec![
                ("sec-websocket-protocol", pair.clone()),
                ("sec-websocket-protocol", format!("opencode.bearer.{token}")),
            ],
        ),
        (
            "protocols that are no text",
            vec![("sec-websocket-protocol", pair), ("sec-websocket-protocol", "ż".into())],
        ),
    ] {
        let response = send(&app, request(&uri, &headers)).await;
        assert_eq!(response.status, 200, "{case}");
        assert!(!response.body.contains(&token), "{case}: {}", response.body);
    }
}

/// A shared cache knows what `Authorization` means (RFC 9111 section 3.5), and does not know the other carriers.
#[tokio::test]
async fn a_response_that_a_shared_cache_could_keep_is_private() {
    let store = MemoryTokenStore::new();
    let token = store.create(NewToken::new()).unwrap().token;
    let token = token.expose_secret();
    let policy = Policy::default().public("GET".parse().unwrap(), "/public");
    let app = Router::new()
        .route("/own", axum::routing::get(async || [("cache-control", "max-age=60")]))
        .fallback(async || "reached")
        .layer(AuthLayer::new(store).credentials(all()).policy(policy));
    let link = |path: &str| format!("{path}?auth_token={token}");
    for (case, uri, header, expected) in [
        ("Bearer", "/config".to_owned(), Some(("authorization", format!("Bearer {token}"))), None),
        (
            "Basic",
            "/config".to_owned(),
            Some(("authorization", format!("Basic {}", user_and_token("x", token)))),
            None,
        ),
        ("a parameter", link("/config"), None, Some("private")),
        (
            "a header",
            "/config".to_owned(),
            Some(("x-opencode-token", token.to_owned())),
            Some("private"),
        ),
        (
            "a protocol",
            "/config".to_owned(),
            Some(("sec-websocket-protocol", format!("bearer, {token}"))),
            Some("private"),
        ),
        ("the host's own word", link("/own"), None, Some("max-age=60")),
        ("a public route", link("/public"), None, None),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let response = send(&app, request(&uri, &headers)).await;
        assert_eq!(response.status, 200, "{case}");
        assert_eq!(response.header("cache-control"), expected, "{case}");
    }
}

#[tokio::test]
async fn forwarded_credentials_stay_where_they_were_and_are_sensitive() {
    let (app, token) = app(all(), true);
    let basic = user_and_token("x", &token);
    for (uri, headers) in [
        ("/in/config", vec![("authorization", format!("Basic {basic}"))]),
        ("/in/config", vec![("x-opencode-token", token.clone())]),
        ("/in/config", vec![("sec-websocket-protocol", format!("v1, bearer, {token}"))]),
    ] {
        let response = send(&app, request(uri, &headers)).await;
        assert_eq!(response.status, 200);
        let expected = format!("{}: {} (sensitive)\n", headers[0].0, headers[0].1);
        assert!(response.body.ends_with(&expected), "{}", response.body);
    }
    let uri = format!("/in/config?a=1&auth_token={token}");
    let response = send(&app, request(&uri, &[])).await;
    assert_eq!(response.body, format!("Query\n{}\n{uri}\n", &uri[3..]));
    // The query decides alone, and the handler gets the other places as well.
    for (name, value) in [
        ("authorization", "Bearer other".to_owned()),
        ("sec-websocket-protocol", format!("bearer, {token}, \u{e9}")),
        ("referer", format!("http://h/page?auth_token={token}")),
    ] {
        let response = send(&app, request(&uri, &[(name, value.clone())])).await;
        let expected = format!("Query\n{}\n{uri}\n{name}: {value} (sensitive)\n", &uri[3..]);
        assert_eq!(response.body, expected);
    }
}

#[tokio::test]
async fn the_protocols_of_a_handshake_lose_the_token_and_nothing_else() {
    let (app, token) = app(CredentialSources::opencode(), false);
    let bearer = format!("bearer, {token}");
    let single = format!("opencode.bearer.{token}");
    for (case, lines, left) in [
        ("a pair", vec![bearer.clone()], Some("")),
        ("a pair without a space", vec![format!("bearer,{token}")], Some("")),
        ("a pair on two lines", vec!["bearer".to_owned(), token.clone()], Some("")),
        ("between others", vec![format!("a, {bearer}, b")], Some("a, b")),
        (
            "on several lines",
            vec!["a".to_owned(), single.clone(), "b,c".to_owned()],
            Some("a, b, c"),
        ),
        ("one entry", vec![single.clone()], Some("")),
        ("two pairs", vec![format!("{bearer}, {bearer}")], None),
        ("both forms", vec![format!("{bearer}, {single}")], None),
        ("nothing after bearer", vec!["bearer".to_owned()], None),
        ("no token after bearer", vec![format!("bearer, a, {token}")], None),
        ("a bad token", vec![format!("opencode.bearer.{}", &token[1..])], None),
        ("the name in upper case", vec![format!("Bearer, {token}")], None),
        ("the token alone", vec![token.clone()], None),
    ] {
        let headers: Vec<_> =
            lines.into_iter().map(|line| ("sec-websocket-protocol", line)).collect();
        let response = send(&app, request("/in/config", &headers)).await;
        let Some(left) = left else {
            assert_eq!(response.status, 401, "{case}");
            continue;
        };
        assert_eq!(response.status, 200, "{case}: {}", response.body);
        let header = match left {
            "" => String::new(),
            left => format!("sec-websocket-protocol: {left}\n"),
        };
        assert_eq!(
            response.body,
            format!("WebSocketProtocol\n/config\n/in/config\n{header}"),
            "{case}"
        );
    }
}

/// A dialog helps a person who navigates, and a browser that has not sent the password it remembers. A
/// script with a wrong token would hang behind it.
#[tokio::test]
async fn a_basic_challenge_is_offered_where_a_dialog_helps() {
    let (app, token) = app(CredentialSources::opencode(), false);
    let wrong = format!("Basic {}", user_and_token("x", "wrong"));
    let unknown = opencode_auth::Token::generate().unwrap();
    let unknown = format!("Basic {}", user_and_token("x", unknown.expose_secret()));
    for (presented, challenge) in
        [(None, ABSENT), (Some(&wrong), INVALID), (Some(&unknown), INVALID)]
    {
        for (mode, helps) in [
            (None, true),
            (Some("navigate"), true),
            (Some("cors"), presented.is_none()),
            (Some("no-cors"), presented.is_none()),
            (Some("websocket"), presented.is_none()),
        ] {
            let mut headers = Vec::new();
            headers.extend(presented.map(|value| ("authorization", value.clone())));
            headers.extend(mode.map(|mode| ("sec-fetch-mode", mode.to_owned())));
            let response = send(&app, request("/in/config", &headers)).await;
            assert_eq!(response.status, 401);
            let expected = if helps { vec![challenge, BASIC] } else { vec![challenge] };
            assert_eq!(challenges(&response), expected, "{presented:?} {mode:?}");
        }
    }
    // With the password of a dialog, a browser sends the same link again, and the link decides alone.
    let deleted = opencode_auth::Token::generate().unwrap();
    let basic = user_and_token("x", deleted.expose_secret());
    for (value, challenge, helps) in [
        (deleted.expose_secret(), INVALID, false),
        (&*basic, INVALID, false),
        ("cut%20off", INVALID, false),
        ("a&auth_token=b", INVALID, false),
        ("", ABSENT, true),
    ] {
        let uri = format!("/in/config?auth_token={value}");
        let headers = [("sec-fetch-mode", "navigate".to_owned())];
        let response = send(&app, request(&uri, &headers)).await;
        assert_eq!(response.status, 401);
        let expected = if helps { vec![challenge, BASIC] } else { vec![challenge] };
        assert_eq!(challenges(&response), expected, "{value}");
    }
    // No dialog for a token that is good but lacks a permission, nor without Basic.
    let read = NewToken::new().permissions(opencode_auth::Permissions::READ);
    let store = MemoryTokenStore::new();
    let read = store.create(read).unwrap().token;
    let app = Router::new().fallback(async || "reached").layer(
        AuthLayer::new(store).credentials(CredentialSources::opencode()).realm("my \"realm\""),
    );
    let headers =
        [("authorization", format!("Basic {}", user_and_token("x", read.expose_secret())))];
    let response = send(&app, request("/pty", &headers)).await;
    assert_eq!(response.status, 403);
    assert_eq!(
        challenges(&response),
        [r#"Bearer realm="my _realm_", error="insufficient_scope", scope="read execute""#]
    );
    let response = send(&app, request("/pty", &[])).await;
    assert_eq!(
        challenges(&response),
        [r#"Bearer realm="my _realm_""#, r#"Basic realm="my _realm_", charset="UTF-8""#]
    );
    drop(token);
}
