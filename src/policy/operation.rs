//! One operation of a server's API.

use std::fmt;

use axum::http::Method;

use super::pattern::{self, PatternError, Segment};
use crate::permission::Permissions;

pub(super) const READ: Permissions = Permissions::READ;
pub(super) const WRITE: Permissions = Permissions::WRITE;
pub(super) const READ_EXECUTE: Permissions = READ.union(Permissions::EXECUTE);
pub(super) const WRITE_EXECUTE: Permissions = WRITE.union(Permissions::EXECUTE);
pub(super) const ALL: Permissions = Permissions::ALL;

/// One operation of a server's API and the permissions that it requires. `Display` shows its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    method: Method,
    pattern: Box<str>,
    segments: Vec<Segment>,
    name: Box<str>,
    required: Permissions,
    audited_for: Vec<&'static str>,
}

impl Operation {
    /// The operation of a row, in the table of this opencode version.
    pub(super) fn audited(row: &Row, version: &'static str) -> Result<Self, PatternError> {
        Ok(Self {
            method: row.method.clone(),
            pattern: row.pattern.into(),
            segments: pattern::parse(row.pattern)?,
            name: row.name.into(),
            required: row.required,
            audited_for: vec![version],
        })
    }

    /// A route of the host's own. Its name is its method and pattern.
    pub(super) fn stated(
        method: Method,
        pattern: &str,
        required: Permissions,
    ) -> Result<Self, PatternError> {
        Ok(Self {
            segments: pattern::parse(pattern)?,
            pattern: pattern.into(),
            name: format!("{method} {pattern}").into(),
            method,
            required,
            audited_for: Vec::new(),
        })
    }

    /// The same operation in the table of another version. Where the tables disagree, both count.
    pub(super) fn merge(&mut self, row: &Row, version: &'static str) {
        self.required |= row.required;
        self.audited_for.push(version);
    }

    /// The method. An operation for `GET` also serves `HEAD`.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path in the notation of axum 0.8: `{id}` is one segment, `{*rest}` is one or more.
    #[must_use]
    pub const fn path(&self) -> &str {
        &self.pattern
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The operation's id in the API's OpenAPI document, such as `session.prompt`. For a
    /// [rule of the host](crate::Policy::rule), its method and pattern.
    #[must_use]
    pub const fn name(&self) -> &str {
        &self.name
    }

    /// The permissions that the operation requires.
    #[must_use]
    pub const fn required(&self) -> Permissions {
        self.required
    }

    /// The versions of opencode for which this requirement was audited, such as `1.18`. Empty for a
    /// rule of the host.
    #[must_use]
    pub fn audited_for(&self) -> &[&'static str] {
        &self.audited_for
    }

    /// Whether opencode calls the operation experimental: a later version may change what it does.
    #[must_use]
    pub fn is_experimental(&self) -> bool {
        !self.audited_for.is_empty()
            && self.pattern.split('/').any(|segment| segment == "experimental")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// A row of a table: an [`Operation`] as the source code states it.
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) required: Permissions,
    pub(super) pattern: &'static str,
    pub(super) name: &'static str,
}

pub(super) const fn get(required: Permissions, pattern: &'static str, name: &'static str) -> Row {
    Row { method: Method::GET, required, pattern, name }
}

pub(super) const fn post(required: Permissions, pattern: &'static str, name: &'static str) -> Row {
    Row { method: Method::POST, required, pattern, name }
}

pub(super) const fn put(required: Permissions, pattern: &'static str, name: &'static str) -> Row {
    Row { method: Method::PUT, required, pattern, name }
}

pub(super) const fn patch(required: Permissions, pattern: &'static str, name: &'static str) -> Row {
    Row { method: Method::PATCH, required, pattern, name }
}

pub(super) const fn delete(
    required: Permissions,
    pattern: &'static str,
    name: &'static str,
) -> Row {
    Row { method: Method::DELETE, required, pattern, name }
}
