//! The JSON of a store's file, version 1.
//!
//! Nothing is guessed: a file that this version did not or could not write is refused as a whole, with
//! the place and our own words. (Those of `serde_json` repeat what they found, which may be a secret.)
//! The values of fields that are not known stay as they are, byte for byte.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::io::{self, Write as _};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::permission::{Permission, Permissions};
use crate::record::{NameError, TokenRecord};
use crate::store::document::{DigestHasher, Document, Entry, UnknownFields};
use crate::timestamp;
use crate::token::{TokenDigest, TokenId};

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
    Expected {
        visitor: DocumentVisitor(Problems(&problem)),
        what: "a JSON object",
        problems: Problems(&problem),
    }
    .deserialize(&mut deserializer)
    .and_then(|document| deserializer.end().map(|()| document))
    .map_err(|error| FormatError {
        line: error.line().max(1),
        column: error.column().max(1),
        problem: if error.is_data() { problem.take() } else { None }
            .unwrap_or(FormatProblem::NotJson),
    })
}

/// Writes a store's file, one token to a line.
pub(crate) fn write(document: &Document) -> io::Result<Vec<u8>> {
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
    if let Some(name) = record.name() {
        out.extend_from_slice(br#", "name": "#);
        serde_json::to_writer(&mut *out, name)?;
    }
    write!(out, r#", "digest": "{DIGEST_PREFIX}"#)?;
    let hex_digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    for byte in record.digest().as_bytes() {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
    }
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

/// Where the first problem is kept, beside the error of `serde_json` that has its place.
#[derive(Clone, Copy)]
struct Problems<'p>(&'p Cell<Option<FormatProblem>>);

impl<'p> Problems<'p> {
    fn refuse<E: de::Error>(self, problem: FormatProblem) -> E {
        self.0.set(Some(problem));
        E::custom("refused")
    }

    fn text(self, what: &'static str) -> Expected<'p, TextVisitor> {
        Expected { visitor: TextVisitor, what, problems: self }
    }
}

/// Reads a value of the visitor's type. If it is of another, that is the problem, in our words.
struct Expected<'p, V> {
    visitor: V,
    what: &'static str,
    problems: Problems<'p>,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Expected<'_, V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.problems.0.set(Some(FormatProblem::WrongType(self.what)));
        deserializer.deserialize_any(self.visitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A string or `null`.
struct NullableTextVisitor;

impl<'de> Visitor<'de> for NullableTextVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        TextVisitor.visit_borrowed_str(text).map(Some)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        TextVisitor.visit_str(text).map(Some)
    }
}

/// The fields of one object that are not known, in their order.
#[derive(Default)]
struct UnknownReader<'de> {
    fields: UnknownFields,
    seen: HashSet<Cow<'de, str>>,
}

impl<'de> UnknownReader<'de> {
    fn read<A: MapAccess<'de>>(
        &mut self,
        problems: Problems<'_>,
        field: Cow<'de, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let name = (*field).into();
        if !self.seen.insert(field) {
            return Err(problems.refuse(FormatProblem::RepeatedField));
        }
        self.fields.push((name, map.next_value::<&RawValue>()?.to_owned()));
        Ok(())
    }
}

/// Puts a value into its place, once.
fn fill<T, E: de::Error>(problems: Problems<'_>, place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(problems.refuse(FormatProblem::RepeatedField)),
    }
}

struct DocumentVisitor<'p>(Problems<'p>);

impl<'de> Visitor<'de> for DocumentVisitor<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let problems = self.0;
        let mut version = None;
        let mut entries = None;
        let mut unknown = UnknownReader::default();
        while let Some(field) = map.next_key_seed(problems.text("a field name"))? {
            match &*field {
                "version" => {
                    // As it is written: 1.0 and "1" are other versions.
                    let written = map.next_value::<&RawValue>()?.get();
                    if written != "1" {
                        return Err(problems.refuse(FormatProblem::Version));
                    }
                    fill(problems, &mut version, ())?;
                }
                "tokens" => {
                    let visitor = TokensVisitor(problems);
                    let list = map.next_value_seed(Expected {
                        visitor,
                        what: "a list of tokens",
                        problems,
                    })?;
                    fill(problems, &mut entries, list)?;
                }
                _ => unknown.read(problems, field, &mut map)?,
            }
        }
        let missing = |field| problems.refuse(FormatProblem::Missing(field));
        version.ok_or_else(|| missing("version"))?;
        Ok(Document { entries: entries.ok_or_else(|| missing("tokens"))?, unknown: unknown.fields })
    }
}

struct TokensVisitor<'p>(Problems<'p>);

impl<'de> Visitor<'de> for TokensVisitor<'_> {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Entry>, A::Error> {
        let problems = self.0;
        let mut entries = Vec::new();
        let mut taken = Taken::default();
        loop {
            let visitor = TokenVisitor { problems, taken: &mut taken };
            let what = "an object for each token";
            match list.next_element_seed(Expected { visitor, what, problems })? {
                Some(entry) => entries.push(entry),
                None => return Ok(entries),
            }
        }
    }
}

/// What no other token may have.
#[derive(Default)]
struct Taken<'de> {
    ids: HashSet<TokenId>,
    names: HashSet<Cow<'de, str>>,
    digests: HashSet<TokenDigest, BuildHasherDefault<DigestHasher>>,
}

struct TokenVisitor<'p, 't, 'de> {
    problems: Problems<'p>,
    taken: &'t mut Taken<'de>,
}

impl<'de> Visitor<'de> for TokenVisitor<'_, '_, 'de> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { problems, taken } = self;
        let (mut id, mut name, mut digest, mut permissions) = (None, None, None, None);
        let (mut created_at, mut expires_at) = (None, None);
        let mut unknown = UnknownReader::default();
        while let Some(field) = map.next_key_seed(problems.text("a field name"))? {
            match &*field {
                "id" => {
                    let text = map.next_value_seed(problems.text("a string as `id`"))?;
                    let value =
                        text.parse::<TokenId>().map_err(|_| problems.refuse(FormatProblem::Id))?;
                    fill(problems, &mut id, value)?;
                }
                "name" => {
                    let text = map.next_value_seed(problems.text("a string as `name`"))?;
                    fill(problems, &mut name, text)?;
                }
                "digest" => {
                    let text = map.next_value_seed(problems.text("a string as `digest`"))?;
                    let value = parse_digest(&text)
                        .ok_or_else(|| problems.refuse(FormatProblem::Digest))?;
                    fill(problems, &mut digest, value)?;
                }
                "permissions" => {
                    let visitor = PermissionsVisitor(problems);
                    let what = "a list of strings as `permissions`";
                    fill(
                        problems,
                        &mut permissions,
                        map.next_value_seed(Expected { visitor, what, problems })?,
                    )?;
                }
                "created_at" => {
                    let text = map.next_value_seed(problems.text("a string as `created_at`"))?;
                    let value = timestamp::parse(&text)
                        .ok_or_else(|| problems.refuse(FormatProblem::Time))?;
                    fill(problems, &mut created_at, value)?;
                }
                "expires_at" => {
                    let what = "a string or null as `expires_at`";
                    let text = map.next_value_seed(Expected {
                        visitor: NullableTextVisitor,
                        what,
                        problems,
                    })?;
                    let value = text
                        .map(|text| {
                            timestamp::parse(&text)
                                .ok_or_else(|| problems.refuse(FormatProblem::Time))
                        })
                        .transpose()?;
                    fill(problems, &mut expires_at, value)?;
                }
                _ => unknown.read(problems, field, &mut map)?,
            }
        }
        let missing = |field| problems.refuse(FormatProblem::Missing(field));
        let record = TokenRecord::new(
            id.ok_or_else(|| missing("id"))?,
            name.as_deref(),
            digest.ok_or_else(|| missing("digest"))?,
            permissions.ok_or_else(|| missing("permissions"))?,
            created_at.ok_or_else(|| missing("created_at"))?,
            expires_at.ok_or_else(|| missing("expires_at"))?,
        );
        let record = record.map_err(|error| problems.refuse(problem_of(&error)))?;
        let duplicate = if !taken.ids.insert(record.id()) {
            "id"
        } else if !taken.digests.insert(*record.digest()) {
            "digest"
        } else if name.is_some_and(|name| !taken.names.insert(name)) {
            "name"
        } else {
            return Ok(Entry { record, unknown: unknown.fields });
        };
        Err(problems.refuse(FormatProblem::Duplicate(duplicate)))
    }
}

/// Why a record cannot be, in the file's words.
fn problem_of(error: &crate::record::NewTokenError) -> FormatProblem {
    use crate::record::NewTokenError;
    match error {
        NewTokenError::Name(error) => FormatProblem::Name(*error),
        NewTokenError::NoPermissions => FormatProblem::NoPermissions,
        NewTokenError::ExpiryInThePast
        | NewTokenError::TimeOutOfRange
        | NewTokenError::Random(_) => FormatProblem::Time,
    }
}

struct PermissionsVisitor<'p>(Problems<'p>);

impl<'de> Visitor<'de> for PermissionsVisitor<'_> {
    type Value = Permissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of permissions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Permissions, A::Error> {
        let problems = self.0;
        let mut set = Permissions::NONE;
        while let Some(word) = list.next_element_seed(problems.text("a string as a permission"))? {
            let permission: Permission =
                word.parse().map_err(|_| problems.refuse(FormatProblem::Permission))?;
            if set.contains(permission.into()) {
                return Err(problems.refuse(FormatProblem::RepeatedPermission));
            }
            set |= permission.into();
        }
        Ok(set)
    }
}

fn parse_digest(text: &str) -> Option<TokenDigest> {
    let digits: &[u8; 64] = text.strip_prefix(DIGEST_PREFIX)?.as_bytes().try_into().ok()?;
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(TokenDigest::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
