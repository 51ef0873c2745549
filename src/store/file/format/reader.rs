//! From JSON to a document: one visitor for each kind of value.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::hex;
use crate::permission::{Permission, Permissions};
use crate::record::{NewTokenError, TokenRecord};
use crate::store::document::{Document, Entry, UnknownFields};
use crate::store::file::format::problem::FormatProblem;
use crate::timestamp;
use crate::token::{TokenDigest, TokenId};

pub(super) const DIGEST_PREFIX: &str = "sha256:";

/// Parses a store. On failure `problem` says why, and the error says where.
pub(super) fn document<'de, D: Deserializer<'de>>(
    deserializer: D,
    problem: &Cell<Option<FormatProblem>>,
) -> Result<Document, D::Error> {
    let problems = Problems(problem);
    let visitor = DocumentVisitor(problems);
    Expected { visitor, what: "a JSON object", problems }.deserialize(deserializer)
}

/// Keeps the first problem. The error of `serde_json` has its line and column.
#[derive(Clone, Copy)]
struct Problems<'p>(&'p Cell<Option<FormatProblem>>);

impl<'p> Problems<'p> {
    fn report<E: de::Error>(self, problem: FormatProblem) -> E {
        self.0.set(Some(problem));
        E::custom("reported")
    }

    fn text(self, what: &'static str) -> Expected<'p, TextVisitor> {
        Expected { visitor: TextVisitor, what, problems: self }
    }
}

/// Reads a value of the visitor's type. A value of another type is reported in our own words.
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

/// The unknown fields of one object, in their order.
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
            return Err(problems.report(FormatProblem::RepeatedField));
        }
        self.fields.push((name, map.next_value::<&RawValue>()?.to_owned()));
        Ok(())
    }
}

/// Sets a field. Reports one that is set already.
fn fill<T, E: de::Error>(problems: Problems<'_>, place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(problems.report(FormatProblem::RepeatedField)),
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
                    // Compared as text: 1.0 and "1" are other versions.
                    let written = map.next_value::<&RawValue>()?.get();
                    if written != "1" {
                        return Err(problems.report(FormatProblem::Version));
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
        let missing = |field| problems.report(FormatProblem::Missing(field));
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

/// The ids, names and digests so far. No two tokens may share one.
#[derive(Default)]
struct Taken<'de> {
    ids: HashSet<TokenId>,
    names: HashSet<Cow<'de, str>>,
    digests: HashSet<TokenDigest>,
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
        let (mut created_at, mut expires_at, mut fixed_expiry) = (None, None, None);
        let mut unknown = UnknownReader::default();
        while let Some(field) = map.next_key_seed(problems.text("a field name"))? {
            match &*field {
                "id" => {
                    let text = map.next_value_seed(problems.text("a string as `id`"))?;
                    let value =
                        text.parse::<TokenId>().map_err(|_| problems.report(FormatProblem::Id))?;
                    fill(problems, &mut id, value)?;
                }
                "name" => {
                    let text = map.next_value_seed(problems.text("a string as `name`"))?;
                    fill(problems, &mut name, text)?;
                }
                "digest" => {
                    let text = map.next_value_seed(problems.text("a string as `digest`"))?;
                    let value = parse_digest(&text)
                        .ok_or_else(|| problems.report(FormatProblem::Digest))?;
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
                        .ok_or_else(|| problems.report(FormatProblem::Time))?;
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
                                .ok_or_else(|| problems.report(FormatProblem::Time))
                        })
                        .transpose()?;
                    fill(problems, &mut expires_at, value)?;
                }
                "fixed_expiry" => {
                    let value = match map.next_value::<&RawValue>()?.get() {
                        "true" => true,
                        "false" => false,
                        _ => {
                            let what = "true or false as `fixed_expiry`";
                            return Err(problems.report(FormatProblem::WrongType(what)));
                        }
                    };
                    fill(problems, &mut fixed_expiry, value)?;
                }
                _ => unknown.read(problems, field, &mut map)?,
            }
        }
        let missing = |field| problems.report(FormatProblem::Missing(field));
        let record = TokenRecord::new(
            id.ok_or_else(|| missing("id"))?,
            name.as_deref(),
            digest.ok_or_else(|| missing("digest"))?,
            permissions.ok_or_else(|| missing("permissions"))?,
            created_at.ok_or_else(|| missing("created_at"))?,
            expires_at.ok_or_else(|| missing("expires_at"))?,
        );
        let mut record = record.map_err(|error| problems.report(problem_of(&error)))?;
        if fixed_expiry == Some(true) {
            record = record.with_fixed_expiry();
        }
        let duplicate = if !taken.ids.insert(record.id()) {
            "id"
        } else if !taken.digests.insert(*record.digest()) {
            "digest"
        } else if name.is_some_and(|name| !taken.names.insert(name)) {
            "name"
        } else {
            return Ok(Entry { record, unknown: unknown.fields });
        };
        Err(problems.report(FormatProblem::Duplicate(duplicate)))
    }
}

/// Says in the file's words why a record is invalid.
fn problem_of(error: &NewTokenError) -> FormatProblem {
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
                word.parse().map_err(|_| problems.report(FormatProblem::Permission))?;
            if set.contains(permission.into()) {
                return Err(problems.report(FormatProblem::RepeatedPermission));
            }
            set |= permission.into();
        }
        Ok(set)
    }
}

fn parse_digest(text: &str) -> Option<TokenDigest> {
    hex::decode(text.strip_prefix(DIGEST_PREFIX)?).map(TokenDigest::from_bytes)
}
