//! One change of a realm: a transaction, and what becomes of it when the connection is lost.

use std::collections::HashMap;
use std::time::Duration;

use time::UtcDateTime;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::types::Type;

use crate::permission::Permission;
use crate::record::{self, TokenRecord};
use crate::redact;
use crate::store::change::ChangeError;
use crate::store::document::Document;
use crate::store::postgres::connect::{Connection, Database, Parameter};
use crate::store::postgres::error::{Failure, PostgresProblem};
use crate::store::postgres::rows::{Realm, STATEMENT_TIMEOUT, select, token_columns};
use crate::token::TokenId;

/// How often a change begins anew because another one came in between.
const ATTEMPTS: usize = 5;

/// How long to wait for the confirmation of a commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to search for the outcome of a commit whose confirmation was lost.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before the next attempt to find it.
const PAUSE: Duration = Duration::from_millis(200);

/// A process that is stopped in a transaction must not lock the realm for ever.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SET LOCAL lock_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// The tokens that a change may touch, or that may conflict with it.
pub(crate) enum Candidates<'a> {
    /// The token with this name.
    Named(Option<&'a str>),
    /// The tokens that these ids or names may mean.
    Meant(Vec<&'a str>),
    /// The tokens that are expired.
    Expired,
}

/// Makes a change, and returns once every server of the realm sees it. `then` is called before that, as
/// soon as the change is made.
pub(crate) async fn change<T, U>(
    database: &Database,
    candidates: Candidates<'_>,
    change: impl Fn(&mut Document, UtcDateTime) -> Result<T, ChangeError>,
    then: impl FnOnce(T) -> U,
) -> Result<U, ChangeError> {
    let problem = |problem| ChangeError::from(database.address.error(problem));
    for attempt in 1.. {
        match attempt_change(database, &candidates, &change).await {
            Ok((value, seen_at)) => {
                let value = then(value);
                sleep_until(seen_at).await;
                return Ok(value);
            }
            Err(Failure::Problem(conflict)) if conflict.is_conflict() && attempt < ATTEMPTS => {}
            Err(Failure::Problem(failure)) => return Err(problem(failure)),
            Err(Failure::Change(error)) => return Err(error),
        }
    }
    Err(problem(PostgresProblem::Changing))
}

/// What the change made, and when every server sees it.
async fn attempt_change<T>(
    database: &Database,
    candidates: &Candidates<'_>,
    change: &impl Fn(&mut Document, UtcDateTime) -> Result<T, ChangeError>,
) -> Result<(T, Instant), Failure> {
    let name = &*database.address.realm;
    let (_, (connection, realm)) = database
        .try_hosts(0, |connection| async move {
            let realm = begin(&connection, name).await?;
            Ok((connection, realm))
        })
        .await?;
    let now = UtcDateTime::now();
    let before = candidates.select(&connection, name, now).await?;
    let mut document: Document = before.iter().cloned().collect();
    let value = change(&mut document, now)?;
    let difference = Difference::between(before, &document);
    if difference.is_empty() {
        // Nothing to commit, and nothing to wait for.
        return Ok((value, Instant::now()));
    }
    difference.write(&connection, name).await?;
    if let Err(lost) = connection.execute(COMMIT_TIMEOUT, "COMMIT").await {
        drop(connection);
        difference.find_outcome(database, lost).await?;
    }
    Ok((value, Instant::now() + realm.lease))
}

/// Begins a transaction that holds the realm's lock.
async fn begin(connection: &Connection, realm: &str) -> Result<Realm, PostgresProblem> {
    connection.execute(STATEMENT_TIMEOUT, BEGIN).await?;
    // Longer than the limit for a lock.
    Realm::lock(connection, STATEMENT_TIMEOUT * 2, realm).await
}

impl Candidates<'_> {
    async fn select(
        &self,
        connection: &Connection,
        realm: &str,
        now: UtcDateTime,
    ) -> Result<Vec<TokenRecord>, PostgresProblem> {
        let realm: Parameter<'_> = (&realm, Type::TEXT);
        match self {
            Self::Named(None) => Ok(Vec::new()),
            Self::Named(Some(name)) => meant(connection, realm, &[name]).await,
            Self::Meant(texts) => meant(connection, realm, texts).await,
            Self::Expired => {
                const EXPIRED: &str = concat!(
                    "SELECT ",
                    token_columns!(),
                    " FROM opencode_auth.tokens t WHERE t.realm = $1 AND t.expires_at \
                     < pg_catalog.to_timestamp($2::double precision) + interval '1 second' \
                     ORDER BY t.created_at, t.id FOR UPDATE"
                );
                let now = now.unix_timestamp();
                select(connection, EXPIRED, &[realm, (&now, Type::INT8)]).await
            }
        }
    }
}

/// Every token that one of these ids or names may mean, and perhaps some more.
async fn meant(
    connection: &Connection,
    realm: Parameter<'_>,
    texts: &[&str],
) -> Result<Vec<TokenRecord>, PostgresProblem> {
    // Only ASCII folds in the same way everywhere, so other names are all candidates.
    const MEANT: &str = concat!(
        "SELECT ",
        token_columns!(),
        " FROM opencode_auth.tokens t WHERE t.realm = $1 AND ( \
         pg_catalog.lower(pg_catalog.btrim(t.name)) = ANY ($2) \
         OR pg_catalog.octet_length(t.name) <> pg_catalog.char_length(t.name) \
         OR EXISTS (SELECT FROM pg_catalog.unnest($3) AS start \
         WHERE pg_catalog.length(start) >= 6 AND pg_catalog.starts_with(t.id, start))) \
         ORDER BY t.created_at, t.id FOR UPDATE"
    );
    // The database may log its queries. A text that may be a token is not sent.
    let texts: Vec<&str> =
        texts.iter().copied().filter(|text| !redact::may_hold_token(text)).collect();
    let names: Vec<_> = texts.iter().map(|text| record::fold(text).into_owned()).collect();
    let names: Parameter<'_> = (&names, Type::TEXT_ARRAY);
    select(connection, MEANT, &[realm, names, (&texts, Type::TEXT_ARRAY)]).await
}

/// What a change does to the rows.
struct Difference {
    deleted: Vec<TokenRecord>,
    /// The old record and the new one.
    updated: Vec<(TokenRecord, TokenRecord)>,
    inserted: Vec<TokenRecord>,
}

impl Difference {
    fn between(before: Vec<TokenRecord>, after: &Document) -> Self {
        let mut after: HashMap<TokenId, &TokenRecord> =
            after.records().map(|record| (record.id(), record)).collect();
        let (mut deleted, mut updated) = (Vec::new(), Vec::new());
        for old in before {
            match after.remove(&old.id()) {
                None => deleted.push(old),
                Some(new) if *new != old => updated.push((old, new.clone())),
                Some(_) => {}
            }
        }
        Self { deleted, updated, inserted: after.into_values().cloned().collect() }
    }

    fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.updated.is_empty() && self.inserted.is_empty()
    }

    async fn write(&self, connection: &Connection, realm: &str) -> Result<(), PostgresProblem> {
        let realm = || -> Parameter<'_> { (&realm, Type::TEXT) };
        if !self.deleted.is_empty() {
            const DELETE: &str = "DELETE FROM opencode_auth.tokens \
                WHERE realm = $1 AND id = ANY ($2) RETURNING id";
            let ids: Vec<String> =
                self.deleted.iter().map(|record| record.id().to_string()).collect();
            let parameters = [realm(), (&ids as _, Type::TEXT_ARRAY)];
            write(connection, DELETE, &parameters, ids.len()).await?;
        }
        for (old, new) in &self.updated {
            // The columns that a rotation changes. The row is locked, so it still is the old record.
            const UPDATE: &str = "UPDATE opencode_auth.tokens SET digest = $4, \
                created_at = pg_catalog.to_timestamp($5::double precision), \
                expires_at = pg_catalog.to_timestamp($6::double precision), fixed_expiry = $7 \
                WHERE realm = $1 AND id = $2 AND digest = $3 RETURNING id";
            let id = old.id();
            let parameters: &[Parameter<'_>] = &[
                realm(),
                (&id.as_str(), Type::TEXT),
                (&&old.digest().as_bytes()[..], Type::BYTEA),
                (&&new.digest().as_bytes()[..], Type::BYTEA),
                (&new.created_at().unix_timestamp(), Type::INT8),
                (&new.expires_at().map(UtcDateTime::unix_timestamp), Type::INT8),
                (&new.has_fixed_expiry(), Type::BOOL),
            ];
            write(connection, UPDATE, parameters, 1).await?;
        }
        for new in &self.inserted {
            const INSERT: &str = "INSERT INTO opencode_auth.tokens \
                (realm, id, name, digest, permissions, created_at, expires_at, fixed_expiry) \
                VALUES ($1, $2, $3, $4, $5, pg_catalog.to_timestamp($6::double precision), \
                pg_catalog.to_timestamp($7::double precision), $8) RETURNING id";
            let id = new.id();
            let permissions: Vec<&str> = new.permissions().iter().map(Permission::as_str).collect();
            let parameters: &[Parameter<'_>] = &[
                realm(),
                (&id.as_str(), Type::TEXT),
                (&new.stored_name(), Type::TEXT),
                (&&new.digest().as_bytes()[..], Type::BYTEA),
                (&permissions, Type::TEXT_ARRAY),
                (&new.created_at().unix_timestamp(), Type::INT8),
                (&new.expires_at().map(UtcDateTime::unix_timestamp), Type::INT8),
                (&new.has_fixed_expiry(), Type::BOOL),
            ];
            write(connection, INSERT, parameters, 1).await?;
        }
        Ok(())
    }

    /// Finds out whether a commit was made whose confirmation was lost. The transaction held the realm's
    /// lock, so it has ended once the lock is free.
    async fn find_outcome(
        &self,
        database: &Database,
        lost: PostgresProblem,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + OUTCOME_TIMEOUT;
        loop {
            match self.was_made(database).await {
                Ok(Some(true)) => return Ok(()),
                Ok(Some(false)) => return Err(lost.into()),
                Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
                // Others have changed the same tokens since, or the database does not come back.
                Ok(None) | Err(_) => break,
            }
        }
        Err(ChangeError::OutcomeUnknown(database.address.error(lost).into()).into())
    }

    /// Whether the change was made. `None` if the tokens do not tell.
    async fn was_made(&self, database: &Database) -> Result<Option<bool>, PostgresProblem> {
        const WITH_IDS: &str = concat!(
            "SELECT ",
            token_columns!(),
            " FROM opencode_auth.tokens t WHERE t.realm = $1 AND t.id = ANY ($2)"
        );
        let name = &*database.address.realm;
        let updated = self.updated.iter().map(|(old, _)| old);
        let touched = self.deleted.iter().chain(&self.inserted).chain(updated);
        let ids: Vec<String> = touched.map(|record| record.id().to_string()).collect();
        let (_, records) = database
            .try_hosts(0, |connection| {
                let ids = &ids;
                async move {
                    begin(&connection, name).await?;
                    let parameters = [(&name as _, Type::TEXT), (ids as _, Type::TEXT_ARRAY)];
                    select(&connection, WITH_IDS, &parameters).await
                }
            })
            .await?;
        let is_there =
            |wanted: &TokenRecord| records.iter().any(|record| record.digest() == wanted.digest());
        let has_id = |wanted: &TokenRecord| records.iter().any(|record| record.id() == wanted.id());
        let was_made = self.inserted.iter().all(is_there)
            && self.updated.iter().all(|(_, new)| is_there(new))
            && !self.deleted.iter().any(has_id);
        let was_not_made = !self.inserted.iter().any(has_id)
            && self.updated.iter().all(|(old, _)| is_there(old))
            && self.deleted.iter().all(is_there);
        Ok((was_made || was_not_made).then_some(was_made))
    }
}

/// Runs a statement that returns each row that it changes. It has to meet the rows that were locked for it.
async fn write(
    connection: &Connection,
    statement: &str,
    parameters: &[Parameter<'_>],
    expected: usize,
) -> Result<(), PostgresProblem> {
    let rows = connection.query(STATEMENT_TIMEOUT, statement, parameters).await?;
    if rows.len() == expected { Ok(()) } else { Err(PostgresProblem::Changing) }
}
