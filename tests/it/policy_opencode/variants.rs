//! Other spellings of an operation's path do not bypass what it requires.

use std::collections::BTreeSet;

use axum::http::{Method, Uri};
use opencode_auth::{Permissions, Policy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::audit::{AUDIT, required};
use super::server::Server;

/// Texts that replace the slash before a segment.
const SLASHES: &[&str] = &[
    "//",
    "/./",
    "/../",
    "/x/../",
    "/%2e/",
    "/x/%2E%2e/",
    "/x/..;/",
    "/;/",
    "/;a=b/",
    "%2f",
    "%2F",
    "%252f",
    "\\",
    "%5c",
    "/\\",
    "/%2f",
    "/%20/",
];

/// Texts that follow a segment.
const SUFFIXES: &[&str] = &[
    "/", "//", "/.", "/..", "/%2e", ";", ";a=b", "%3b", "%3Ba=b", "%00", "%00x", "%23", "%3f",
    "%20", "%0a", "%", ".json", "%c3%9f", "%ff",
];

/// Prefixes that a router may resolve to nothing: the name of an open path before a closed one.
const DETOURS: &[&str] = &[
    "/api/fs/read/../../..",
    "/api/fs/read/%2e%2e/.%2E/%2e.",
    "/api/fs/read/..%2f..%2f..",
    "/api/fs/read/..;/..;x/..;",
    "/api/fs/read/..\\..\\..",
    "/session/..",
    "/session/%2e%2e",
    "/session/..;",
    "/config/x/../..",
];

/// Other ways to write one character.
fn respell(character: char) -> Vec<String> {
    let (upper, lower) = (character.to_ascii_uppercase(), character.to_ascii_lowercase());
    let code = u32::from(character);
    let mut spellings = vec![
        upper.to_string(),
        lower.to_string(),
        format!("%{code:02x}"),
        format!("%{code:02X}"),
        format!("%25{code:02x}"),
        format!("%{:02x}", u32::from(upper)),
        format!("%u00{code:02x}"),
    ];
    match lower {
        's' => spellings.extend(["%c5%bf".to_owned(), "\u{17f}".to_owned()]),
        'k' => spellings.push("%e2%84%aa".to_owned()),
        'i' => spellings.push("%c4%b1".to_owned()),
        _ => {}
    }
    spellings
}

fn variants(path: &str) -> BTreeSet<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut variants = BTreeSet::from([path.to_owned(), path.to_uppercase(), path.to_lowercase()]);
    variants.insert(path.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat());
    variants.extend(DETOURS.iter().map(|detour| [*detour, path].concat()));
    for place in 0..segments.len() {
        let join = |segments: &[&str]| {
            segments.iter().flat_map(|segment| ["/", *segment]).collect::<String>()
        };
        let (before, segment) = (join(&segments[..place]), segments[place]);
        let after = join(&segments[place + 1..]);
        for slash in SLASHES {
            variants.insert(format!("{before}{slash}{segment}{after}"));
        }
        for suffix in SUFFIXES {
            variants.insert(format!("{before}/{segment}{suffix}{after}"));
        }
        for spelling in respell(segment.chars().next().unwrap()) {
            variants.insert(format!("{before}/{spelling}{}{after}", &segment[1..]));
        }
        variants.insert(format!("{before}/{}{after}", segment.to_uppercase()));
    }
    variants
}

/// Sends the request with the weakest token that the policy lets pass. The handler that runs must not require more.
/// Returns how many handlers ran.
async fn assert_no_way_around(
    server: &Server,
    policy: &Policy,
    method: &Method,
    path: &str,
) -> usize {
    // What is no URI never reaches a server.
    let Ok(uri) = path.parse::<Uri>() else { return 0 };
    let weakest = required(policy, method, path);
    let (_, ran) = server.send(method, &uri, weakest).await;
    for operation in &ran {
        assert!(
            weakest.contains(operation.required),
            "{method} {path} passes with {weakest} and runs {} ({})",
            operation.name,
            operation.required,
        );
    }
    ran.len()
}

#[tokio::test]
async fn a_variant_of_a_path_is_no_way_around() {
    let policy = Policy::opencode();
    let strict = Server::strict(policy.clone());
    let lenient = Server::lenient(policy.clone());
    let (mut ran_strict, mut ran_lenient) = (0, 0);
    for operation in AUDIT.iter() {
        for path in variants(&operation.example()) {
            ran_strict += assert_no_way_around(&strict, &policy, &operation.method, &path).await;
            ran_lenient += assert_no_way_around(&lenient, &policy, &operation.method, &path).await;
        }
    }
    // The lenient server understands most variants, so it is a test.
    assert!(
        ran_strict > AUDIT.len() && ran_lenient > 20 * AUDIT.len(),
        "{ran_strict} {ran_lenient}"
    );
}

#[test]
fn a_variant_of_a_closed_path_requires_what_the_path_requires() {
    let policy = Policy::opencode();
    for operation in AUDIT.iter().filter(|row| row.required.contains(Permissions::EXECUTE)) {
        for path in variants(&operation.example()) {
            // A segment more or less may be another operation.
            let shape = |path: &str| path.trim_end_matches('/').matches('/').count();
            if path.parse::<Uri>().is_ok() && shape(&path) == shape(&operation.example()) {
                let needs = required(&policy, &operation.method, &path);
                assert!(needs.contains(operation.required), "{} {path}: {needs}", operation.method);
            }
        }
    }
}

/// One way to write a segment otherwise.
#[derive(Clone, Debug)]
enum Edit {
    Slash(&'static str),
    Suffix(&'static str),
    Respell(Index, Index),
    Replace(String),
}

fn edit() -> impl Strategy<Value = Edit> {
    let words: BTreeSet<_> =
        AUDIT.iter().flat_map(|row| row.path.split('/').skip(1)).map(str::to_owned).collect();
    prop_oneof![
        select(SLASHES).prop_map(Edit::Slash),
        select(SUFFIXES).prop_map(Edit::Suffix),
        any::<(Index, Index)>().prop_map(|(place, spelling)| Edit::Respell(place, spelling)),
        select(words.into_iter().collect::<Vec<_>>()).prop_map(Edit::Replace),
    ]
}

fn apply(path: &str, edits: &[(Index, Edit)]) -> String {
    let mut segments: Vec<_> =
        path.split('/').skip(1).map(|segment| ("/", segment.to_owned())).collect();
    for (place, edit) in edits {
        let place = place.index(segments.len());
        let (slash, segment) = &mut segments[place];
        match edit {
            Edit::Slash(text) => *slash = text,
            Edit::Suffix(text) => segment.push_str(text),
            Edit::Respell(place, spelling) => {
                let (at, character) = *place.get(&segment.char_indices().collect::<Vec<_>>());
                let spelling = spelling.get(&respell(character)).clone();
                segment.replace_range(at..at + character.len_utf8(), &spelling);
            }
            Edit::Replace(word) => segment.clone_from(word),
        }
    }
    segments.iter().flat_map(|(slash, segment)| [*slash, segment]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_edits_of_a_path_are_no_way_around(
        operation in any::<Index>(),
        edits in vec((any::<Index>(), edit()), 1..6),
        method in select(vec![Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]),
    ) {
        let operation = operation.get(&AUDIT);
        let path = apply(&operation.example(), &edits);
        let policy = Policy::opencode();
        let server = Server::lenient(policy.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for method in [&operation.method, &method] {
            runtime.block_on(assert_no_way_around(&server, &policy, method, &path));
        }
    }
}
