//! A store's content, and the changes that can be made to it. No disk, no clock.

use std::collections::HashSet;

use serde_json::value::RawValue;
use time::UtcDateTime;

use crate::record::{self, Expiry, NewToken, NewTokenError, SHORTEST_ID_PREFIX, TokenRecord};
use crate::redact;
use crate::store::change::ChangeError;
use crate::store::records::Records;
use crate::token::Token;

/// Fields that this version does not know. They are kept byte for byte for a version that does.
pub(crate) type UnknownFields = Vec<(Box<str>, Box<RawValue>)>;

/// The content of a store.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) entries: Vec<Entry>,
    pub(crate) unknown: UnknownFields,
}

/// One token of a store.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: TokenRecord,
    pub(crate) unknown: UnknownFields,
}

#[cfg(feature = "postgres")]
impl FromIterator<TokenRecord> for Document {
    fn from_iter<I: IntoIterator<Item = TokenRecord>>(records: I) -> Self {
        let entry = |record| Entry { record, unknown: UnknownFields::new() };
        Self { entries: records.into_iter().map(entry).collect(), unknown: UnknownFields::new() }
    }
}

impl Document {
    pub(crate) fn create(
        &mut self,
        new: &NewToken,
        now: UtcDateTime,
    ) -> Result<(Token, TokenRecord), ChangeError> {
        let (token, record) = loop {
            let (token, record) = new.issue(now)?;
            if let Some(name) = record.name().and_then(|name| self.named(name).next()?.name()) {
                return Err(ChangeError::NameTaken { name: name.to_owned() });
            }
            // An id has 48 bits, so two tokens can get the same one.
            if self.entries.iter().all(|entry| entry.record.id() != record.id()) {
                break (token, record);
            }
        };
        self.entries.push(Entry { record: record.clone(), unknown: UnknownFields::new() });
        Ok((token, record))
    }

    /// Gives a token a new secret. Returns the secret, the new record and the old one.
    pub(crate) fn rotate(
        &mut self,
        id_or_name: &str,
        expiry: Option<Expiry>,
        now: UtcDateTime,
    ) -> Result<(Token, TokenRecord, TokenRecord), ChangeError> {
        let position = self.position(id_or_name)?;
        let entry = &mut self.entries[position];
        if let Some(expired_at) = entry.record.expires_at()
            && expiry.is_none()
            && entry.record.is_expired(now)
        {
            return Err(ChangeError::Expired { id: entry.record.id(), expired_at });
        }
        let token = Token::generate().map_err(NewTokenError::from)?;
        let renewed = entry.record.renewed(token.digest(), expiry, now)?;
        let replaced = std::mem::replace(&mut entry.record, renewed.clone());
        Ok((token, renewed, replaced))
    }

    /// Restores the old record of a rotated token, unless the token has changed since.
    pub(crate) fn undo_rotation(
        &mut self,
        rotated: &TokenRecord,
        replaced: &TokenRecord,
    ) -> Result<(), ChangeError> {
        let entry = self.entries.iter_mut().find(|entry| entry.record == *rotated);
        let entry =
            entry.ok_or_else(|| ChangeError::NotFound { id_or_name: rotated.id().to_string() })?;
        entry.record = replaced.clone();
        Ok(())
    }

    /// Removes the tokens with these ids or names, or none of them if one cannot be found.
    pub(crate) fn delete<S: AsRef<str>>(
        &mut self,
        ids_or_names: &[S],
    ) -> Result<Vec<TokenRecord>, ChangeError> {
        let positions: HashSet<usize> = ids_or_names
            .iter()
            .map(|id_or_name| self.position(id_or_name.as_ref()))
            .collect::<Result<_, _>>()?;
        let mut position = 0;
        Ok(self.remove(|_| {
            position += 1;
            positions.contains(&(position - 1))
        }))
    }

    pub(crate) fn delete_expired(&mut self, now: UtcDateTime) -> Vec<TokenRecord> {
        self.remove(|record| record.is_expired(now))
    }

    /// Adds a record. One with the same digest is replaced.
    pub(crate) fn insert(&mut self, record: TokenRecord) {
        self.entries.retain(|entry| entry.record.digest() != record.digest());
        self.entries.push(Entry { record, unknown: UnknownFields::new() });
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &TokenRecord> {
        self.entries.iter().map(|entry| &entry.record)
    }

    pub(crate) fn into_records(self) -> Records {
        self.entries.into_iter().map(|entry| entry.record).collect()
    }

    fn remove(&mut self, mut unwanted: impl FnMut(&TokenRecord) -> bool) -> Vec<TokenRecord> {
        self.entries
            .extract_if(.., |entry| unwanted(&entry.record))
            .map(|entry| entry.record)
            .collect()
    }

    /// The position of the token with this id, or else of the only token with this name or with an id that
    /// begins so.
    fn position(&self, id_or_name: &str) -> Result<usize, ChangeError> {
        let mut records = self.records();
        if let Some(position) = records.position(|record| record.id().as_str() == id_or_name) {
            return Ok(position);
        }
        let begins = |record: &TokenRecord| {
            id_or_name.len() >= SHORTEST_ID_PREFIX && record.id().as_str().starts_with(id_or_name)
        };
        let name = record::fold(id_or_name);
        let matching = |record: &TokenRecord| begins(record) || has_name(record, &name);
        let mut positions = self.records().enumerate().filter(|(_, record)| matching(record));
        match (positions.next(), positions.next()) {
            (Some((position, _)), None) => Ok(position),
            (Some(_), Some(_)) => Err(ChangeError::Ambiguous {
                id_or_name: redact::redact(id_or_name).to_owned(),
                candidates: self.records().filter(|record| matching(record)).cloned().collect(),
            }),
            (None, _) if redact::may_hold_token(id_or_name) => Err(ChangeError::IdOrNameIsToken),
            (None, _) => Err(ChangeError::NotFound { id_or_name: id_or_name.to_owned() }),
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &TokenRecord> {
        let name = record::fold(name).into_owned();
        self.records().filter(move |record| has_name(record, &name))
    }
}

/// Whether the record has a name that folds to `folded`.
fn has_name(record: &TokenRecord, folded: &str) -> bool {
    record.stored_name().is_some_and(|name| record::fold(name) == folded)
}
