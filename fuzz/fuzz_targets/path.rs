//! A path that some lenient reader takes to an interactive route is never called harmless.
#![no_main]

use axum::http::{Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use opencode_auth::{Permissions, Policy, Requirement};

#[path = "../../tests/it/lenient.rs"]
mod lenient;

fuzz_target!(|path: &str| {
    let policy = Policy::default();
    let mounted = Policy::default().mount("/api/v1");
    let needed = |policy: &Policy, method: Method, path: &str| {
        let uri = path.parse::<Uri>().ok()?;
        let path = uri.path().to_owned();
        let request = Request::builder().method(method).uri(uri).body(()).ok()?;
        match policy.requirement(&request) {
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
    // A mount moves this reading, and what does not lie under it needs everything.
    if path.starts_with('/')
        && let Some((moved, _)) = needed(&mounted, Method::GET, &format!("/api/v1{path}"))
    {
        assert_eq!(moved, read, "{path:?}");
    }
    // What the reader is told to be interactive is.
    if let Some((needed, _)) = needed(&policy.interactive(&path), Method::GET, &path) {
        assert!(needed.contains(Permissions::EXECUTE), "{path:?} does not match itself");
    }
});
