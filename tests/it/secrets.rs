//! A token, and either half of it, appears only where it was printed once.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::io;
use std::panic;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::any;
use opencode_auth::{
    AuthLayer, ChangeError, Expiry, FileTokenStore, MemoryTokenStore, NewToken, Permission,
    Permissions, Policy, Principal, StoreError, Token, TokenId, TokenStore as _,
};
use tower::{Layer as _, ServiceExt as _};
use tower_http::trace::TraceLayer;
use tracing_subscriber::fmt::MakeWriter;
use zeroize::Zeroizing;

use crate::support::{authorized, bearer, hexadecimal, request, send};

/// Fails if the text contains the token, a half of its random part, or its digest.
#[track_caller]
fn assert_without(token: &Token, text: &str) {
    let secret = token.expose_secret();
    let digest = hexadecimal(token.digest().as_bytes());
    for part in
        [secret, &secret[4..15], &secret[15..26], &secret[..16], &secret[16..], &digest[..32]]
    {
        assert!(!text.contains(part), "`{part}` is in: {text}");
    }
    let bytes = format!("{:?}", secret.as_bytes());
    assert!(!text.contains(bytes.trim_matches(['[', ']'])), "its bytes are in: {text}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Every way to send a token, valid or not.
fn requests(token: &Token) -> Vec<Request<Body>> {
    let secret = token.expose_secret();
    let mut requests = vec![
        bearer("GET", "/config", token),
        bearer("POST", "/session", token),
        bearer("GET", "//", token),
        request("GET", &format!("/config?access_token={secret}")),
        request("GET", &format!("/x/{secret}")),
        request("GET", &format!("/x/{}", secret.replacen('o', "%6f", 1))),
        request(secret, "/config"),
    ];
    for authorization in [
        format!("Basic {secret}"),
        format!("Bearer {secret}, Bearer {secret}"),
        format!("Bearer {secret}x"),
        format!("Bearer\t{secret}"),
        secret.to_owned(),
    ] {
        requests.push(authorized("GET", "/config", &authorization));
    }
    for header in ["proxy-authorization", "cookie", "x-api-key"] {
        let mut request = request("GET", "/config");
        request.headers_mut().insert(header, secret.parse().unwrap());
        requests.push(request);
    }
    requests
}

#[tokio::test]
async fn no_log_and_no_response_contains_a_token() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    crate::recorder::install();
    let _guard = tracing::subscriber::set_default(subscriber);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth-tokens.json");
    let store = FileTokenStore::open(&path).unwrap();
    let tokens = [
        store.create(NewToken::new()).unwrap().token,
        store.create(NewToken::new().permissions(Permissions::READ)).unwrap().token,
        Token::generate().unwrap(),
    ];
    let handler = async |request: Request<Body>| {
        let principal = request.extensions().get::<Principal>().unwrap();
        tracing::trace!(?principal, headers = ?request.headers(), "in the handler");
        format!("{principal:?} {:?}", request.headers())
    };
    // Hosts put tracing outside. Its spans show method and URI, so a host with tokens in queries has to
    // keep the URI out of them.
    let span = |request: &Request<Body>| tracing::info_span!("request", method = request.method().as_str().len(), headers = ?request.headers().len());
    let app = Router::new()
        .fallback(any(handler))
        .layer(AuthLayer::new(store.clone()))
        .layer(TraceLayer::new_for_http().make_span_with(span));
    for round in ["good", "broken"] {
        for token in &tokens {
            for request in requests(token) {
                let response = app.clone().oneshot(request).await.unwrap();
                let mut shown = format!("{:?} {:?}", response.headers(), response.extensions());
                let denial = response.extensions().get::<opencode_auth::Denial>();
                write!(shown, "{denial:?} {:?}", denial.map(opencode_auth::Denial::message))
                    .unwrap();
                let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
                shown.push_str(&String::from_utf8_lossy(&body));
                assert_without(token, &shown);
            }
        }
        if round == "good" {
            for token in &tokens {
                let broken = format!(
                    "{{\"version\": 1, \"tokens\": [], \"{0}\": {0}",
                    token.expose_secret()
                );
                fs::write(&path, broken).unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    let log = log.text();
    assert!(log.contains("request denied") && log.contains("in the handler"), "{log}");
    for token in &tokens {
        assert_without(token, &log);
    }
}

#[test]
fn the_file_contains_only_digests() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileTokenStore::open(directory.path().join("auth-tokens.json")).unwrap();
    let first = store.create(NewToken::new().name("first")).unwrap();
    let second = store.rotate("first").unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let content = fs::read_to_string(entry.unwrap().path()).unwrap();
        for token in [&first.token, &second.token] {
            let secret = token.expose_secret();
            for part in [secret, &secret[4..15], &secret[15..26]] {
                assert!(!content.contains(part));
            }
        }
    }
}

#[test]
fn nothing_shows_a_token_by_debug() {
    let directory = tempfile::tempdir().unwrap();
    let file = FileTokenStore::open(directory.path().join("auth-tokens.json")).unwrap();
    let memory = MemoryTokenStore::new();
    let created = file.create(NewToken::new().name("laptop")).unwrap();
    let again = memory.create(NewToken::new()).unwrap();
    let token = &created.token;
    assert_eq!(format!("{token:?}"), "Token(<secret>)");
    assert_eq!(format!("{token:#?}"), "Token(<secret>)");
    assert_eq!(format!("{:?}", token.digest()), "TokenDigest(..)");

    let service = AuthLayer::new(file.clone()).layer(memory.clone());
    let principal = Principal::for_test(Permissions::READ).unwrap();
    let shown: [&dyn Debug; 9] = [
        &created,
        &again,
        &file,
        &memory,
        &service,
        &principal,
        &file.find(&token.digest()),
        &memory.find(&again.token.digest()),
        &memory.list(),
    ];
    for shown in shown {
        for text in [format!("{shown:?}"), format!("{shown:#?}")] {
            assert_without(token, &text);
            assert_without(&again.token, &text);
        }
    }
    let rotated = file.rotate("laptop").unwrap();
    assert_without(&rotated.token, &format!("{rotated:?}"));
}

#[test]
fn no_error_repeats_a_token_that_was_put_in_the_wrong_place() {
    let store = MemoryTokenStore::new();
    let token = store.create(NewToken::new()).unwrap().token;
    let secret = token.expose_secret();
    let mut texts = Vec::new();
    let mut add = |error: &dyn std::error::Error| {
        texts.push(format!("{error} {error:?} {:?}", error.source()));
    };
    for text in [
        secret.to_owned(),
        format!(" {secret}"),
        format!("token={secret}"),
        format!("Bearer {secret}\n"),
        secret.to_uppercase(),
        format!("{secret}x"),
        secret[..31].to_owned(),
    ] {
        add(&text.parse::<Permission>().unwrap_err());
        add(&text.parse::<Permissions>().unwrap_err());
        add(&format!("read,{text}").parse::<Permissions>().unwrap_err());
        add(&text.parse::<Expiry>().unwrap_err());
        add(&text.parse::<TokenId>().unwrap_err());
        add(&text.repeat(2).parse::<Token>().unwrap_err());
        add(&store.delete(&text).unwrap_err());
        add(&store.rotate(&text).unwrap_err());
    }
    for path in [secret.to_owned(), format!("/srv/{secret}/tokens"), format!("x/{}", &secret[..26])]
    {
        add(&FileTokenStore::open(&path).unwrap_err());
        add(&FileTokenStore::trust_problems(&path).unwrap_err());
    }
    for name in [secret.to_owned(), format!("my {secret}"), format!("{secret}{secret}")] {
        let refused = store.create(NewToken::new().name(name)).unwrap_err();
        assert!(matches!(&refused, ChangeError::Invalid(_)), "{refused}");
        add(&refused);
    }
    for text in texts {
        assert_without(&token, &text);
        assert_without(&token, &text.to_lowercase());
    }
    assert_eq!(store.list().len(), 1);
}

#[test]
fn a_broken_file_is_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth-tokens.json");
    let token = Token::generate().unwrap();
    let secret = token.expose_secret();
    for content in [
        secret.to_owned(),
        format!("\"{secret}\""),
        format!("{{\"{secret}\": 1}}"),
        format!("{{\"version\": \"{secret}\", \"tokens\": []}}"),
        format!("{{\"version\": 1, \"tokens\": \"{secret}\"}}"),
        format!("{{\"version\": 1, \"tokens\": [{{\"id\": \"{secret}\"}}]}}"),
        format!("{{\"version\": 1, \"tokens\": [{{\"name\": \"{secret}\u{7}\"}}]}}"),
        format!("{{\"version\": 1, \"tokens\": [{{\"digest\": \"{secret}\"}}]}}"),
        format!("{{\"version\": 1, \"tokens\": [{{\"permissions\": [\"{secret}\"]}}]}}"),
        format!("{{\"version\": 1, \"tokens\": [{{\"expires_at\": \"{secret}\"}}]}}"),
        format!("{{\"version\": 1, \"tokens\": [], \"{secret}\": 1, \"{secret}\": 2}}"),
    ] {
        fs::write(&path, content).unwrap();
        let error: StoreError = FileTokenStore::open(&path).unwrap_err();
        assert_without(&token, &format!("{error} {error:?}"));
    }
}

#[tokio::test]
async fn no_panic_repeats_a_token() {
    let store = MemoryTokenStore::new();
    let token = store.create(NewToken::new()).unwrap().token;
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let app = Router::new()
        .fallback(any(async |principal: Principal, request: Request<Body>| {
            panic!("handler: {principal:?} {request:?}");
            #[expect(unreachable_code, reason = "it is the handler's type")]
            ""
        }))
        .layer(AuthLayer::new(store));
    let answers = tokio::spawn({
        let request = bearer("GET", "/config", &token);
        async move { send(&app, request).await.status }
    });
    let panicked = answers.await.unwrap_err().into_panic();
    let text = panicked.downcast_ref::<String>().unwrap().clone();
    panics.lock().unwrap().push(text);
    for shown in [
        panic::catch_unwind(|| "x".parse::<Token>().map(drop).unwrap()),
        panic::catch_unwind(panic::AssertUnwindSafe(|| panic!("{token:?}"))),
    ] {
        let panicked = shown.unwrap_err();
        panics.lock().unwrap().push(panicked.downcast_ref::<String>().unwrap().clone());
    }
    let panics = panics.lock().unwrap();
    assert!(panics[0].starts_with("handler: Principal {"), "{panics:?}");
    for text in panics.iter() {
        assert_without(&token, text);
    }
}

/// A dropped token's memory cannot be looked at without `unsafe`. What can be shown is that the type
/// has a destructor and no size but its wiped buffer's; `token.rs` tests that the buffer wipes itself.
#[test]
fn a_token_is_a_buffer_with_a_destructor() {
    assert!(std::mem::needs_drop::<Token>());
    assert_eq!(size_of::<Token>(), size_of::<Zeroizing<[u8; 32]>>());
}

#[test]
fn a_policy_knows_nothing_of_tokens() {
    let token = Token::generate().unwrap();
    let policy = Policy::default();
    let request = bearer("GET", "/config", &token);
    assert_without(&token, &format!("{:?} {policy:?}", policy.decide(&request)));
}
