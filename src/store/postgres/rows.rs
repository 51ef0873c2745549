//! The statements that read a realm, and what their rows mean.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use time::UtcDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, Type};

use crate::record::TokenRecord;
use crate::store::postgres::connect::{Connection, Parameter};
use crate::store::postgres::error::PostgresProblem;
use crate::token::TokenDigest;

/// The format that this version reads and writes.
const FORMAT: i32 = 1;

/// How long a statement that touches a few rows may take.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long loading a realm may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

macro_rules! realm_columns {
    () => {
        "r.version, r.xmin::text::bigint, r.format, r.lease_ms, pg_catalog.pg_is_in_recovery()"
    };
}

macro_rules! token_columns {
    () => {
        "t.id, t.name, t.digest, pg_catalog.array_to_string(t.permissions, ','), \
         pg_catalog.floor(extract(epoch FROM t.created_at))::bigint, \
         pg_catalog.floor(extract(epoch FROM t.expires_at))::bigint, t.fixed_expiry"
    };
}
pub(crate) use token_columns;

const POLL: &str =
    concat!("SELECT ", realm_columns!(), " FROM opencode_auth.realms r WHERE r.realm = $1");

/// Waits for other changes, and makes them wait. Versions are in the order of commits.
const LOCK: &str = concat!(
    "SELECT ",
    realm_columns!(),
    " FROM opencode_auth.realms r WHERE r.realm = $1 FOR NO KEY UPDATE"
);

/// One statement, so the version is that of the tokens.
const LOAD: &str = concat!(
    "SELECT ",
    realm_columns!(),
    ", ",
    token_columns!(),
    " FROM opencode_auth.realms r LEFT JOIN opencode_auth.tokens t ON t.realm = r.realm \
     WHERE r.realm = $1"
);

/// The columns before those of the token.
const REALM_COLUMNS: usize = 5;

/// A realm's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) version: i64,
    /// The transaction that wrote the row. After the restore of a dump, the same version may mean
    /// other tokens, but the transaction is another one.
    transaction: i64,
    pub(crate) lease: Duration,
}

impl Realm {
    /// Asks for the realm's row.
    pub(crate) async fn poll(
        connection: &Connection,
        limit: Duration,
        realm: &str,
    ) -> Result<Self, PostgresProblem> {
        let rows = connection.query(limit, POLL, &[(&realm, Type::TEXT)]).await?;
        Self::of(rows.first())
    }

    /// Locks the realm for a change, in the transaction that is under way.
    pub(crate) async fn lock(
        connection: &Connection,
        limit: Duration,
        realm: &str,
    ) -> Result<Self, PostgresProblem> {
        let rows = connection.query(limit, LOCK, &[(&realm, Type::TEXT)]).await?;
        Self::of(rows.first())
    }

    /// Loads the realm and its tokens.
    pub(crate) async fn load(
        connection: &Connection,
        realm: &str,
    ) -> Result<(Self, Vec<TokenRecord>), PostgresProblem> {
        let rows = connection.query(LOAD_TIMEOUT, LOAD, &[(&realm, Type::TEXT)]).await?;
        let realm = Self::of(rows.first())?;
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            // A realm without tokens is one row without a token.
            if column::<Option<String>>(row, REALM_COLUMNS)?.is_some() {
                records.push(record(row, REALM_COLUMNS)?);
            }
        }
        Ok((realm, records))
    }

    fn of(row: Option<&Row>) -> Result<Self, PostgresProblem> {
        let row = row.ok_or(PostgresProblem::UnknownRealm)?;
        let format = column(row, 2)?;
        if format != FORMAT {
            return Err(PostgresProblem::UnknownFormat(format));
        }
        if column(row, 4)? {
            return Err(PostgresProblem::Replica);
        }
        let lease = u64::try_from(column::<i32>(row, 3)?).unwrap_or_default();
        Ok(Self {
            version: column(row, 0)?,
            transaction: column(row, 1)?,
            lease: Duration::from_millis(lease),
        })
    }
}

/// The token that was created last.
#[cfg(feature = "cli")]
pub(crate) async fn newest(
    connection: &Connection,
    realm: &str,
) -> Result<Option<TokenRecord>, PostgresProblem> {
    const NEWEST: &str = concat!(
        "SELECT ",
        token_columns!(),
        " FROM opencode_auth.tokens t WHERE t.realm = $1 ORDER BY t.created_at DESC LIMIT 1"
    );
    Ok(select(connection, NEWEST, &[(&realm, Type::TEXT)]).await?.pop())
}

/// Selects tokens.
pub(crate) async fn select(
    connection: &Connection,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<TokenRecord>, PostgresProblem> {
    let rows = connection.query(STATEMENT_TIMEOUT, statement, parameters).await?;
    rows.iter().map(|row| record(row, 0)).collect()
}

/// The token in a row, whose columns begin with this one.
fn record(row: &Row, first: usize) -> Result<TokenRecord, PostgresProblem> {
    let id: String = column(row, first)?;
    read(row, first, &id).map_err(|cause| PostgresProblem::Damaged { id, cause: cause.into() })
}

fn read(row: &Row, first: usize, id: &str) -> Result<TokenRecord, Box<dyn Error + Send + Sync>> {
    let name: Option<String> = row.try_get(first + 1)?;
    let digest: Vec<u8> = row.try_get(first + 2)?;
    let permissions: String = row.try_get(first + 3)?;
    let created_at: i64 = row.try_get(first + 4)?;
    let expires_at: Option<i64> = row.try_get(first + 5)?;
    let digest = <[u8; 32]>::try_from(digest).map_err(|_| "its digest has not 32 bytes")?;
    let record = TokenRecord::new(
        id.parse()?,
        name.as_deref(),
        TokenDigest::from_bytes(digest),
        permissions.parse()?,
        UtcDateTime::from_unix_timestamp(created_at)?,
        expires_at.map(UtcDateTime::from_unix_timestamp).transpose()?,
    )?;
    Ok(if row.try_get(first + 6)? { record.with_fixed_expiry() } else { record })
}

pub(crate) fn column<T: FromSqlOwned>(row: &Row, index: usize) -> Result<T, PostgresProblem> {
    row.try_get(index).map_err(|error| PostgresProblem::Statement(Arc::new(error)))
}
