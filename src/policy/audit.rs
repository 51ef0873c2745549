//! Reviews a policy: what it requires of a list of routes, and how it differs from a server's API.

use std::fmt;

use super::nest::Paths;
use super::openapi::OpenApi;
use super::operation::Operation;
use super::pattern::Segment;
use super::route::Route;
use super::rule::{Decision, Requirement};
use super::{Policy, Rules};
use crate::permission::Permissions;

/// What a policy requires of a route. `Display` says it in a line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Audit {
    /// The route.
    pub route: Route,
    /// What a request to it requires, and by which rule.
    pub decision: Decision,
    /// The word in the path that suggests that the route runs something, such as `prompts`, if execute is
    /// not required. `None` if an audited operation or a [rule](Policy::rule) has exactly this pattern.
    pub warning: Option<String>,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requires {} ({})", self.route, self.decision.requirement, self.decision)
    }
}

/// How a policy and an OpenAPI document differ. `Display` lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Drift<'p> {
    /// The routes of the document that the policy does not know, and what it requires of them. With a table
    /// this is all three permissions, unless a pattern with a parameter matches the path too: then the
    /// requirement is that of another operation.
    pub unknown: Vec<Audit>,
    /// The operations that the policy knows and the document does not have.
    pub missing: Vec<&'p Operation>,
    /// What could not be read of the [document](OpenApi::not_understood).
    pub not_understood: Vec<String>,
}

impl Drift<'_> {
    /// Whether the policy and the document agree.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.missing.is_empty() && self.not_understood.is_empty()
    }
}

impl fmt::Display for Drift<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unknown, missing, not_understood } = self;
        if !unknown.is_empty() {
            writeln!(f, "In the document, unknown to the policy: {}", unknown.len())?;
            unknown.iter().try_for_each(|audit| writeln!(f, "  {audit}"))?;
        }
        if !missing.is_empty() {
            writeln!(f, "Known to the policy, not in the document: {}", missing.len())?;
        }
        for operation in missing {
            write!(f, "  {} {} ({operation}", operation.method(), operation.path())?;
            match operation.audited_for() {
                [] => writeln!(f, ")")?,
                versions => writeln!(f, ", opencode {})", versions.join(" and "))?,
            }
        }
        if !not_understood.is_empty() {
            writeln!(f, "In the document, not understood: {}", not_understood.len())?;
            not_understood.iter().try_for_each(|what| writeln!(f, "  {what}"))?;
        }
        Ok(())
    }
}

impl<Server> Policy<Server> {
    /// The [operations](Self::operations) as a router serves them: under the [mount](Self::mount).
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        let mount: String = match &self.mount {
            Some(mount) => mount.text().replace('{', "{{").replace('}', "}}"),
            None => String::new(),
        };
        self.operations().filter_map(move |operation| {
            // No request can name what lies under an ambiguous mount.
            Route::new(operation.method().clone(), &format!("{mount}{}", operation.path())).ok()
        })
    }

    /// Says what a request to this route requires, by which rule, and warns if the path has a word that
    /// suggests that it runs something (`prompt`, `shell`, `exec`, `execute`, `pty`, `message`, `command`,
    /// `session`, or a plural) and execute is not required.
    ///
    /// A pattern with parameters is decided as a path that has `x` in their place. A word is a hint: a route
    /// with another name can run code too. `opencode-auth policy audit` does the same.
    ///
    /// ```
    /// use opencode_auth::{Policy, Route};
    ///
    /// let policy = Policy::default().mount("/api/v1");
    /// let route: Route = "POST /api/v1/sessions/{sid}/prompt".parse()?;
    /// let audit = policy.audit(&route);
    /// assert_eq!(audit.to_string(), "POST /api/v1/sessions/{sid}/prompt requires write (method)");
    /// assert_eq!(audit.warning.as_deref(), Some("sessions"));
    ///
    /// let policy = policy.interactive("/sessions");
    /// assert_eq!(policy.audit(&route).warning, None);
    /// # Ok::<_, opencode_auth::RouteError>(())
    /// ```
    pub fn audit(&self, route: &Route) -> Audit {
        let decision = self.decide_path(route.method(), Paths::Sent(route.example().path()));
        let runs_unprotected = match decision.requirement {
            Requirement::Public => true,
            Requirement::Permissions(required) => {
                !required.contains(Permissions::EXECUTE) && !self.states(route)
            }
        };
        let warning = runs_unprotected.then(|| word_that_runs(route.segments())).flatten();
        Audit { route: route.clone(), decision, warning }
    }

    /// Compares the policy with a server's OpenAPI document. The paths of the document have the
    /// [mount](Self::mount). Names of parameters do not count. A policy that decides by the method knows
    /// every path.
    ///
    /// A host's own test:
    ///
    /// ```
    /// use opencode_auth::{OpenApi, Policy};
    ///
    /// # let json = r#"{"openapi": "3.1.0", "paths": {"/hooks/{id}": {"post": {}}}}"#;
    /// # let policy = Policy::by_method();
    /// let document = OpenApi::parse(json)?;
    /// let drift = policy.drift(&document);
    /// assert!(drift.is_empty(), "{drift}");
    /// # Ok::<_, opencode_auth::OpenApiError>(())
    /// ```
    #[must_use]
    pub fn drift(&self, document: &OpenApi) -> Drift<'_> {
        let is_served = |operation: &&Operation| {
            document.contains(operation.method(), &self.mounted(operation))
        };
        let unknown = document.routes().iter().filter(|route| !self.knows(route));
        Drift {
            unknown: unknown.map(|route| self.audit(route)).collect(),
            missing: self.operations().filter(|operation| !is_served(operation)).collect(),
            not_understood: document.not_understood().to_vec(),
        }
    }

    fn knows(&self, route: &Route) -> bool {
        let is_public = self.public.serves(route.method(), route.segments());
        let by_method = matches!(self.rules, Rules::Methods);
        is_public
            || self.states(route)
            || (by_method && self.audit(route).decision.doubt().is_none())
    }

    /// Whether a row of the table or a rule of the host has exactly this pattern.
    fn states(&self, route: &Route) -> bool {
        let mount = self.mount_segments();
        let Some(segments) = route.segments().strip_prefix(&*mount) else { return false };
        let root = [Segment::Literal("".into())];
        let segments = if segments.is_empty() { &root } else { segments };
        let is_operation = match self.rules {
            Rules::Methods => false,
            Rules::Operations(table) => table.serves(route.method(), segments),
        };
        is_operation || self.stated.serves(route.method(), segments)
    }

    fn mounted(&self, operation: &Operation) -> Vec<Segment> {
        let mut segments = self.mount_segments();
        segments.extend_from_slice(operation.segments());
        segments
    }

    fn mount_segments(&self) -> Vec<Segment> {
        let mount = self.mount.as_ref().map_or("", |mount| mount.text());
        mount.split('/').skip(1).map(|segment| Segment::Literal(segment.into())).collect()
    }
}

const WORDS_THAT_RUN: [&str; 8] =
    ["prompt", "shell", "exec", "execute", "pty", "message", "command", "session"];

/// The first word of a literal segment that suggests that the route runs something.
fn word_that_runs(segments: &[Segment]) -> Option<String> {
    segments.iter().find_map(|segment| {
        let Segment::Literal(text) = segment else { return None };
        words(text).into_iter().find(|word| {
            let singular = word.strip_suffix('s').unwrap_or(word);
            WORDS_THAT_RUN.contains(&singular)
        })
    })
}

/// The words of `prompt_async` and `runCommand`, in lower case.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for character in text.chars() {
        let begins = !character.is_ascii_alphanumeric()
            || (before.is_ascii_lowercase() && character.is_ascii_uppercase());
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character.is_ascii_alphanumeric()) {
            word.push(character.to_ascii_lowercase());
        }
        before = character;
    }
    words
}
