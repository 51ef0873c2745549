use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::str::FromStr;

use serde::ser::{Serialize, Serializer};

use crate::redact;

/// Something that a token can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read something: `GET` and `HEAD` requests.
    Read,
    /// Change something: `POST`, `PUT`, `PATCH` and `DELETE` requests.
    Write,
    /// Run something on the server's machine: shells, processes, agents.
    Execute,
}

impl Permission {
    /// All permissions, in the order of the text form.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Execute];

    /// The permission's name in files, options and responses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Execute => 4,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = ParsePermissionsError;

    /// Parses exactly `read`, `write` or `execute`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| ParsePermissionsError::Unknown(redact::redact(text).to_owned()))
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A set of [`Permission`]s. The empty set grants nothing.
///
/// ```
/// use opencode_auth::Permissions;
///
/// let granted: Permissions = "read,write".parse()?;
/// assert_eq!(granted, Permissions::READ | Permissions::WRITE);
/// assert!(!granted.contains(Permissions::EXECUTE));
/// assert_eq!(granted.to_string(), "read,write");
/// # Ok::<_, opencode_auth::ParsePermissionsError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// No permission. A token with this set would allow nothing.
    pub const NONE: Self = Self(0);
    /// [`Permission::Read`] alone.
    pub const READ: Self = Self(Permission::Read.bit());
    /// [`Permission::Write`] alone.
    pub const WRITE: Self = Self(Permission::Write.bit());
    /// [`Permission::Execute`] alone.
    pub const EXECUTE: Self = Self(Permission::Execute.bit());
    /// All three permissions.
    pub const ALL: Self = Self(Self::READ.0 | Self::WRITE.0 | Self::EXECUTE.0);

    /// Whether every permission of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The permissions that are in this set or in `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The permissions that are in this set but not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The permissions of the set, in the order read, write, execute.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains((*permission).into()))
    }

    /// The names of the permissions, joined with `separator`.
    pub(crate) fn join(self, separator: &str) -> String {
        let words: Vec<_> = self.iter().map(Permission::as_str).collect();
        words.join(separator)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Permissions {
    /// The names of the permissions, separated by commas. [`FromStr`] parses this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.join(","))
    }
}

impl From<Permission> for Permissions {
    fn from(permission: Permission) -> Self {
        Self(permission.bit())
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, |set, permission| set | permission.into())
    }
}

impl BitOr for Permissions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Permissions {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl FromStr for Permissions {
    type Err = ParsePermissionsError;

    /// Parses a list of `read`, `write` and `execute`, separated by commas, each at most once.
    ///
    /// # Errors
    ///
    /// [`ParsePermissionsError`] if the list is empty, or if a word is unknown or given twice.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(ParsePermissionsError::Empty);
        }
        let mut set = Self::NONE;
        for word in text.split(',') {
            let permission = word.trim().parse::<Permission>()?;
            if set.contains(permission.into()) {
                return Err(ParsePermissionsError::Repeated(permission));
            }
            set |= permission.into();
        }
        Ok(set)
    }
}

impl Serialize for Permissions {
    /// A list of names: `["read", "write"]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The text is not a set of permissions.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePermissionsError {
    /// The list is empty.
    #[error(
        "no permission is given: give one or more of read, write, execute, separated by commas"
    )]
    Empty,
    /// A word is not a permission.
    #[error(
        "`{}` is not a permission: give one or more of read, write, execute, separated by commas",
        .0.escape_debug()
    )]
    Unknown(String),
    /// A permission is given twice.
    #[error("the permission `{0}` is given twice")]
    Repeated(Permission),
}

impl fmt::Debug for ParsePermissionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Empty => "Empty",
            Self::Unknown(_) => "Unknown",
            Self::Repeated(_) => "Repeated",
        };
        write!(f, "{self} [{variant}]")
    }
}
