//! Decides what a request requires, from its method and path.

mod path;
mod mount;
mod nest;
mod pattern;
mod operation;
mod opencode_v1;
mod opencode_v2;
mod table;
mod rule;
mod directory;
mod route;
mod openapi;
mod audit;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use axum::extract::OriginalUri;
use axum::http::{Method, Request};

pub use self::audit::{Audit, Drift};
use self::directory::Directories;
pub use self::directory::DirectoryError;
pub(crate) use self::directory::may_name_directory;
use self::mount::Mount;
use self::nest::{Paths, suffixes};
pub use self::openapi::{OpenApi, OpenApiError};
pub use self::operation::Operation;
use self::path::CanonicalPath;
pub use self::path::{Ambiguity, PathPrefix};
pub use self::pattern::PatternError;
use self::pattern::{Routes, Segment};
pub use self::route::{Route, RouteError};
pub use self::rule::{Decision, Doubt, Requirement, Rule};
use self::table::OperationTable;
use crate::permission::Permissions;

/// Decides what a request requires, from its method and path.
///
/// | policy | for |
/// |---|---|
/// | [`Policy::opencode`] | an API of opencode 1.18 or 2.0: each operation requires what an audit found |
/// | [`Policy::opencode_v2`] | an API of opencode 2.0 alone, and its public web page |
/// | [`Policy::default`] | other APIs: `GET`, `HEAD` and `OPTIONS` require read; `POST`, `PUT`, `PATCH` and `DELETE` require write; `/pty`, `/session` and `/message`, also under `/api`, require execute as well |
/// | [`Policy::by_method`] | other APIs: the method alone, to build on |
///
/// With each of them, an unknown method and an [ambiguous](Ambiguity) path require all three permissions.
///
/// ```
/// use axum::http::{Method, Request};
/// use opencode_auth::{Permissions, Policy, Requirement};
///
/// let policy = Policy::default()
///     .interactive("/tui")
///     .rule(Method::POST, "/hooks/{name}", Permissions::EXECUTE)
///     .public(Method::GET, "/global/health");
/// let required = |method, path| {
///     policy.decide(&Request::builder().method(method).uri(path).body(()).unwrap()).requirement
/// };
///
/// assert_eq!(required("GET", "/config"), Requirement::Permissions(Permissions::READ));
/// assert_eq!(required("POST", "/tui/open"), Requirement::Permissions(Permissions::WRITE | Permissions::EXECUTE));
/// assert_eq!(required("POST", "/hooks/build"), Requirement::Permissions(Permissions::EXECUTE));
/// assert_eq!(required("GET", "/config/../pty"), Requirement::Permissions(Permissions::ALL));
/// assert_eq!(required("GET", "/global/health"), Requirement::Public);
/// ```
///
/// # Which policy
///
/// Use [`Policy::opencode`] if the router serves the opencode API, and [`Policy::default`] for every
/// other API. The default is a rule of thumb. It matches three words: a plural or renamed path such as
/// `/sessions/{id}/prompt` is not protected, so check your own routes with
/// [`audit`](Self::audit). On the opencode API it leaves open what the tables close, and closes what they
/// leave open. On another API the tables would know no route and require all three permissions everywhere.
///
/// # What a policy cannot see
///
/// A policy sees the method, the path and, with [`directories`](Self::directories), the directory that a
/// request names in its query or headers. It does not see the body. On the opencode API this means:
///
/// - Read covers the whole machine: `?directory=` names any directory, so `GET /file/content` reads any
///   file that the server can read, and configuration and providers are returned with their keys. It also
///   loads what that directory configures: plugins, MCP servers, the filters that a repository asks git to
///   run. Limit it with [`directories`](Self::directories).
/// - Write can prepare what another token's execute runs: `POST /session` stores permission rules for
///   later prompts.
///
/// `X-HTTP-Method-Override`, `X-Original-URL` and the like are ignored. Do not route by them inside the
/// layer.
#[must_use]
pub struct Policy<Server = ()> {
    rules: Rules,
    mount: Option<Mount>,
    interactive: Vec<PathPrefix>,
    /// Rules of the host, relative to the mount.
    stated: Routes<Stated>,
    /// Public patterns, mount included.
    public: Routes<Vec<Segment>>,
    has_public_web_page: bool,
    directories: Directories,
    server: PhantomData<fn() -> Server>,
}

/// Marks the [`Policy`] for opencode 2.0. Only this server has a
/// [public web page](Policy::public_web_page).
#[derive(Clone, Copy, Debug)]
pub enum OpencodeV2 {}

/// What a path requires before the interactive prefixes add to it.
#[derive(Clone, Copy, Debug)]
enum Rules {
    Methods,
    Operations(&'static OperationTable),
}

/// A rule of the host.
#[derive(Clone, Debug)]
struct Stated {
    operation: Arc<Operation>,
    pattern: Vec<Segment>,
}

impl Default for Policy {
    fn default() -> Self {
        ["/pty", "/session", "/message", "/api/pty", "/api/session", "/api/message"]
            .into_iter()
            .fold(Self::by_method(), Self::interactive)
    }
}

impl Policy {
    /// The method alone decides: `GET`, `HEAD` and `OPTIONS` require read; `POST`, `PUT`, `PATCH` and
    /// `DELETE` require write. Build on it if your routes have other names than opencode's: state what
    /// runs code with [`interactive`](Self::interactive) and [`rule`](Self::rule), and check the result
    /// with [`audit`](Self::audit).
    pub fn by_method() -> Self {
        Self::new(Rules::Methods)
    }

    /// The policy for a router that serves the opencode API, version 1.18 or 2.0: each of the 285
    /// operations requires what an audit of the running servers found it to do. Everything else requires
    /// all three permissions, so that an operation of a later server is closed.
    ///
    /// Execute is required to run code on the server's machine, to let an agent continue, and to change
    /// what either may do: prompts, shells, terminals, approvals, configuration that starts processes. The
    /// permissions do not include one another. [`operations`](Self::operations) lists the table.
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
    /// let permissions = Requirement::Permissions;
    ///
    /// assert_eq!(decide("GET", "/v1/session"), (permissions(Permissions::READ), "operation session.list".into()));
    /// assert_eq!(
    ///     decide("POST", "/v1/session/ses_1/message"),
    ///     (permissions(Permissions::WRITE | Permissions::EXECUTE), "operation session.prompt".into()),
    /// );
    /// assert_eq!(decide("GET", "/v1/sessions"), (permissions(Permissions::ALL), "unknown operation".into()));
    /// ```
    ///
    /// The path after the mount is compared as it was sent: nothing is decoded, letter case counts, and so
    /// does a slash at the end. `/SESSION`, `/%73ession` and `/session/` are unknown operations and
    /// require all three permissions, whatever a lenient router makes of them. `{id}` is one segment and
    /// `{*rest}` one or more. A literal segment wins over `{id}`. An identifier or a file name that is
    /// [ambiguous](Ambiguity), with `;`, `#` or `%` in it, requires all three as well. `HEAD` is read as
    /// `GET`. `OPTIONS` is not an operation: a CORS layer, which responds to preflights, goes outside.
    pub fn opencode() -> Self {
        Self::new(Rules::Operations(OperationTable::opencode()))
    }

    /// The policy for a router that serves the API of opencode 2.0 and of no other version: the 143
    /// operations under `/api`, `/auth` and `/openapi.json`. Everything else requires all three
    /// permissions, unless you call [`public_web_page`](Policy::public_web_page).
    pub fn opencode_v2() -> Policy<OpencodeV2> {
        Policy::new(Rules::Operations(OperationTable::opencode_v2()))
    }
}

impl Policy<OpencodeV2> {
    /// Makes the web page of opencode 2.0 public: `GET` and `HEAD` outside of `/api`, `/auth` and
    /// `/openapi.json`, relative to the [mount](Self::mount). The page has no secrets: it asks the API,
    /// which requires a token. On opencode 1.18 the API is at the root, so only this policy has the method.
    ///
    /// Rules, interactive prefixes and ambiguous paths are not public.
    ///
    /// # Security
    ///
    /// A route of your own beside the page is public as well. State its [`rule`](Self::rule), or serve it
    /// under `/api`.
    ///
    /// ```
    /// use axum::http::Request;
    /// use opencode_auth::{Permissions, Policy, Requirement};
    ///
    /// let policy = Policy::opencode_v2().public_web_page();
    /// let required = |path| policy.decide(&Request::get(path).body(()).unwrap()).requirement;
    ///
    /// assert_eq!(required("/"), Requirement::Public);
    /// assert_eq!(required("/api/info"), Requirement::Permissions(Permissions::READ));
    /// assert_eq!(required("/api/unknown"), Requirement::Permissions(Permissions::ALL));
    /// ```
    ///
    /// ```compile_fail
    /// opencode_auth::Policy::opencode().public_web_page();
    /// ```
    pub fn public_web_page(mut self) -> Self {
        self.has_public_web_page = true;
        self
    }
}

impl<Server> Policy<Server> {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            mount: None,
            interactive: Vec::new(),
            stated: Routes::default(),
            public: Routes::default(),
            has_public_web_page: false,
            directories: Directories::default(),
            server: PhantomData,
        }
    }

    /// States that the API is served under this path: `mount("/api/v1")` reads `/api/v1/session` as
    /// `/session`. Any text becomes a path of whole segments. Requests are compared with it byte for byte,
    /// as axum compares literal segments.
    ///
    /// A path outside the mount requires all three permissions, so a mistyped mount opens nothing. The
    /// mount in another spelling, such as `/API/v1`, is [ambiguous](Ambiguity::MountSpelling).
    ///
    /// # Inside `nest`
    ///
    /// A layer inside axum's `nest` needs no mount: the router has removed the prefix. The shortened path
    /// decides, and the original path and those between the two only add to it. If the API does not
    /// begin at the router that the layer is on, put the layer outside and state the mount.
    ///
    /// If something other than `nest` changed the path between the router and the layer, the path before
    /// and the path after both count, an unknown one requires all three permissions, and nothing is public.
    ///
    /// # Security
    ///
    /// A missing mount does open something with [`Policy::default`]: `/v1/pty` is not under `/pty`, and
    /// does not require execute.
    pub fn mount(mut self, path: &str) -> Self {
        self.mount = Some(Mount::new(path));
        self
    }

    /// Requests under this path require execute in addition to what else they require, also if a
    /// [`rule`](Self::rule) matches. Any text becomes a path of whole segments, relative to the
    /// [mount](Self::mount). It is not a pattern: the first segment that contains `{`, `*`, `?` or `#`, or
    /// begins with `:` or `<`, and everything after it is ignored. `/project/{id}/pty` protects
    /// everything under `/project`.
    pub fn interactive(mut self, path: &str) -> Self {
        // The notations of axum 0.8, axum 0.7 and others.
        let is_pattern = |segment: &&str| {
            segment.contains(['{', '*', '?', '#']) || segment.starts_with([':', '<'])
        };
        let literal: Vec<&str> =
            path.split('/').take_while(|segment| !is_pattern(segment)).collect();
        self.interactive.push(PathPrefix::new(&literal.join("/")));
        self
    }

    /// States what a route of your own requires. It replaces what the table or the method would require,
    /// and may be less. [`Permissions::NONE`] requires a valid token with any permission.
    ///
    /// Patterns are written as in axum 0.8, relative to the [mount](Self::mount): `{name}` is one segment,
    /// `{*rest}` at the end is one or more, and a parameter is a whole segment. A literal segment wins
    /// over `{name}`, and `{name}` over `{*rest}`. The path is compared as it was sent. A rule for `GET`
    /// serves `HEAD`.
    ///
    /// Two things are stronger than a rule. An [ambiguous](Ambiguity) path requires all three permissions.
    /// An [interactive](Self::interactive) prefix still adds execute: to lower `/session` of
    /// [`Policy::default`], build on [`Policy::by_method`] instead.
    ///
    /// ```
    /// use axum::http::Method;
    /// use opencode_auth::{Permissions, Policy};
    ///
    /// let policy = Policy::opencode()
    ///     .rule(Method::GET, "/dashboard/{*page}", Permissions::READ)
    ///     .rule(Method::POST, "/hooks/{name}", Permissions::WRITE);
    /// # let _ = policy;
    /// ```
    ///
    /// # Panics
    ///
    /// If the pattern is invalid, or clashes with another rule for the same method: as with axum's routes,
    /// that is a mistake in the program. Use [`try_rule`](Self::try_rule) for a pattern that comes from
    /// elsewhere.
    #[track_caller]
    pub fn rule(self, method: Method, pattern: &str, required: Permissions) -> Self {
        or_panic(self.try_rule(method, pattern, required))
    }

    /// As [`rule`](Self::rule), for a pattern that comes from configuration.
    ///
    /// # Errors
    ///
    /// If the pattern is invalid, or clashes with another rule for the same method.
    pub fn try_rule(
        mut self,
        method: Method,
        pattern: &str,
        required: Permissions,
    ) -> Result<Self, PatternError> {
        let segments = pattern::parse(pattern)?;
        let operation = Arc::new(Operation::stated(method.clone(), pattern, required));
        let stated = Stated { operation, pattern: segments.clone() };
        self.stated.insert(&method, &segments, stated).map_err(|other| PatternError::Clash {
            method,
            pattern: pattern.to_owned(),
            other: other.operation.path().to_owned(),
        })?;
        Ok(self)
    }

    /// Allows requests with this method and path without a token. A public `GET` includes `HEAD`.
    ///
    /// Patterns are written as for [`rule`](Self::rule), but with the mount: what is public often lies
    /// outside of it. The path is compared byte for byte. An [ambiguous](Ambiguity) path is never public.
    /// If a rule matches too, the more specific pattern wins, and the rule if they are equal.
    ///
    /// Inside axum's `nest` the pattern is compared with the path that was sent and with the one that
    /// `nest` made of it. Inside a `nest` with a parameter, it is compared with the latter only.
    ///
    /// # Security
    ///
    /// Everyone who reaches the server reaches this route. For a layer inside `nest("/admin")`, a public
    /// `/login` is `/admin/login` as well. Nothing is public by default.
    ///
    /// # Panics
    ///
    /// If the pattern is invalid, or is public already. Use [`try_public`](Self::try_public) for a pattern
    /// that comes from elsewhere.
    #[track_caller]
    pub fn public(self, method: Method, pattern: &str) -> Self {
        or_panic(self.try_public(method, pattern))
    }

    /// As [`public`](Self::public), for a pattern that comes from configuration.
    ///
    /// # Errors
    ///
    /// If the pattern is invalid, or is public already.
    pub fn try_public(mut self, method: Method, pattern: &str) -> Result<Self, PatternError> {
        let segments = pattern::parse(pattern)?;
        self.public.insert(&method, &segments, segments.clone()).map_err(|_| {
            PatternError::Clash { method, pattern: pattern.to_owned(), other: pattern.to_owned() }
        })?;
        Ok(self)
    }

    /// Limits the directories that a request may name to these and what is under them. A request that
    /// names another one requires all three permissions, and so does one that names two, a relative one,
    /// or one that can be read in more than one way; a public route is no exception. A request that names
    /// none is not affected: the server then uses its own.
    ///
    /// A request names a directory with `directory` or `location[directory]` in its query, or with the
    /// header `x-opencode-directory`. opencode loads the plugins of that directory, so without this limit
    /// a token that may only read can run code wherever another user can put files.
    ///
    /// ```
    /// use axum::http::Request;
    /// use opencode_auth::{Permissions, Policy, Requirement};
    ///
    /// let policy = Policy::opencode().directories(["/home/me/work"]);
    /// let required = |uri| policy.decide(&Request::get(uri).body(()).unwrap()).requirement;
    ///
    /// assert_eq!(required("/file?directory=/home/me/work/app"), Requirement::Permissions(Permissions::READ));
    /// assert_eq!(required("/file?directory=/tmp"), Requirement::Permissions(Permissions::ALL));
    /// ```
    ///
    /// # What it does not see
    ///
    /// - Only names are compared; the disk is not read. A link inside an allowed directory can point
    ///   anywhere, and a token with execute can create one.
    /// - A directory in a body. In opencode 2.0 these are `POST /api/session` (write, the session's
    ///   directory), `POST /api/session/{sessionID}/move`, `POST /api/worktree`, `DELETE /api/worktree`,
    ///   `POST /api/pty`, `POST /api/shell` and `POST /api/experimental/fs/write` (write and execute). In
    ///   1.18 they are `POST /experimental/control-plane/move-session` (write), `POST /pty`,
    ///   `POST /experimental/worktree` and `DELETE /experimental/worktree` (write and execute), and under
    ///   `/api` `POST /api/session` and `POST /api/pty`. A token with read alone can call none of them.
    /// - The directory of a session, project or workspace that exists. A request names it by its id.
    ///
    /// # Panics
    ///
    /// If a directory is not an absolute path with `/`, or has `.`, `..`, `//` or unusual characters in
    /// it. Use [`try_directories`](Self::try_directories) for those that come from elsewhere.
    #[track_caller]
    pub fn directories<D: AsRef<str>>(self, directories: impl IntoIterator<Item = D>) -> Self {
        or_panic(self.try_directories(directories))
    }

    /// As [`directories`](Self::directories), for directories that come from configuration.
    ///
    /// # Errors
    ///
    /// If a directory is not an absolute path with `/`, or has `.`, `..`, `//` or unusual characters.
    pub fn try_directories<D: AsRef<str>>(
        mut self,
        directories: impl IntoIterator<Item = D>,
    ) -> Result<Self, DirectoryError> {
        for directory in directories {
            self.directories.add(directory.as_ref())?;
        }
        Ok(self)
    }

    /// The operations that the policy knows: the table in the order of the API, then the host's
    /// [rules](Self::rule). A rule replaces an operation with the same method and pattern.
    /// [`interactive`](Self::interactive) and [`public`](Self::public) are not included.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        let table = match self.rules {
            Rules::Methods => &[],
            Rules::Operations(table) => table.operations(),
        };
        let is_replaced = |operation: &&Operation| {
            pattern::parse(operation.path())
                .is_ok_and(|pattern| self.stated.contains(operation.method(), &pattern))
        };
        let stated = self.stated.values().iter().map(|stated| &*stated.operation);
        table.iter().filter(move |operation| !is_replaced(operation)).chain(stated)
    }

    /// Decides what a request requires, from its method, its path, and the path that it had before
    /// axum's `nest` shortened it ([`OriginalUri`]). Headers and query count only with
    /// [`directories`](Self::directories), and the body never.
    #[must_use]
    pub fn decide<B>(&self, request: &Request<B>) -> Decision {
        let decision = self.decide_path(request.method(), Paths::of(request));
        if self.directories.is_empty() {
            return decision;
        }
        match self.check_directories(request) {
            Ok(()) => decision,
            // A doubt about the path came first.
            Err(_) if decision.doubt().is_some() => decision,
            Err(doubt) => Reading::doubt(doubt).into(),
        }
    }

    fn cast<Other>(&self) -> Policy<Other> {
        Policy {
            rules: self.rules,
            mount: self.mount.clone(),
            interactive: self.interactive.clone(),
            stated: self.stated.clone(),
            public: self.public.clone(),
            has_public_web_page: self.has_public_web_page,
            directories: self.directories.clone(),
            server: PhantomData,
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

    fn decide_path(&self, method: &Method, paths: Paths<'_>) -> Decision {
        match paths {
            Paths::Sent(path) => {
                if self.is_public(method, path) {
                    return Decision::PUBLIC;
                }
                self.read(method, path).into()
            }
            Paths::Nested { path, original, depth, is_fixed } => {
                if self.is_public(method, path) || (is_fixed && self.is_public(method, original)) {
                    return Decision::PUBLIC;
                }
                self.read_nested(method, path, original, depth, is_fixed).into()
            }
            Paths::Changed { path, original, depth } => {
                let originals = suffixes(original, depth + 1);
                let all = originals.fold(self.read(method, path), |reading, original| {
                    reading.and(self.read(method, original))
                });
                match all.rule {
                    // The web page: what is served under a path that was changed is not known to be it.
                    Rule::Public => Reading::doubt(Doubt::UnknownOperation).into(),
                    _ => all.into(),
                }
            }
        }
    }

    fn read_nested(
        &self,
        method: &Method,
        path: &str,
        original: &str,
        depth: usize,
        is_fixed: bool,
    ) -> Reading<'_> {
        let shortened = self.read(method, path);
        let longer = suffixes(original, depth).map(|path| self.read(method, path));
        if self.mount.is_none() {
            // Behind a prefix that the policy does not know, a path is unknown. That says nothing.
            return longer.fold(shortened, |reading, longer| {
                if longer.is_unknown() && !reading.is_public() {
                    // An interactive prefix counts all the same.
                    let interactive = reading.interactive.or(longer.interactive);
                    return Reading { interactive, ..reading };
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

    fn is_public(&self, method: &Method, path: &str) -> bool {
        let Some(public) = self.public.find(method, path) else { return false };
        let Ok(path) = CanonicalPath::read(path) else { return false };
        let (depth, path) = match &self.mount {
            None => (0, Some(path)),
            Some(mount) => (mount.depth(), mount.strip(path).ok().flatten()),
        };
        let stated = path.and_then(|path| self.stated.find(method, path.as_sent()));
        stated.is_none_or(|stated| pattern::is_more_specific(public, depth, &stated.pattern))
    }

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
            Some(Stated { operation, .. }) => {
                Reading::new(operation.required(), Rule::Host(Arc::clone(operation)))
            }
            None if self.has_public_web_page
                && interactive.is_none()
                && is_web_page(method, path) =>
            {
                Reading::new(Permissions::NONE, Rule::Public)
            }
            None => self.rules.read(method, path),
        };
        Reading { interactive, ..reading }
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

    const fn is_public(&self) -> bool {
        matches!(self.rule, Rule::Public)
    }

    const fn is_outside_mount(&self) -> bool {
        matches!(self.rule, Rule::Doubt(Doubt::OutsideMount))
    }

    const fn is_unknown(&self) -> bool {
        matches!(self.rule, Rule::Doubt(Doubt::UnknownOperation))
    }

    /// What both readings of one request require.
    fn and(self, other: Self) -> Self {
        let interactive = self.interactive.or(other.interactive);
        let required = self.required | other.required;
        let rule =
            if required == self.required && !self.is_public() { self.rule } else { other.rule };
        Self { required, rule, interactive }
    }
}

impl From<Reading<'_>> for Decision {
    fn from(reading: Reading<'_>) -> Self {
        let Reading { required, rule, interactive } = reading;
        match (interactive, rule) {
            (None, Rule::Public) => Self::PUBLIC,
            (Some(prefix), _) if !required.contains(Permissions::EXECUTE) => Self {
                requirement: Requirement::Permissions(required | Permissions::EXECUTE),
                rule: Rule::Prefix(prefix.clone()),
            },
            (_, rule) => Self { requirement: Requirement::Permissions(required), rule },
        }
    }
}

/// Whether this is a path of opencode 2.0 at which it serves its web page.
fn is_web_page(method: &Method, path: CanonicalPath<'_>) -> bool {
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

/// A mistake in the host's program, found when it starts.
#[track_caller]
fn or_panic<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        #[expect(
            clippy::panic,
            reason = "documented: as axum's routes, a policy is part of the program"
        )]
        Err(error) => panic!("{error}"),
    }
}

impl<Server> Clone for Policy<Server> {
    fn clone(&self) -> Self {
        self.cast()
    }
}

impl From<Policy<OpencodeV2>> for Policy {
    fn from(policy: Policy<OpencodeV2>) -> Self {
        policy.cast()
    }
}

impl<Server> fmt::Debug for Policy<Server> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> =
            self.stated.values().iter().map(|stated| stated.operation.name()).collect();
        f.debug_struct("Policy")
            .field("rules", &self.rules)
            .field("mount", &self.mount)
            .field("interactive", &self.interactive)
            .field("stated", &rules)
            .field("public", &self.public.values().len())
            .field("has_public_web_page", &self.has_public_web_page)
            .field("directories", &self.directories)
            .finish()
    }
}
