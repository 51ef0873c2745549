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
    #[error("`{method} {}` clashes with `{method} {}`: both match the same paths", pattern.escape_debug(), other.escape_debug())]
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
    let example: String = segments
        .iter()
        .flat_map(|segment| match segment {
            Segment::Literal(text) => ["/", text],
            Segment::Parameter | Segment::Rest => ["/", "x"],
        })
        .collect();
    match CanonicalPath::read(&example) {
        Ok(_) => Ok(segments),
        Err(ambiguity) => Err(PatternError::Ambiguous { pattern: pattern.to_owned(), ambiguity }),
    }
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
