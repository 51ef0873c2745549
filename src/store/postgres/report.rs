//! What `token check` says about a database.

use std::time::{Duration, SystemTime};

use crate::store::postgres::connect::{Connection, Database};
use crate::store::postgres::error::{PostgresProblem, PostgresStoreError};
use crate::store::postgres::rows::{Realm, STATEMENT_TIMEOUT, column};

/// The state of a store's database. It contains no secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct PostgresReport {
    /// The store's URL without its password.
    pub location: String,
    /// The role that the database knows this program by.
    pub role: String,
    /// The version of PostgreSQL.
    pub server_version: String,
    /// Whether the connection is encrypted, and the certificate verified.
    pub is_encrypted: bool,
    /// Whether the database is a replica, which a store does not use.
    pub is_replica: bool,
    /// Whether the role may change anything in the tables. A server's role should not.
    pub can_write: bool,
    /// How far the database's clock is ahead of this machine's, in seconds; negative if it is behind. Expiry
    /// is decided by the clocks of the servers.
    pub clock_difference: f64,
    /// How exactly that is known: half of the round trip.
    pub clock_uncertainty: Duration,
    /// Number of tokens and expired ones, and the realm's version and lease, or why the realm cannot be used.
    pub realm: Result<RealmReport, PostgresStoreError>,
}

/// The state of a realm that can be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct RealmReport {
    /// The number of tokens.
    pub tokens: usize,
    /// How many of them are expired.
    pub expired: usize,
    /// The number of the realm's last change.
    pub version: i64,
    /// How long servers may decide requests from memory.
    pub lease: Duration,
}

const LOOK: &str = "SELECT current_user::text, pg_catalog.current_setting('server_version'), \
    pg_catalog.pg_is_in_recovery(), \
    extract(epoch FROM pg_catalog.clock_timestamp())::double precision";

/// Without the tables there is no privilege on them. Any of these privileges is enough to do harm: a role that
/// may update `realms` could make a lease longer.
const MAY_WRITE: &str = "SELECT coalesce(pg_catalog.bool_or( \
    pg_catalog.has_table_privilege(named, 'INSERT, UPDATE, DELETE, TRUNCATE') \
    OR pg_catalog.has_any_column_privilege(named, 'INSERT, UPDATE')), false) \
    FROM (VALUES (pg_catalog.to_regclass('opencode_auth.tokens')), \
    (pg_catalog.to_regclass('opencode_auth.realms'))) tables (named)";

pub(crate) async fn report(database: &Database) -> Result<PostgresReport, PostgresStoreError> {
    let address = &database.address;
    let looked =
        database.try_hosts(0, |connection| async move { look(&connection, database).await }).await;
    let (host, mut report) = looked.map_err(|problem| address.error(problem))?;
    report.is_encrypted = address.endpoints.get(host).is_some_and(|host| host.is_encrypted);
    Ok(report)
}

async fn look(
    connection: &Connection,
    database: &Database,
) -> Result<PostgresReport, PostgresProblem> {
    let address = &database.address;
    let sent = SystemTime::now();
    let rows = connection.query(STATEMENT_TIMEOUT, LOOK, &[]).await?;
    let round_trip = sent.elapsed().unwrap_or_default();
    let row = rows.first().ok_or(PostgresProblem::NotInitialized)?;
    let theirs: f64 = column(row, 3)?;
    let ours = sent.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + round_trip / 2;

    let can_write = match connection.query(STATEMENT_TIMEOUT, MAY_WRITE, &[]).await {
        Ok(rows) => column(rows.first().ok_or(PostgresProblem::NotInitialized)?, 0)?,
        // A role that may not even look at the schema may not write either.
        Err(problem) if problem.is_forbidden() => false,
        Err(problem) => return Err(problem),
    };
    let realm = match Realm::load(connection, &address.realm).await {
        Ok((realm, records)) => {
            let now = SystemTime::now();
            Ok(RealmReport {
                tokens: records.len(),
                expired: records.iter().filter(|record| record.is_expired(now)).count(),
                version: realm.version,
                lease: realm.lease,
            })
        }
        Err(problem) => Err(address.error(problem)),
    };
    Ok(PostgresReport {
        location: address.location.to_string(),
        role: column(row, 0)?,
        server_version: column(row, 1)?,
        is_encrypted: false,
        is_replica: column(row, 2)?,
        can_write,
        clock_difference: theirs - ours.as_secs_f64(),
        clock_uncertainty: round_trip / 2,
        realm,
    })
}
