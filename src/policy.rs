//! What a policy consists of.

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
mod builder;
mod reading;
mod decide;
mod route;
mod openapi;
mod audit;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use self::audit::{Audit, Drift};
use self::directory::Directories;
pub use self::directory::DirectoryError;
pub(crate) use self::directory::may_name_directory;
use self::mount::Mount;
pub use self::openapi::{OpenApi, OpenApiError};
pub use self::operation::Operation;
pub use self::path::{Ambiguity, PathPrefix};
pub use self::pattern::PatternError;
use self::pattern::{Routes, Segment};
#[cfg(feature = "cli")]
pub(crate) use self::route::method_in_capitals;
pub use self::route::{Route, RouteError};
pub use self::rule::{Decision, Doubt, Requirement, Rule};
use self::table::OperationTable;

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
    stated: Routes<Arc<Operation>>,
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

impl<Server> Policy<Server> {
    /// The operations that the policy knows: the table in the order of the API, then the host's
    /// [rules](Self::rule). A rule replaces an operation with the same method and pattern.
    /// [`interactive`](Self::interactive) and [`public`](Self::public) are not included.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        let table = match self.rules {
            Rules::Methods => &[],
            Rules::Operations(table) => table.operations(),
        };
        let is_replaced =
            |operation: &&Operation| self.stated.contains(operation.method(), operation.segments());
        let stated = self.stated.values().iter().map(|operation| &**operation);
        table.iter().filter(move |operation| !is_replaced(operation)).chain(stated)
    }

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
        let rules: Vec<_> = self.stated.values().iter().map(|operation| operation.name()).collect();
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
