//! Operations that share a path require the same.
//!
//! The table is matched byte for byte, and a router may be more lenient: `/session/STATUS` is `session.get`
//! for the policy, and may be `session.status` for the router. That is no way around the policy only as
//! long as both require the same.

use super::audit::AUDIT;

#[test]
fn overlapping_operations_require_the_same() {
    let mut overlapping = Vec::new();
    for (index, one) in AUDIT.iter().enumerate() {
        for other in &AUDIT[index + 1..] {
            if one.method == other.method && overlap(&one.path, &other.path) {
                assert_eq!(one.required, other.required, "{} and {} overlap", one.name, other.name);
                overlapping.push((&*one.name, &*other.name));
            }
        }
    }
    for pair in [
        ("pty.shells", "pty.get"),
        ("session.status", "session.get"),
        ("v2.session.active", "v2.session.get"),
    ] {
        assert!(overlapping.contains(&pair), "{pair:?} is not seen to overlap");
    }
}

#[test]
fn overlap_is_seen() {
    for (one, other, expected) in [
        ("/a/{id}", "/a/b", true),
        ("/a/b", "/a/{id}", true),
        ("/a/{id}", "/a/{name}", true),
        ("/a/{id}/c", "/{id}/b/c", true),
        ("/a/{*rest}", "/a/b/c", true),
        ("/a/b", "/a/{*rest}", true),
        ("/a/B", "/a/b", true),
        ("/a/{id}", "/a/b/c", false),
        ("/a/{id}", "/a", false),
        ("/a", "/a/{*rest}", false),
        ("/a/{id}/c", "/a/b/d", false),
        ("/a/b", "/a/c", false),
    ] {
        assert_eq!(overlap(one, other), expected, "{one} {other}");
    }
}

/// Whether some path is read as both by a router that ignores letter case.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some("{*rest}"), _) | (_, Some("{*rest}")) => return true,
            (Some(one), Some(other)) => {
                let is_literal = |segment: &str| !segment.starts_with('{');
                if is_literal(one) && is_literal(other) && !one.eq_ignore_ascii_case(other) {
                    return false;
                }
            }
        }
    }
}
