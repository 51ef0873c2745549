//! One operation of a server's API.

use std::fmt;

use axum::http::Method;

use crate::permission::Permissions;

pub(super) const READ: Permissions = Permissions::READ;
pub(super) const WRITE: Permissions = Permissions::WRITE;
pub(super) const READ_EXECUTE: Permissions = READ.union(Permissions::EXECUTE);
pub(super) const WRITE_EXECUTE: Permissions = WRITE.union(Permissions::EXECUTE);

/// One operation of a server's API and the permissions that it requires. `Display` shows its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    method: Method,
    path: &'static str,
    name: &'static str,
    required: Permissions,
}

impl Operation {
    const fn new(
        method: Method,
        required: Permissions,
        path: &'static str,
        name: &'static str,
    ) -> Self {
        Self { method, path, name, required }
    }

    /// The method. An operation for `GET` also serves `HEAD`.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path in the notation of axum 0.8: `{id}` is one segment, `{*rest}` is one or more.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// The operation's id in the API's OpenAPI document, such as `session.prompt`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The permissions that the operation requires.
    #[must_use]
    pub const fn required(&self) -> Permissions {
        self.required
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

pub(super) const fn get(
    required: Permissions,
    path: &'static str,
    name: &'static str,
) -> Operation {
    Operation::new(Method::GET, required, path, name)
}

pub(super) const fn post(
    required: Permissions,
    path: &'static str,
    name: &'static str,
) -> Operation {
    Operation::new(Method::POST, required, path, name)
}

pub(super) const fn put(
    required: Permissions,
    path: &'static str,
    name: &'static str,
) -> Operation {
    Operation::new(Method::PUT, required, path, name)
}

pub(super) const fn patch(
    required: Permissions,
    path: &'static str,
    name: &'static str,
) -> Operation {
    Operation::new(Method::PATCH, required, path, name)
}

pub(super) const fn delete(
    required: Permissions,
    path: &'static str,
    name: &'static str,
) -> Operation {
    Operation::new(Method::DELETE, required, path, name)
}
