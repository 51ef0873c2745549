//! The paths under which a request may have reached its route.
//!
//! Inside axum's `nest` a layer sees a shortened path. The extensions have the path that was sent
//! ([`OriginalUri`]) and the pattern that `nest` removed ([`NestedPath`]). Where the API begins is not in
//! them: at the shortened path, at the original one, or, with nested nests, between the two.

use std::iter::successors;

use axum::extract::{NestedPath, OriginalUri};
use axum::http::Request;

/// The paths of one request.
pub(super) enum Paths<'a> {
    /// The path was not changed.
    Sent(&'a str),
    /// `nest` removed the first segments of the original path.
    Nested(Nested<'a>),
    /// Something other than `nest` changed the path. Which route runs cannot be told from it: the
    /// router may have matched the path before the change or after it.
    Changed { path: &'a str, original: &'a str, depth: usize },
}

pub(super) struct Nested<'a> {
    pub(super) path: &'a str,
    pub(super) original: &'a str,
    /// How many segments `nest` removed.
    pub(super) depth: usize,
    /// Whether the host wrote all of them. In `nest("/{tenant}", ..)` the client chooses one, and could
    /// choose one that makes the original path a harmless one.
    pub(super) is_fixed: bool,
}

impl<'a> Paths<'a> {
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        let path = request.uri().path();
        let extensions = request.extensions();
        let original = extensions.get::<OriginalUri>().map_or(path, |original| original.0.path());
        match extensions.get::<NestedPath>() {
            None if original == path => Self::Sent(path),
            None => Self::Changed { path, original, depth: 0 },
            Some(nested) => Self::nested(path, original, nested.as_str()),
        }
    }

    fn nested(path: &'a str, original: &'a str, pattern: &str) -> Self {
        let mut rest = Some(original);
        let (mut depth, mut is_fixed) = (0, true);
        for wanted in pattern.split('/').filter(|segment| !segment.is_empty()) {
            depth += 1;
            let is_parameter = wanted.starts_with('{');
            is_fixed &= !is_parameter;
            rest = rest
                .and_then(split_first)
                .and_then(|(segment, rest)| (is_parameter || segment == wanted).then_some(rest));
        }
        let is_explained =
            rest.is_some_and(|rest| rest == path || (rest.is_empty() && path == "/"));
        if is_explained {
            return Self::Nested(Nested { path, original, depth, is_fixed });
        }
        Self::Changed { path, original, depth }
    }
}

/// The original path, and the rest of it after each of the first `count - 1` segments.
pub(super) fn suffixes(original: &str, count: usize) -> impl Iterator<Item = &str> {
    successors(Some(original), |path| split_first(path).map(|(_, rest)| rest)).take(count)
}

/// The first segment, and the rest with its slash.
fn split_first(path: &str) -> Option<(&str, &str)> {
    let inside = path.strip_prefix('/')?;
    Some(inside.split_at(inside.find('/').unwrap_or(inside.len())))
}
