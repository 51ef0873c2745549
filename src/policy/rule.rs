//! Why a policy decided as it did.

use std::fmt;

use super::Requirement;
use super::operation::Operation;
use super::path::{Ambiguity, PathPrefix};
use crate::permission::Permissions;

/// What one path of a request needs, and why.
#[derive(Clone, Copy)]
pub(super) struct Verdict<'a> {
    pub(super) needs: Permissions,
    pub(super) rule: Rule<'a>,
    /// The prefix for which execute is needed as well.
    pub(super) interactive: Option<&'a PathPrefix>,
}

impl<'a> Verdict<'a> {
    pub(super) const fn of(needs: Permissions, rule: Rule<'a>) -> Self {
        Self { needs, rule, interactive: None }
    }

    pub(super) const fn all(rule: Rule<'a>) -> Self {
        Self::of(Permissions::ALL, rule)
    }

    /// What both paths of one request need. Of the two, one that the policy does not know adds nothing
    /// when it knows the other: `nest` takes the mount off, or puts it on. `original_stands_in` says whether
    /// that goes for the original path too.
    pub(super) fn and(self, original: Self, original_stands_in: bool) -> Self {
        // A prefix counts under either path, whatever else is known of it.
        let interactive = self.interactive.or(original.interactive);
        let known = match (self.rule.is_unknown(), original.rule.is_unknown()) {
            (true, false) if original_stands_in => original,
            (false, true) => self,
            _ => {
                let needs = self.needs | original.needs;
                Self::of(needs, if needs == self.needs { self.rule } else { original.rule })
            }
        };
        Self { interactive, ..known }
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

impl Explanation<'_> {
    pub(super) const PUBLIC: Self = Self { requirement: Requirement::Public, rule: Rule::Public };
}

impl<'a> From<Verdict<'a>> for Explanation<'a> {
    fn from(verdict: Verdict<'a>) -> Self {
        let Verdict { needs, rule, interactive } = verdict;
        match interactive {
            Some(prefix) if !needs.contains(Permissions::EXECUTE) => Self {
                requirement: Requirement::Permissions(needs | Permissions::EXECUTE),
                rule: Rule::Prefix(prefix),
            },
            _ => Self { requirement: Requirement::Permissions(needs), rule },
        }
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
    /// The request asks for this operation.
    Operation(&'static Operation),
    /// The path lies under an interactive prefix.
    Prefix(&'a PathPrefix),
    /// The method is none of those that the policy knows.
    OtherMethod,
    /// The path can be read in more than one way.
    Ambiguous(Ambiguity),
    /// The path is outside the mount.
    OutsideMount,
    /// The method and path are no operation that the policy knows.
    UnknownOperation,
}

impl Rule<'_> {
    const fn is_unknown(&self) -> bool {
        match self {
            Self::OutsideMount | Self::UnknownOperation => true,
            Self::Public
            | Self::Method
            | Self::Operation(_)
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
            Self::Operation(operation) => write!(f, "operation {operation}"),
            Self::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Self::OtherMethod => f.write_str("unknown method"),
            Self::Ambiguous(ambiguity) => write!(f, "ambiguous path: {ambiguity}"),
            Self::OutsideMount => f.write_str("outside the mount"),
            Self::UnknownOperation => f.write_str("unknown operation"),
        }
    }
}
