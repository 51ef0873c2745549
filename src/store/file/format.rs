//! The JSON of a store's file, version 1.
//!
//! Nothing is guessed: a file that this version could not have written is an error as a whole. The error has
//! the place and words of our own, because those of `serde_json` repeat what they found, which may be a
//! secret. Unknown fields keep their values byte for byte.

mod problem;
mod reader;

use std::cell::Cell;
use std::io::{self, Write as _};

use serde_json::value::RawValue;

use crate::store::document::{Document, Entry};
use crate::timestamp;
use crate::{hex, redact};

pub use self::problem::FormatProblem;
use self::reader::DIGEST_PREFIX;

/// A problem and its place, both counted from 1.
#[derive(Debug)]
pub(crate) struct FormatError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) problem: FormatProblem,
}

/// Parses the bytes of a store's file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, FormatError> {
    let at_start = |problem| FormatError { line: 1, column: 1, problem };
    if bytes.trim_ascii().is_empty() {
        return Err(at_start(FormatProblem::Empty));
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err(at_start(FormatProblem::ByteOrderMark));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(&bytes[..error.valid_up_to()]);
        FormatError { line, column, problem: FormatProblem::NotUtf8 }
    })?;
    let problem = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    reader::document(&mut deserializer, &problem)
        .and_then(|document| deserializer.end().map(|()| document))
        .map_err(|error| {
            let (line, column) = (error.line().max(1), error.column().max(1));
            let problem = if error.is_data() { problem.take() } else { None };
            let problem = problem.unwrap_or_else(|| match invisible_at(text, line, column) {
                Some(character) => FormatProblem::Invisible(character),
                None => FormatProblem::NotJson,
            });
            FormatError { line, column, problem }
        })
}

/// The bytes of a store's file, with one token to a line.
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

/// The character at this place, if it is one that nobody sees and JSON does not allow.
fn invisible_at(text: &str, line: usize, column: usize) -> Option<char> {
    let line = text.split('\n').nth(line - 1)?;
    let (_, character) = line.char_indices().take_while(|(start, _)| *start < column).last()?;
    let is_invisible = character.is_whitespace() || redact::is_unprintable(character);
    (is_invisible && !character.is_ascii()).then_some(character)
}

fn place(before: &[u8]) -> (usize, usize) {
    let lines = before.split(|byte| *byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len) + 1;
    (lines.count(), column)
}

#[cfg(test)]
mod tests;
