//! The decision of a policy about a request, and its rule.

use std::fmt;
use std::sync::Arc;

use super::operation::Operation;
use super::path::{Ambiguity, PathPrefix};
use crate::permission::Permissions;

/// What a request requires. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing. The request is not checked, and no [`Principal`](crate::Principal) is attached.
    Public,
    /// A valid token with all of these permissions.
    Permissions(Permissions),
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("no token"),
            Self::Permissions(Permissions::NONE) => f.write_str("any valid token"),
            Self::Permissions(required) => required.fmt(f),
        }
    }
}

/// What a request requires, and the [`Rule`] that decided. `Display` shows the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// What the request requires.
    pub requirement: Requirement,
    /// The rule that decided.
    pub rule: Rule,
}

impl Decision {
    pub(super) const PUBLIC: Self = Self { requirement: Requirement::Public, rule: Rule::Public };

    /// The doubt that makes the request require all three permissions, if there is one.
    #[must_use]
    pub const fn doubt(&self) -> Option<Doubt> {
        match self.rule {
            Rule::Doubt(doubt) => Some(doubt),
            Rule::Public | Rule::Method | Rule::Operation(_) | Rule::Host(_) | Rule::Prefix(_) => {
                None
            }
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

/// The rule that decided what a request requires. `Display` says it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The method and path are public.
    Public,
    /// The method alone decided.
    Method,
    /// The request calls this operation.
    Operation(&'static Operation),
    /// The request matches this [rule of the host](crate::Policy::rule).
    Host(Arc<Operation>),
    /// The path is under this interactive prefix.
    Prefix(PathPrefix),
    /// The policy is in doubt, so the request requires all three permissions.
    Doubt(Doubt),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public route"),
            Self::Method => f.write_str("method"),
            Self::Operation(operation) => write!(f, "operation {operation}"),
            Self::Host(operation) => write!(f, "rule {operation}"),
            Self::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Self::Doubt(doubt) => doubt.fmt(f),
        }
    }
}

/// Why a policy cannot tell what a request does. Such a request requires all three permissions, and a
/// wider token is rarely what is missing. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The path can be read in more than one way.
    AmbiguousPath(Ambiguity),
    /// The path is outside the mount.
    OutsideMount,
    /// The policy knows no operation with this method and path.
    UnknownOperation,
    /// The policy does not know the method.
    UnknownMethod,
    /// The request names a directory that is under none of the
    /// [allowed ones](crate::Policy::directories).
    OutsideDirectories,
    /// The request names more than one directory.
    SeveralDirectories,
    /// The request names a directory that is not absolute.
    RelativeDirectory,
    /// The request names a directory that can be read in more than one way.
    AmbiguousDirectory,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmbiguousPath(ambiguity) => write!(f, "ambiguous path: {ambiguity}"),
            Self::OutsideMount => f.write_str("outside the mount"),
            Self::UnknownOperation => f.write_str("unknown operation"),
            Self::UnknownMethod => f.write_str("unknown method"),
            Self::OutsideDirectories => f.write_str("directory outside the allowed ones"),
            Self::SeveralDirectories => f.write_str("more than one directory"),
            Self::RelativeDirectory => f.write_str("relative directory"),
            Self::AmbiguousDirectory => f.write_str("ambiguous directory"),
        }
    }
}
