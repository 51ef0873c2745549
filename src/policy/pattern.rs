//! Path patterns as axum 0.8 writes them, and a tree that finds the pattern of a path.
//!
//! The tree is our own because a decision must not allocate: `matchit`, which axum uses, allocates for
//! each look-up that passes a literal segment beside a parameter. That is most of the opencode API.

use std::iter::repeat_n;

use axum::http::Method;

use super::path::{Ambiguity, CanonicalPath};

/// Why a pattern of [`Policy::rule`](crate::Policy::rule) or [`Policy::public`](crate::Policy::public)
/// cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The pattern does not follow axum's notation.
    #[error(
        "invalid pattern `{}`: {reason}; a parameter is a whole segment, as in `/hooks/{{name}}`, and \
         `{{*rest}}` is the last one",
        pattern.escape_debug()
    )]
    Invalid {
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A literal segment can be read in more than one way, so that no request could match it.
    #[error("ambiguous pattern `{}`: {ambiguity}; no request matches it", pattern.escape_debug())]
    Ambiguous {
        /// The pattern as it was given.
        pattern: String,
        /// What makes it ambiguous.
        ambiguity: Ambiguity,
    },
    /// Another pattern for the same method matches the same paths.
    #[error(
        "`{method} {}` clashes with `{method} {}`: both match the same paths",
        pattern.escape_debug(),
        other.escape_debug()
    )]
    Clash {
        /// The method of both.
        method: Method,
        /// The pattern as it was given.
        pattern: String,
        /// The pattern that was there before.
        other: String,
    },
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This text, byte for byte as a request sends it.
    Literal(Box<str>),
    /// Any one segment that is not empty.
    Parameter,
    /// One segment or more.
    Rest,
}

/// The segments of a pattern.
pub(super) fn parse(pattern: &str) -> Result<Vec<Segment>, PatternError> {
    let invalid = |reason| PatternError::Invalid { pattern: pattern.to_owned(), reason };
    let inside = pattern.strip_prefix('/').ok_or_else(|| invalid("it does not begin with `/`"))?;
    let last = inside.split('/').count() - 1;
    let mut segments = Vec::new();
    for (place, text) in inside.split('/').enumerate() {
        let segment = parse_segment(text).map_err(invalid)?;
        if segment == Segment::Rest && place != last {
            return Err(invalid("something follows `{*rest}`"));
        }
        segments.push(segment);
    }
    match CanonicalPath::read(&example(&segments)) {
        Ok(_) => Ok(segments),
        Err(ambiguity) => Err(PatternError::Ambiguous { pattern: pattern.to_owned(), ambiguity }),
    }
}

/// A path that matches the pattern.
pub(super) fn example(segments: &[Segment]) -> String {
    segments
        .iter()
        .flat_map(|segment| match segment {
            Segment::Literal(text) => ["/", text],
            Segment::Parameter | Segment::Rest => ["/", "x"],
        })
        .collect()
}

/// Whether the first pattern is more specific than the second, which follows `depth` literal segments.
/// Both match the same path.
pub(super) fn is_more_specific(one: &[Segment], depth: usize, other: &[Segment]) -> bool {
    let rank = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Parameter => 1,
        Segment::Rest => 2,
    };
    one.iter().map(rank).lt(repeat_n(0, depth).chain(other.iter().map(rank)))
}

fn parse_segment(text: &str) -> Result<Segment, &'static str> {
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'))
        && !name.starts_with('{')
    {
        let (segment, name) = match name.strip_prefix('*') {
            Some(name) => (Segment::Rest, name),
            None => (Segment::Parameter, name),
        };
        return match name {
            "" => Err("a parameter has no name"),
            name if name.contains(['{', '}', '*']) => Err("a segment has more than one parameter"),
            _ => Ok(segment),
        };
    }
    // `{{` and `}}` are braces of the path itself.
    let unescaped = text.replace("{{", "").replace("}}", "");
    if unescaped.contains(['{', '}']) {
        return Err("a parameter is not a whole segment, or a brace has no partner");
    }
    Ok(Segment::Literal(text.replace("{{", "{").replace("}}", "}").into()))
}

/// Values by method and pattern.
#[derive(Clone, Debug)]
pub(super) struct Routes<T> {
    values: Vec<T>,
    /// Places in `values`.
    root: Node,
}

/// What can follow one place of a path.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted by their text.
    literals: Vec<(Box<str>, Self)>,
    parameter: Option<Box<Self>>,
    rest: Vec<(Method, usize)>,
    /// What ends here.
    here: Vec<(Method, usize)>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { values: Vec::new(), root: Node::default() }
    }
}

impl<T> Routes<T> {
    /// Adds a value. If there is one for this method and the same paths, returns that one instead.
    pub(super) fn insert(
        &mut self,
        method: &Method,
        pattern: &[Segment],
        value: T,
    ) -> Result<(), &mut T> {
        let values = self.root.values_mut(pattern);
        if let Some(place) = place_of(values, method) {
            return Err(&mut self.values[place]);
        }
        values.push((method.clone(), self.values.len()));
        self.values.push(value);
        Ok(())
    }

    /// All values, in the order in which they were added.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }

    /// Whether there is a value for this method and exactly this pattern.
    pub(super) fn contains(&self, method: &Method, pattern: &[Segment]) -> bool {
        self.root.values(pattern).is_some_and(|values| place_of(values, method).is_some())
    }

    /// Whether there is a value for exactly this pattern that serves the method: one for `GET` serves `HEAD`.
    pub(super) fn serves(&self, method: &Method, pattern: &[Segment]) -> bool {
        self.contains(method, pattern)
            || (method == Method::HEAD && self.contains(&Method::GET, pattern))
    }

    /// The value for this path. A value for `GET` serves `HEAD` too.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<&T> {
        if self.values.is_empty() {
            return None;
        }
        // The mount itself leaves an empty path, which counts as `/`.
        let path = if path.is_empty() { path } else { path.strip_prefix('/')? };
        let place = match self.root.find(method, Some(path)) {
            None if method == Method::HEAD => self.root.find(&Method::GET, Some(path)),
            found => found,
        };
        self.values.get(place?)
    }
}

impl Node {
    fn values_mut(&mut self, pattern: &[Segment]) -> &mut Vec<(Method, usize)> {
        let Some((first, pattern)) = pattern.split_first() else { return &mut self.here };
        match first {
            Segment::Literal(text) => {
                let place = self.place_of(text).unwrap_or_else(|place| {
                    self.literals.insert(place, (text.clone(), Self::default()));
                    place
                });
                self.literals[place].1.values_mut(pattern)
            }
            Segment::Parameter => self.parameter.get_or_insert_default().values_mut(pattern),
            Segment::Rest => &mut self.rest,
        }
    }

    fn values(&self, pattern: &[Segment]) -> Option<&[(Method, usize)]> {
        let Some((first, pattern)) = pattern.split_first() else { return Some(&self.here) };
        match first {
            Segment::Literal(text) => {
                self.place_of(text).ok().and_then(|place| self.literals[place].1.values(pattern))
            }
            Segment::Parameter => self.parameter.as_ref()?.values(pattern),
            Segment::Rest => Some(&self.rest),
        }
    }

    /// `path` is the rest after the slash that was read last, or `None` at the end. Each node is visited
    /// at most once.
    fn find(&self, method: &Method, path: Option<&str>) -> Option<usize> {
        let Some(path) = path else { return place_of(&self.here, method) };
        let (segment, after) = match path.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (path, None),
        };
        if let Ok(place) = self.place_of(segment)
            && let Some(found) = self.literals[place].1.find(method, after)
        {
            return Some(found);
        }
        if let Some(parameter) = &self.parameter
            && !segment.is_empty()
            && let Some(found) = parameter.find(method, after)
        {
            return Some(found);
        }
        if path.is_empty() { None } else { place_of(&self.rest, method) }
    }

    /// The place of a literal, or the one where it belongs.
    fn place_of(&self, text: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(other, _)| (**other).cmp(text))
    }
}

fn place_of(values: &[(Method, usize)], method: &Method) -> Option<usize> {
    values.iter().find(|(other, _)| other == method).map(|(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern that a path finds among these.
    fn found<'a>(patterns: &[&'a str], method: &Method, path: &str) -> Option<&'a str> {
        let mut routes = Routes::default();
        for (place, pattern) in patterns.iter().enumerate() {
            let (method, path) = pattern.split_once(' ').unwrap();
            let method = method.parse().unwrap();
            routes.insert(&method, &parse(path).unwrap(), place).unwrap();
        }
        routes.find(method, path).map(|place| patterns[*place])
    }

    #[test]
    fn literals_win_over_parameters_and_parameters_over_the_rest() {
        let patterns = ["GET /{*rest}", "GET /a/{x}", "GET /a/b", "GET /{x}/b/c", "GET /a/{x}/d"];
        for (path, expected) in [
            ("/a/b", Some("GET /a/b")),
            ("/a/x", Some("GET /a/{x}")),
            ("/a/b/d", Some("GET /a/{x}/d")),
            ("/a/b/c", Some("GET /{x}/b/c")),
            ("/a/b/e", Some("GET /{*rest}")),
            ("/a", Some("GET /{*rest}")),
            ("/A/b", Some("GET /{*rest}")),
            ("/", None),
            ("", None),
            ("a/b", None),
        ] {
            assert_eq!(found(&patterns, &Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn a_pattern_of_another_method_does_not_hide_a_wider_one() {
        let patterns = ["POST /a/b", "GET /a/{x}"];
        assert_eq!(found(&patterns, &Method::GET, "/a/b"), Some("GET /a/{x}"));
        assert_eq!(found(&patterns, &Method::DELETE, "/a/b"), None);
    }

    #[test]
    fn head_is_served_by_get_unless_it_has_its_own() {
        let patterns = ["GET /a", "GET /b", "HEAD /b", "POST /c"];
        assert_eq!(found(&patterns, &Method::HEAD, "/a"), Some("GET /a"));
        assert_eq!(found(&patterns, &Method::HEAD, "/b"), Some("HEAD /b"));
        assert_eq!(found(&patterns, &Method::HEAD, "/c"), None);
    }

    #[test]
    fn parameters_and_the_rest_are_not_empty() {
        let patterns = ["GET /a/{x}", "GET /b/{*rest}", "GET /c/{x}/d"];
        for (path, matches) in [
            ("/a/", false),
            ("/a/x", true),
            ("/a/x/", false),
            ("/b/", false),
            ("/b", false),
            ("/b/x", true),
            ("/b/x/y/", true),
            ("/c//d", false),
        ] {
            assert_eq!(found(&patterns, &Method::GET, path).is_some(), matches, "{path}");
        }
    }

    #[test]
    fn double_braces_are_braces_of_the_path() {
        let patterns = ["GET /{{a}}", "GET /x{{/{b}"];
        assert_eq!(found(&patterns, &Method::GET, "/{a}"), Some("GET /{{a}}"));
        assert_eq!(found(&patterns, &Method::GET, "/{b}"), None);
        assert_eq!(found(&patterns, &Method::GET, "/x{/1"), Some("GET /x{{/{b}"));
    }

    #[test]
    fn invalid_patterns_are_errors() {
        for pattern in [
            "",
            "a",
            "/{}",
            "/{*}",
            "/{*rest}/a",
            "/{a}b",
            "/a{b}",
            "/{a}{b}",
            "/{a",
            "/a}",
            "/{{{a}",
        ] {
            assert!(matches!(parse(pattern), Err(PatternError::Invalid { .. })), "{pattern}");
        }
        for pattern in ["//a", "/a/../b", "/a%2fb", "/a;b", "/a?b", "/\u{17f}"] {
            assert!(matches!(parse(pattern), Err(PatternError::Ambiguous { .. })), "{pattern}");
        }
    }

    #[test]
    fn a_clash_returns_the_value_that_was_there() {
        let mut routes = Routes::default();
        routes.insert(&Method::GET, &parse("/a/{x}").unwrap(), 1).unwrap();
        assert_eq!(routes.insert(&Method::GET, &parse("/a/{y}").unwrap(), 2), Err(&mut 1));
        routes.insert(&Method::GET, &parse("/a/{*y}").unwrap(), 3).unwrap();
        assert_eq!(routes.values(), [1, 3]);
        assert!(routes.serves(&Method::HEAD, &parse("/a/{z}").unwrap()));
        assert!(!routes.contains(&Method::HEAD, &parse("/a/{z}").unwrap()));
    }
}
