//! One route of an API: a method and a path pattern.

use std::fmt;
use std::str::FromStr;

use axum::http::{Method, Uri};

use super::pattern::{self, PatternError, Segment};

/// One route of an API: a method and a path pattern in the notation of axum 0.8, with the mount.
/// `Display` and `FromStr` write it as `POST /hooks/{name}`.
#[derive(Clone, Debug)]
pub struct Route {
    method: Method,
    path: Box<str>,
    segments: Vec<Segment>,
    example: Uri,
}

impl Route {
    /// # Errors
    ///
    /// If the pattern is invalid, or no request matches it.
    pub fn new(method: Method, path: &str) -> Result<Self, PatternError> {
        let segments = pattern::parse(path)?;
        let example = pattern::example(&segments).parse().map_err(|_| PatternError::Invalid {
            pattern: path.to_owned(),
            reason: "it is not the path of a URL",
        })?;
        Ok(Self { method, path: path.into(), segments, example })
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path pattern.
    #[must_use]
    pub const fn path(&self) -> &str {
        &self.path
    }

    /// A path that matches the pattern. Each parameter is `x`.
    #[must_use]
    pub const fn example(&self) -> &Uri {
        &self.example
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Why a text is not a [`Route`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The text is not two words.
    #[error("a route is a method and a path, as in `POST /hooks/{{name}}`")]
    NotTwoWords,
    /// The first word is not a method.
    #[error(
        "`{}` is not an HTTP method{}",
        .0.escape_debug(),
        match method_in_capitals(.0) {
            Some(meant) => format!("; methods are case-sensitive: did you mean {meant}?"),
            None => String::new(),
        }
    )]
    Method(String),
    /// The second word is not a path pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let mut words = text.split_whitespace();
        let (Some(method), Some(path), None) = (words.next(), words.next(), words.next()) else {
            return Err(RouteError::NotTwoWords);
        };
        // An extension method in lower case is valid HTTP, and almost certainly a typing error.
        let is_method = !method.contains(|character: char| character.is_ascii_lowercase());
        let method = Method::from_bytes(method.as_bytes())
            .ok()
            .filter(|_| is_method)
            .ok_or_else(|| RouteError::Method(method.to_owned()))?;
        Ok(Self::new(method, path)?)
    }
}

/// The well-known method that a text is in other letter case: `GET` for `get`. Methods are case-sensitive
/// (RFC 9110, section 9.1), so that `get` is a method too, and almost certainly a typing error.
pub(crate) fn method_in_capitals(text: &str) -> Option<Method> {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ]
    .into_iter()
    .find(|method| method.as_str() != text && method.as_str().eq_ignore_ascii_case(text))
}
