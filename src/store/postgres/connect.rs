//! One connection to the database, without a session: each statement may meet another session, as behind
//! PgBouncer in transaction mode.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::store::postgres::address::{Address, Endpoint};
use crate::store::postgres::error::{PostgresProblem, PostgresStoreError};
use crate::store::postgres::tls::Tls;

/// How long making a connection may take, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The value of a parameter of a statement, and its type in the database.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An address, and what is needed to connect to it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) address: Address,
    tls: Tls,
}

impl Database {
    pub(crate) fn new(url: &str) -> Result<Self, PostgresStoreError> {
        let address = Address::parse(url)?;
        // Reading the system's certificates takes milliseconds.
        let tls = if address.endpoints.iter().any(|endpoint| endpoint.is_encrypted) {
            let client = address.client_certificate.as_ref();
            let client = client.map(|(certificate, key)| (&**certificate, &**key));
            Tls::new(address.root_certificates.as_deref(), client)
        } else {
            Tls::unused()
        }
        .map_err(|problem| address.error(problem))?;
        Ok(Self { address, tls })
    }

    /// The value of `attempt` with the first host with which it succeeds.
    pub(crate) async fn ask<T, F>(
        &self,
        attempt: impl Fn(Connection) -> F,
    ) -> Result<T, PostgresStoreError>
    where
        F: Future<Output = Result<T, PostgresProblem>>,
    {
        let outcome = self.try_hosts(0, attempt).await;
        outcome.map(|(_, value)| value).map_err(|problem| self.address.error(problem))
    }

    /// Uses the first host with which `attempt` succeeds, beginning with the one of this number. A host
    /// may be down, or a replica. Returns the number of the host as well.
    pub(crate) async fn try_hosts<T, F>(
        &self,
        first: usize,
        attempt: impl Fn(Connection) -> F,
    ) -> Result<(usize, T), PostgresProblem>
    where
        F: Future<Output = Result<T, PostgresProblem>>,
    {
        let endpoints = &self.address.endpoints;
        let mut failure = None;
        for number in (first..).take(endpoints.len()).map(|number| number % endpoints.len()) {
            let connected = Connection::open(&endpoints[number], self.tls.clone()).await;
            let outcome = match connected {
                Ok(connection) => attempt(connection).await,
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(value) => return Ok((number, value)),
                Err(
                    problem @ (PostgresProblem::Connect(_)
                    | PostgresProblem::Statement(_)
                    | PostgresProblem::Replica
                    | PostgresProblem::TimedOut(_)),
                ) => {
                    // The error of a host that responded says more than that of one that did not.
                    if failure.is_none() || !matches!(problem, PostgresProblem::Connect(_)) {
                        failure = Some(problem);
                    }
                }
                Err(problem) => return Err(problem),
            }
        }
        Err(failure.unwrap_or(PostgresProblem::Url("the URL names no host".into())))
    }
}

/// A connection to one host. Dropping it closes it.
pub(crate) struct Connection {
    client: Client,
    driver: AbortHandle,
}

impl Connection {
    async fn open(endpoint: &Endpoint, tls: Tls) -> Result<Self, PostgresProblem> {
        let config = endpoint.config()?;
        let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        // The driver's own limit ends with the TCP connection.
        let (client, connection) = within(limit, config.connect(tls))
            .await?
            .map_err(|error| PostgresProblem::Connect(Arc::new(error)))?;
        let driver = tokio::spawn(async move {
            // Callers that wait for a statement get the error as well.
            let _ = connection.await;
        });
        Ok(Self { client, driver: driver.abort_handle() })
    }

    /// Runs one statement. It is not prepared: a prepared one would belong to a session.
    pub(crate) async fn query(
        &self,
        limit: Duration,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, PostgresProblem> {
        within(limit, self.client.query_typed(statement, parameters))
            .await?
            .map_err(PostgresProblem::of_statement)
    }

    /// Runs statements that return nothing.
    pub(crate) async fn execute(
        &self,
        limit: Duration,
        statements: &str,
    ) -> Result<(), PostgresProblem> {
        within(limit, self.client.batch_execute(statements))
            .await?
            .map_err(PostgresProblem::of_statement)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A connection whose packets are lost would never end by itself.
        self.driver.abort();
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, PostgresProblem> {
    timeout(limit, work).await.map_err(|_| PostgresProblem::TimedOut(limit))
}
