//! The JSON of a store's file, version 1.
//!
//! Nothing is guessed: a file that this version did not or could not write is refused as a whole, with
//! the place and our own words. (Those of `serde_json` repeat what they found, which may be a secret.)
//! The values of fields that are not known stay as they are, byte for byte.

mod reader;

use std::cell::Cell;
use std::io::{self, Write as _};

use serde_json::value::RawValue;

use crate::hex;
use crate::record::NameError;
use crate::store::document::{Document, Entry};
use crate::timestamp;

const DIGEST_PREFIX: &str = "sha256:";

/// What is wrong with a store's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatProblem {
    /// The file is not UTF-8.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// The file is not one JSON value.
    #[error("the file is not one complete JSON object")]
    NotJson,
    /// A value is of another JSON type.
    #[error("{0} expected")]
    WrongType(&'static str),
    /// `version` is not the number 1.
    #[error("this is not version 1 of the format; it takes another version of this program")]
    Version,
    /// A field is not there.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field stands twice in one object.
    #[error("a field stands twice")]
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
    /// A permission stands twice.
    #[error("a permission stands twice")]
    RepeatedPermission,
    /// A token has no permission.
    #[error("a token has at least one permission")]
    NoPermissions,
    /// A time is not of the exact form, or does not exist.
    #[error("a time is an existing one of the exact form 2026-11-23T08:00:00Z")]
    Time,
}

/// A problem and its place, both counted from 1.
#[derive(Debug)]
pub(crate) struct FormatError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) problem: FormatProblem,
}

/// Reads a store's file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, FormatError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(&bytes[..error.valid_up_to()]);
        FormatError { line, column, problem: FormatProblem::NotUtf8 }
    })?;
    let problem = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    reader::document(&mut deserializer, &problem)
        .and_then(|document| deserializer.end().map(|()| document))
        .map_err(|error| FormatError {
            line: error.line().max(1),
            column: error.column().max(1),
            problem: if error.is_data() { problem.take() } else { None }
                .unwrap_or(FormatProblem::NotJson),
        })
}

/// Writes a store's file, one token to a line.
pub(crate) fn serialize(document: &Document) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256 * (document.entries.len() + 1));
    out.extend_from_slice(b"{\n  \"version\": 1,\n  \"tokens\": [");
    for (position, entry) in document.entries.iter().enumerate() {
        out.extend_from_slice(if position == 0 { b"\n    {" } else { b",\n    {" });
        write_token(&mut out, entry)?;
        out.push(b'}');
    }
    out.extend_from_slice(if document.entries.is_empty() { b"]" } else { b"\n  ]" });
    for (field, value) in &document.unknown {
        out.extend_from_slice(b",\n  ");
        write_unknown(&mut out, field, value)?;
    }
    out.extend_from_slice(b"\n}\n");
    Ok(out)
}

fn write_token(out: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    let record = &entry.record;
    write!(out, r#""id": "{}""#, record.id())?;
    if let Some(name) = record.stored_name() {
        out.extend_from_slice(br#", "name": "#);
        serde_json::to_writer(&mut *out, name)?;
    }
    write!(out, r#", "digest": "{DIGEST_PREFIX}"#)?;
    out.extend_from_slice(hex::encode(record.digest().as_bytes()).as_bytes());
    let permissions = record.permissions().join(r#"", ""#);
    let created_at = timestamp::format(record.created_at());
    write!(
        out,
        r#"", "permissions": ["{permissions}"], "created_at": "{created_at}", "expires_at": "#
    )?;
    match record.expires_at() {
        Some(time) => write!(out, r#""{}""#, timestamp::format(time))?,
        None => out.extend_from_slice(b"null"),
    }
    if record.has_fixed_expiry() {
        out.extend_from_slice(br#", "fixed_expiry": true"#);
    }
    for (field, value) in &entry.unknown {
        out.extend_from_slice(b", ");
        write_unknown(out, field, value)?;
    }
    Ok(())
}

fn write_unknown(out: &mut Vec<u8>, field: &str, value: &RawValue) -> io::Result<()> {
    serde_json::to_writer(&mut *out, field)?;
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.get().as_bytes());
    Ok(())
}

fn place(before: &[u8]) -> (usize, usize) {
    let lines = before.split(|byte| *byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len) + 1;
    (lines.count(), column)
}

#[cfg(test)]
mod tests;
