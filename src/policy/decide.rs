//! Decides a request: which of its paths count, what each requires, and what they require together.

use std::sync::{Arc, LazyLock};

use axum::extract::OriginalUri;
use axum::http::{Method, Request};

use super::nest::{Nested, Paths, suffixes};
use super::path::{CanonicalPath, PathPrefix};
use super::pattern;
use super::reading::Reading;
use super::rule::{Decision, Doubt, Rule};
use super::{Policy, Rules};
use crate::permission::Permissions;

impl<Server> Policy<Server> {
    /// Decides what a request requires, from its method, its path, and the path that it had before
    /// axum's `nest` shortened it ([`OriginalUri`]). Headers and query count only with
    /// [`directories`](Self::directories), and the body never.
    #[must_use]
    pub fn decide<B>(&self, request: &Request<B>) -> Decision {
        let decide = || self.decide_path(request.method(), Paths::of(request));
        if !self.directories.is_limited() {
            return decide();
        }
        match (self.check_directories(request), decide()) {
            // A doubt about the path comes first.
            (Err(doubt), decision) if decision.doubt().is_none() => Reading::doubt(doubt).into(),
            (_, decision) => decision,
        }
    }

    fn check_directories<B>(&self, request: &Request<B>) -> Result<(), Doubt> {
        let query = request.uri().query();
        self.directories.check(query, request.headers())?;
        match request.extensions().get::<OriginalUri>().map(|original| original.0.query()) {
            Some(original) if original != query => {
                self.directories.check(original, request.headers())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn decide_path(&self, method: &Method, paths: Paths<'_>) -> Decision {
        match paths {
            Paths::Sent(path) => {
                if self.is_public(method, path) {
                    return Decision::PUBLIC;
                }
                self.read(method, path).into()
            }
            Paths::Nested(nested) => {
                let Nested { path, original, is_fixed, .. } = nested;
                if self.is_public(method, path) || (is_fixed && self.is_public(method, original)) {
                    return Decision::PUBLIC;
                }
                self.read_nested(method, &nested).into()
            }
            Paths::Changed { path, original, depth } => {
                let originals = suffixes(original, depth + 1);
                let all = originals.fold(self.read(method, path), |reading, original| {
                    reading.and(self.read(method, original))
                });
                if all.is_public() {
                    // The web page: what is served under a path that was changed is not known to be it.
                    return Reading::doubt(Doubt::UnknownOperation).into();
                }
                all.into()
            }
        }
    }

    /// What the shortened path and the longer ones require together.
    fn read_nested(&self, method: &Method, nested: &Nested<'_>) -> Reading<'_> {
        let Nested { path, original, depth, is_fixed } = *nested;
        let shortened = self.read(method, path);
        let longer = suffixes(original, depth).map(|path| self.read(method, path));
        if self.mount.is_none() {
            // Behind a prefix that the policy does not know, a path is unknown. That says nothing.
            return longer.fold(shortened, |reading, longer| {
                if longer.is_unknown() && !reading.is_public() {
                    // An interactive prefix counts all the same.
                    return reading.under(longer.interactive);
                }
                reading.and(longer)
            });
        }
        let mut is_inside = !shortened.is_outside_mount();
        let mut reading = is_inside.then_some(shortened);
        for (place, longer) in longer.enumerate() {
            if longer.is_outside_mount() {
                continue;
            }
            is_inside |= is_fixed && place == 0;
            reading = Some(match reading {
                None => longer,
                Some(reading) => reading.and(longer),
            });
        }
        match reading {
            Some(reading) if is_inside => reading,
            _ => Reading::doubt(Doubt::OutsideMount),
        }
    }

    /// Whether a public pattern matches the path and is more specific than the rule that matches it.
    fn is_public(&self, method: &Method, path: &str) -> bool {
        let Some(public) = self.public.find(method, path) else { return false };
        let Ok(path) = CanonicalPath::read(path) else { return false };
        let (depth, path) = match &self.mount {
            None => (0, Some(path)),
            Some(mount) => (mount.depth(), mount.strip(path).ok().flatten()),
        };
        let stated = path.and_then(|path| self.stated.find(method, path.as_sent()));
        stated.is_none_or(|stated| pattern::is_more_specific(public, depth, stated.segments()))
    }

    /// What one path requires.
    fn read(&self, method: &Method, path: &str) -> Reading<'_> {
        let path = match CanonicalPath::read(path) {
            Ok(path) => path,
            Err(ambiguity) => return Reading::doubt(Doubt::AmbiguousPath(ambiguity)),
        };
        let path = match self.mount.as_ref().map(|mount| mount.strip(path)) {
            None => path,
            Some(Ok(Some(path))) => path,
            Some(Ok(None)) => return Reading::doubt(Doubt::OutsideMount),
            Some(Err(ambiguity)) => return Reading::doubt(Doubt::AmbiguousPath(ambiguity)),
        };
        let interactive = self.interactive.iter().find(|prefix| path.starts_with(prefix));
        let reading = match self.stated.find(method, path.as_sent()) {
            Some(operation) => {
                Reading::new(operation.required(), Rule::Host(Arc::clone(operation)))
            }
            None if self.has_public_web_page
                && interactive.is_none()
                && is_web_page(method, &path) =>
            {
                Reading::new(Permissions::NONE, Rule::Public)
            }
            None => self.rules.read(method, &path),
        };
        reading.under(interactive)
    }
}

impl Rules {
    #[inline]
    fn read<'a>(self, method: &Method, path: &CanonicalPath<'_>) -> Reading<'a> {
        match self {
            Self::Methods => match required_by_method(method) {
                Some(required) => Reading::new(required, Rule::Method),
                None => Reading::doubt(Doubt::UnknownMethod),
            },
            Self::Operations(table) => match table.find(method, path.as_sent()) {
                Some(operation) => Reading::new(operation.required(), Rule::Operation(operation)),
                None => Reading::doubt(Doubt::UnknownOperation),
            },
        }
    }
}

/// Whether this is a path of opencode 2.0 at which it serves its web page.
fn is_web_page(method: &Method, path: &CanonicalPath<'_>) -> bool {
    static API: LazyLock<[PathPrefix; 3]> =
        LazyLock::new(|| ["/api", "/auth", "/openapi.json"].map(PathPrefix::new));
    matches!(*method, Method::GET | Method::HEAD) && !API.iter().any(|api| path.starts_with(api))
}

/// `None` for an unknown method: a route that accepts any method may do anything.
fn required_by_method(method: &Method) -> Option<Permissions> {
    match *method {
        // OPTIONS describes a route. A CORS preflight has no credentials, so the CORS layer goes outside.
        Method::GET | Method::HEAD | Method::OPTIONS => Some(Permissions::READ),
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => Some(Permissions::WRITE),
        _ => None,
    }
}
