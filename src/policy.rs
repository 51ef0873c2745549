//! What a request's method and path demand.

mod path;

use std::fmt;

use axum::extract::OriginalUri;
use axum::http::{Method, Request};

use self::path::CanonicalPath;
pub use self::path::{Ambiguity, PathPrefix};
use crate::permission::Permissions;

/// What a request needs to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing: the request is not examined, and no [`Principal`](crate::Principal) is attached.
    Public,
    /// A valid token that holds all of these.
    Permissions(Permissions),
}

/// Infers what a request needs from its method and path.
///
/// [`Policy::default`]: `GET`, `HEAD` and `OPTIONS` need read; `POST`, `PUT`, `PATCH` and `DELETE`
/// need write; under `/pty`, `/session` and `/message` execute is needed as well. Every other method,
/// and every [ambiguous](Ambiguity) path, needs all three.
///
/// ```
/// use axum::http::{Method, Request};
/// use opencode_auth::{Permissions, Policy, Requirement};
///
/// let policy = Policy::default().interactive("/tui").public(Method::GET, "/global/health");
/// let needs = |method, path| policy.requirement(&Request::builder().method(method).uri(path).body(()).unwrap());
///
/// assert_eq!(needs("GET", "/config"), Requirement::Permissions(Permissions::READ));
/// assert_eq!(needs("POST", "/tui/open"), Requirement::Permissions(Permissions::WRITE | Permissions::EXECUTE));
/// assert_eq!(needs("GET", "/config/../pty"), Requirement::Permissions(Permissions::ALL));
/// assert_eq!(needs("GET", "/global/health"), Requirement::Public);
/// ```
///
/// A policy sees the method and the path. It cannot see what a query or a body asks for, and it
/// ignores `X-HTTP-Method-Override`, `X-Original-URL` and the like: do not route on them behind it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    mount: Option<PathPrefix>,
    interactive: Vec<PathPrefix>,
    public: Vec<(Method, Box<str>)>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mount: None,
            interactive: ["/pty", "/session", "/message"].map(PathPrefix::new).into(),
            public: Vec::new(),
        }
    }
}

impl Policy {
    /// Says that the API is served under this path: `mount("/api/v1")` reads `/api/v1/session` as
    /// `/session`. Any text is made a path of whole segments.
    ///
    /// A path outside the mount needs all three permissions, so that a mistyped mount opens nothing.
    /// A layer inside axum's `nest` needs no mount: the router has taken the prefix off already.
    pub fn mount(mut self, path: &str) -> Self {
        self.mount = Some(PathPrefix::new(path));
        self
    }

    /// Requests under this path need execute as well. Any text is made a path of whole segments,
    /// relative to the [mount](Self::mount).
    pub fn interactive(mut self, path: &str) -> Self {
        self.interactive.push(PathPrefix::new(path));
        self
    }

    /// Lets requests with exactly this method and path pass without a token; a public `GET` includes
    /// `HEAD`. The path is compared byte for byte with the one that was sent, mount included: nothing
    /// is decoded or folded, and there is no prefix.
    ///
    /// # Security
    ///
    /// Anybody who reaches the server reaches this route. There is none by default.
    pub fn public(mut self, method: Method, path: impl Into<Box<str>>) -> Self {
        self.public.push((method, path.into()));
        self
    }

    /// What the request needs, from its method, its path, and the path that it had before axum's
    /// `nest` shortened it ([`OriginalUri`]). Headers and body are not looked at.
    #[must_use]
    pub fn requirement<B>(&self, request: &Request<B>) -> Requirement {
        self.explain(request).requirement
    }

    /// What the request needs, and by which rule.
    #[must_use]
    pub fn explain<B>(&self, request: &Request<B>) -> Explanation<'_> {
        let method = request.method();
        let path = request.uri().path();
        let original = request
            .extensions()
            .get::<OriginalUri>()
            .map(|original| original.0.path())
            .filter(|original| *original != path);
        if self.is_public(method, path)
            || original.is_some_and(|original| self.is_public(method, original))
        {
            return Explanation { requirement: Requirement::Public, rule: Rule::Public };
        }
        let verdict = self.judge(method, path);
        match original {
            None => verdict,
            Some(original) => verdict.and(self.judge(method, original)),
        }
        .into()
    }

    fn is_public(&self, method: &Method, path: &str) -> bool {
        self.public.iter().any(|(public_method, public_path)| {
            **public_path == *path
                && (method == public_method
                    || (method == Method::HEAD && public_method == Method::GET))
        })
    }

    fn judge(&self, method: &Method, path: &str) -> Verdict<'_> {
        let path = match CanonicalPath::read(path) {
            Ok(path) => path,
            Err(ambiguity) => return Verdict::all(Rule::Ambiguous(ambiguity)),
        };
        let path = match &self.mount {
            None => path,
            Some(mount) => match path.strip_prefix(mount) {
                Some(path) => path,
                None => return Verdict::all(Rule::OutsideMount),
            },
        };
        let Some(needs) = needed_by_method(method) else {
            return Verdict::all(Rule::OtherMethod);
        };
        match self.interactive.iter().find(|prefix| path.starts_with(prefix)) {
            Some(prefix) => {
                Verdict { needs: needs | Permissions::EXECUTE, rule: Rule::Prefix(prefix) }
            }
            None => Verdict { needs, rule: Rule::Method },
        }
    }
}

/// `None` for a method of which nothing is known: a route that takes any method may do anything.
fn needed_by_method(method: &Method) -> Option<Permissions> {
    match *method {
        // OPTIONS describes a route. A CORS preflight carries no credentials: the CORS layer goes outside.
        Method::GET | Method::HEAD | Method::OPTIONS => Some(Permissions::READ),
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => Some(Permissions::WRITE),
        _ => None,
    }
}

/// What one path of a request needs, and why.
#[derive(Clone, Copy)]
struct Verdict<'a> {
    needs: Permissions,
    rule: Rule<'a>,
}

impl<'a> Verdict<'a> {
    const fn all(rule: Rule<'a>) -> Self {
        Self { needs: Permissions::ALL, rule }
    }

    /// What both paths of one request need. Of the two, one that the policy does not know adds nothing
    /// when it knows the other: `nest` takes the mount off, or puts it on.
    fn and(self, original: Self) -> Self {
        match (self.rule.is_unknown(), original.rule.is_unknown()) {
            (true, false) => original,
            (false, true) => self,
            _ => {
                let needs = self.needs | original.needs;
                Self { needs, rule: if needs == self.needs { self.rule } else { original.rule } }
            }
        }
    }
}

/// What a request needs, and the [`Rule`] that decided. `Display` shows the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation<'a> {
    /// What the request needs.
    pub requirement: Requirement,
    /// The rule that decided.
    pub rule: Rule<'a>,
}

impl<'a> From<Verdict<'a>> for Explanation<'a> {
    fn from(verdict: Verdict<'a>) -> Self {
        Self { requirement: Requirement::Permissions(verdict.needs), rule: verdict.rule }
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

/// The rule by which a policy decided what a request needs. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule<'a> {
    /// The method and path are public.
    Public,
    /// The method alone.
    Method,
    /// The path lies under an interactive prefix.
    Prefix(&'a PathPrefix),
    /// The method is none of those that the policy knows.
    OtherMethod,
    /// The path can be read in more than one way.
    Ambiguous(Ambiguity),
    /// The path is outside the mount.
    OutsideMount,
}

impl Rule<'_> {
    const fn is_unknown(&self) -> bool {
        match self {
            Self::OutsideMount => true,
            Self::Public
            | Self::Method
            | Self::Prefix(_)
            | Self::OtherMethod
            | Self::Ambiguous(_) => false,
        }
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public route"),
            Self::Method => f.write_str("method"),
            Self::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Self::OtherMethod => f.write_str("unknown method"),
            Self::Ambiguous(ambiguity) => write!(f, "ambiguous path: {ambiguity}"),
            Self::OutsideMount => f.write_str("outside the mount"),
        }
    }
}
