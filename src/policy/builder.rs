//! What a host adds to a policy.

use std::fmt;
use std::sync::Arc;

use axum::http::Method;

use super::directory::DirectoryError;
use super::mount::Mount;
use super::operation::Operation;
use super::path::PathPrefix;
use super::pattern::{self, PatternError};
use super::{OpencodeV2, Policy};
use crate::permission::Permissions;

impl<Server> Policy<Server> {
    /// States that the API is served under this path: `mount("/api/v1")` reads `/api/v1/session` as
    /// `/session`. Any text becomes a path of whole segments. Requests are compared with it byte for byte,
    /// as axum compares literal segments.
    ///
    /// A path outside the mount requires all three permissions, so a mistyped mount opens nothing. The
    /// mount in another spelling, such as `/API/v1`, is [ambiguous](crate::Ambiguity::MountSpelling).
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
    /// Two things are stronger than a rule. An [ambiguous](crate::Ambiguity) path requires all three permissions.
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
        let operation = Arc::new(Operation::stated(method.clone(), pattern, required)?);
        self.stated.insert(&method, operation.segments(), Arc::clone(&operation)).map_err(
            |other| PatternError::Clash {
                method,
                pattern: pattern.to_owned(),
                other: other.path().to_owned(),
            },
        )?;
        Ok(self)
    }

    /// Allows requests with this method and path without a token. A public `GET` includes `HEAD`.
    ///
    /// Patterns are written as for [`rule`](Self::rule), but with the mount: what is public often lies
    /// outside of it. The path is compared byte for byte. An [ambiguous](crate::Ambiguity) path is never public.
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
    /// none is not affected: the server then uses its own. An empty list allows no directory.
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
        self.directories.allow(directories)?;
        Ok(self)
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
