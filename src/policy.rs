//! What a request's method and path demand.

mod path;
mod operation;
mod opencode_v1;
mod table;
mod rule;

use axum::extract::{NestedPath, OriginalUri};
use axum::http::{Method, Request};

pub use self::operation::Operation;
use self::path::CanonicalPath;
pub use self::path::{Ambiguity, PathPrefix};
pub use self::rule::{Decision, Doubt, Requirement, Rule};
use self::table::OperationTable;
use crate::permission::Permissions;

/// Infers what a request needs from its method and path.
///
/// [`Policy::default`]: `GET`, `HEAD` and `OPTIONS` need read; `POST`, `PUT`, `PATCH` and `DELETE`
/// need write; under `/pty`, `/session` and `/message` execute is needed as well. Every other method
/// needs all three. [`Policy::opencode`]: each operation of the opencode server needs what it was found
/// to do. With either, an [ambiguous](Ambiguity) path needs all three.
///
/// ```
/// use axum::http::{Method, Request};
/// use opencode_auth::{Permissions, Policy, Requirement};
///
/// let policy = Policy::default().interactive("/tui").public(Method::GET, "/global/health");
/// let needs = |method, path| {
///     policy.decide(&Request::builder().method(method).uri(path).body(()).unwrap()).requirement
/// };
///
/// assert_eq!(needs("GET", "/config"), Requirement::Permissions(Permissions::READ));
/// assert_eq!(needs("POST", "/tui/open"), Requirement::Permissions(Permissions::WRITE | Permissions::EXECUTE));
/// assert_eq!(needs("GET", "/config/../pty"), Requirement::Permissions(Permissions::ALL));
/// assert_eq!(needs("GET", "/global/health"), Requirement::Public);
/// ```
///
/// # Which policy
///
/// [`Policy::opencode`] where the wrapped router serves the opencode API, [`Policy::default`] for every
/// other API. The default is a rule of thumb: of the 188 operations of opencode 1.18 it leaves 34 that
/// run code or let an agent go on to a token without execute (prompts and shells under `/api/session` and
/// `/api/pty`, configuration, approvals, upgrades), and asks execute of 23 that do neither, so that a
/// token that may only read cannot list sessions. On another API the table would know no route, and ask
/// all three of every request.
///
/// # What a policy cannot see
///
/// A policy sees the method and the path, and not what a query or a body asks for. Of the opencode API
/// that means:
///
/// - Read is the whole host's: `?directory=` names any directory, so `GET /file/content` reads any file
///   that the server can read, and configuration and providers are answered with their keys. It also sets
///   off what is configured already: MCP servers, the filters that a repository asks git to run.
/// - Write can prepare what somebody else's execute sets off: `POST /session` takes the permission rules
///   under which a later prompt runs.
///
/// `X-HTTP-Method-Override`, `X-Original-URL` and the like are ignored: do not route on them behind it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    rules: Rules,
    mount: Option<PathPrefix>,
    interactive: Vec<PathPrefix>,
    public: Vec<(Method, Box<str>)>,
}

/// What a path needs before the prefixes that need execute add to it.
#[derive(Clone, Copy, Debug)]
enum Rules {
    Methods,
    Operations(&'static OperationTable),
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Rules::Methods)
            .interactive("/pty")
            .interactive("/session")
            .interactive("/message")
    }
}

impl Policy {
    const fn new(rules: Rules) -> Self {
        Self { rules, mount: None, interactive: Vec::new(), public: Vec::new() }
    }

    /// The policy for a router that serves the opencode API: each of its 188 operations (as of 1.18)
    /// needs what an audit of the running server found it to do, and everything else needs all three
    /// permissions, so that an operation of a later server is closed and not open.
    ///
    /// Execute is needed to run code on the host, to let an agent go on, and to change what either may
    /// do: prompts, shells, terminals, approvals, configuration that starts processes. The permissions
    /// do not include one another: 87 operations need read, 55 write, 44 write and execute, 2 read and
    /// execute. [`operations`](Self::operations) lists them.
    ///
    /// ```
    /// use axum::http::Request;
    /// use opencode_auth::{Permissions, Policy, Requirement};
    ///
    /// let policy = Policy::opencode().mount("/v1");
    /// let decide = |method, path| {
    ///     let request = Request::builder().method(method).uri(path).body(()).unwrap();
    ///     let decision = policy.decide(&request);
    ///     (decision.requirement, decision.to_string())
    /// };
    /// let needs = Requirement::Permissions;
    ///
    /// assert_eq!(decide("GET", "/v1/session"), (needs(Permissions::READ), "operation session.list".into()));
    /// assert_eq!(
    ///     decide("POST", "/v1/session/ses_1/message"),
    ///     (needs(Permissions::WRITE | Permissions::EXECUTE), "operation session.prompt".into()),
    /// );
    /// assert_eq!(decide("GET", "/v1/sessions"), (needs(Permissions::ALL), "unknown operation".into()));
    /// ```
    ///
    /// A path is compared as it was sent, after the mount: nothing is decoded, letter case counts, and so
    /// does a slash at the end. `/SESSION`, `/%73ession` and `/session/` are no known operation and need
    /// all three, whatever a lenient router makes of them. `{id}` is one segment and `{*rest}` one or
    /// more; a literal segment wins over `{id}`. An identifier or a file name that is
    /// [ambiguous](Ambiguity), with `;`, `#` or `%` in it, needs all three as well. `HEAD` is taken as
    /// `GET`. `OPTIONS` is no operation: a CORS layer, which answers preflights, goes outside.
    pub fn opencode() -> Self {
        Self::new(Rules::Operations(OperationTable::opencode()))
    }

    /// Says that the API is served under this path: `mount("/api/v1")` reads `/api/v1/session` as
    /// `/session`. Any text is made a path of whole segments.
    ///
    /// A path outside the mount needs all three permissions, so that a mistyped mount opens nothing.
    ///
    /// # Security
    ///
    /// A mount that is not said at all does open something, with [`Policy::default`]: `/api/v1/pty` is then
    /// not under `/pty`, and needs no execute.
    ///
    /// A layer inside axum's `nest` needs no mount: the router has taken the prefix off already.
    pub fn mount(mut self, path: &str) -> Self {
        self.mount = Some(PathPrefix::new(path));
        self
    }

    /// Requests under this path need execute as well, beside what they need already. Any text is made a
    /// path of whole segments, relative to the [mount](Self::mount). It is no pattern: from the first
    /// segment on that has one of `{`, `*`, `?` and `#` in it, or begins with `:` or `<`, it counts for
    /// nothing, so that `/project/{id}/pty` protects everything under `/project`.
    pub fn interactive(mut self, path: &str) -> Self {
        // As axum 0.8, axum 0.7 and others write them.
        let is_pattern = |segment: &&str| {
            segment.contains(['{', '*', '?', '#']) || segment.starts_with([':', '<'])
        };
        let literal: Vec<&str> =
            path.split('/').take_while(|segment| !is_pattern(segment)).collect();
        self.interactive.push(PathPrefix::new(&literal.join("/")));
        self
    }

    /// Lets requests with exactly this method and path pass without a token; a public `GET` includes
    /// `HEAD`. The path is compared byte for byte, mount included: nothing is decoded or folded, and there
    /// is no prefix. Inside axum's `nest` it is compared with the path that was sent and with the one that
    /// `nest` made of it; inside a `nest` with a parameter, only with the latter.
    ///
    /// # Security
    ///
    /// Anybody who reaches the server reaches this route: for a layer inside `nest("/admin")`, a public
    /// `/login` is `/admin/login` as well. There is none by default.
    pub fn public(mut self, method: Method, path: impl Into<Box<str>>) -> Self {
        self.public.push((method, path.into()));
        self
    }

    /// The operations that the policy knows, in the order of the API; none for [`Policy::default`].
    /// What [`interactive`](Self::interactive) and [`public`](Self::public) change is not in them.
    #[must_use]
    pub const fn operations(&self) -> &'static [Operation] {
        match self.rules {
            Rules::Methods => &[],
            Rules::Operations(index) => index.operations(),
        }
    }

    /// Decides what a request requires, from its method, its path, and the path that it had before
    /// axum's `nest` shortened it ([`OriginalUri`]).
    #[must_use]
    pub fn decide<B>(&self, request: &Request<B>) -> Decision {
        let method = request.method();
        let path = request.uri().path();
        let original = request
            .extensions()
            .get::<OriginalUri>()
            .map(|original| original.0.path())
            .filter(|original| *original != path);
        let Some(original) = original else {
            if self.is_public(method, path) {
                return Decision::PUBLIC;
            }
            return self.read(method, path).into();
        };
        let is_fixed = is_nested_at_fixed_path(request, original);
        if self.is_public(method, path) || (is_fixed && self.is_public(method, original)) {
            return Decision::PUBLIC;
        }
        self.read(method, path).and(self.read(method, original), is_fixed).into()
    }

    fn is_public(&self, method: &Method, path: &str) -> bool {
        self.public.iter().any(|(public_method, public_path)| {
            **public_path == *path
                && (method == public_method
                    || (method == Method::HEAD && public_method == Method::GET))
        })
    }

    fn read(&self, method: &Method, path: &str) -> Reading<'_> {
        let path = match CanonicalPath::read(path) {
            Ok(path) => path,
            Err(ambiguity) => return Reading::doubt(Doubt::AmbiguousPath(ambiguity)),
        };
        let path = match &self.mount {
            None => path,
            Some(mount) => match path.strip_prefix(mount) {
                Some(path) => path,
                None => return Reading::doubt(Doubt::OutsideMount),
            },
        };
        let interactive = self.interactive.iter().find(|prefix| path.starts_with(prefix));
        Reading { interactive, ..self.rules.read(method, path) }
    }
}

impl Rules {
    fn read<'a>(self, method: &Method, path: CanonicalPath<'_>) -> Reading<'a> {
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

/// What one reading of a request's path requires, and why.
struct Reading<'a> {
    required: Permissions,
    rule: Rule,
    /// The prefix that adds execute.
    interactive: Option<&'a PathPrefix>,
}

impl Reading<'_> {
    const fn new(required: Permissions, rule: Rule) -> Self {
        Self { required, rule, interactive: None }
    }

    const fn doubt(doubt: Doubt) -> Self {
        Self::new(Permissions::ALL, Rule::Doubt(doubt))
    }

    const fn is_unknown(&self) -> bool {
        matches!(self.rule, Rule::Doubt(Doubt::OutsideMount | Doubt::UnknownOperation))
    }

    /// What both paths of one request require. Of the two, one that the policy does not know adds nothing
    /// when it knows the other: `nest` takes the mount off, or puts it on. `original_stands_in` says whether
    /// that goes for the original path too.
    fn and(self, original: Self, original_stands_in: bool) -> Self {
        // A prefix counts under either path, whatever else is known of it.
        let interactive = self.interactive.or(original.interactive);
        let known = match (self.is_unknown(), original.is_unknown()) {
            (true, false) if original_stands_in => original,
            (false, true) => self,
            _ => {
                let required = self.required | original.required;
                let rule = if required == self.required { self.rule } else { original.rule };
                Self::new(required, rule)
            }
        };
        Self { interactive, ..known }
    }
}

impl From<Reading<'_>> for Decision {
    fn from(reading: Reading<'_>) -> Self {
        let Reading { required, rule, interactive } = reading;
        match interactive {
            Some(prefix) if !required.contains(Permissions::EXECUTE) => Self {
                requirement: Requirement::Permissions(required | Permissions::EXECUTE),
                rule: Rule::Prefix(prefix.clone()),
            },
            _ => Self { requirement: Requirement::Permissions(required), rule },
        }
    }
}

/// Whether `nest` made the path of the original one, and took off what the server wrote: nothing that the
/// sender chose, as with `nest("/{tenant}", ...)`. Only then does the original path say which route runs. A
/// path that something else than `nest` has changed says nothing of it either.
fn is_nested_at_fixed_path<B>(request: &Request<B>, original: &str) -> bool {
    let path = request.uri().path();
    request.extensions().get::<NestedPath>().map(NestedPath::as_str).is_some_and(|nested| {
        let rest = original.strip_prefix(nested.trim_end_matches('/'));
        !nested.contains('{')
            && rest.is_some_and(|rest| rest == path || (rest.is_empty() && path == "/"))
    })
}

/// `None` for a method of which nothing is known: a route that takes any method may do anything.
fn required_by_method(method: &Method) -> Option<Permissions> {
    match *method {
        // OPTIONS describes a route. A CORS preflight carries no credentials: the CORS layer goes outside.
        Method::GET | Method::HEAD | Method::OPTIONS => Some(Permissions::READ),
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => Some(Permissions::WRITE),
        _ => None,
    }
}
