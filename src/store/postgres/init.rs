//! Making the tables.

use tokio_postgres::types::Type;

use crate::store::postgres::connect::Database;
use crate::store::postgres::error::PostgresStoreError;
use crate::store::postgres::rows::STATEMENT_TIMEOUT;

pub(crate) const SCHEMA: &str = include_str!("schema.sql");

/// Two programs that make the tables at once would both find none. The number is `opencode` in ASCII.
const BEGIN: &str = "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(8030591505938408549)";

const MAKE_REALM: &str =
    "INSERT INTO opencode_auth.realms (realm) VALUES ($1) ON CONFLICT DO NOTHING RETURNING realm";

pub(crate) async fn init(database: &Database) -> Result<(), PostgresStoreError> {
    let realm = &*database.address.realm;
    database
        .ask(|connection| async move {
            connection.execute(STATEMENT_TIMEOUT, BEGIN).await?;
            connection.execute(STATEMENT_TIMEOUT, SCHEMA).await?;
            connection.query(STATEMENT_TIMEOUT, MAKE_REALM, &[(&realm, Type::TEXT)]).await?;
            connection.execute(STATEMENT_TIMEOUT, "COMMIT").await
        })
        .await
}
