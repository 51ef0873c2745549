//! What one reading of a request's path requires, and how readings add up.

use super::path::PathPrefix;
use super::rule::{Decision, Doubt, Requirement, Rule};
use crate::permission::Permissions;

/// What one reading of a request's path requires, and why.
pub(super) struct Reading<'a> {
    required: Permissions,
    rule: Rule,
    /// The prefix that adds execute.
    pub(super) interactive: Option<&'a PathPrefix>,
}

impl<'a> Reading<'a> {
    pub(super) const fn new(required: Permissions, rule: Rule) -> Self {
        Self { required, rule, interactive: None }
    }

    pub(super) const fn doubt(doubt: Doubt) -> Self {
        Self::new(Permissions::ALL, Rule::Doubt(doubt))
    }

    /// The same reading, under this prefix unless it is under one already.
    pub(super) fn under(self, prefix: Option<&'a PathPrefix>) -> Self {
        Self { interactive: self.interactive.or(prefix), ..self }
    }

    pub(super) const fn is_public(&self) -> bool {
        matches!(self.rule, Rule::Public)
    }

    pub(super) const fn is_outside_mount(&self) -> bool {
        matches!(self.rule, Rule::Doubt(Doubt::OutsideMount))
    }

    pub(super) const fn is_unknown(&self) -> bool {
        matches!(self.rule, Rule::Doubt(Doubt::UnknownOperation))
    }

    /// What both readings of one request require.
    pub(super) fn and(self, other: Self) -> Self {
        let required = self.required | other.required;
        let rule =
            if required == self.required && !self.is_public() { self.rule } else { other.rule };
        Self { required, rule, ..self }.under(other.interactive)
    }
}

impl From<Reading<'_>> for Decision {
    #[inline]
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
