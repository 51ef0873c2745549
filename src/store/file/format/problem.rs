//! What can be wrong with the content of a store's file.

use crate::record::NameError;

/// What is wrong with the content of a store's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatProblem {
    /// The file is not UTF-8.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// The file is not one JSON value.
    #[error("the file is not one complete JSON object")]
    NotJson,
    /// The file has no content.
    #[error("the file is empty")]
    Empty,
    /// The file begins with a byte order mark, which some editors add.
    #[error(
        "the file begins with a byte order mark, which cannot be seen; save it as UTF-8 without one"
    )]
    ByteOrderMark,
    /// A character outside of strings looks like a space or like nothing, and is not allowed in JSON.
    #[error("there is a character that cannot be seen, U+{:04X}; replace it by a space", u32::from(*.0))]
    Invisible(char),
    /// A value has another JSON type.
    #[error("{0} expected")]
    WrongType(&'static str),
    /// `version` is not the number 1.
    #[error("this is not version 1 of the format; it takes another version of this program")]
    Version,
    /// A field is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// An object has a field twice.
    #[error("a field appears twice")]
    RepeatedField,
    /// Two tokens have the same id, name or digest.
    #[error("two tokens have the same {0}")]
    Duplicate(&'static str),
    /// An id is not 12 lower-case hexadecimal characters.
    #[error("an id has 12 lower-case hexadecimal characters")]
    Id,
    /// A name cannot be a name.
    #[error("{0}")]
    Name(NameError),
    /// A digest is not `sha256:` with 64 lower-case hexadecimal characters.
    #[error("a digest is `sha256:` and 64 lower-case hexadecimal characters")]
    Digest,
    /// A permission is not known.
    #[error("a permission is read, write or execute")]
    Permission,
    /// A permission is repeated.
    #[error("a permission appears twice")]
    RepeatedPermission,
    /// A token has no permission.
    #[error("a token has at least one permission")]
    NoPermissions,
    /// A time is not of the exact form, or does not exist.
    #[error("a time is an existing one of the exact form 2026-11-23T08:00:00Z")]
    Time,
}
