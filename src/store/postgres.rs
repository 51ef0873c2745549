use std::fmt;
use std::sync::Arc;
#[cfg(feature = "cli")]
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::change::{Candidates, change};
use self::connect::Database;
pub use self::error::{PostgresProblem, PostgresStoreError};
use self::poll::Poller;
pub use self::report::{PostgresReport, RealmReport};
use self::rows::Realm;
use crate::record::{Expiry, NewToken, TokenRecord};
use crate::store::change::{ChangeError, Created, Deleted, Durability, Rotated};
use crate::store::document::Document;
use crate::store::snapshot::{LeasedSnapshot, Refresh, Refreshed};
use crate::store::{Lookup, TokenStore};
use crate::token::TokenDigest;

mod address;
mod change;
mod connect;
mod error;
mod init;
mod password;
mod poll;
mod report;
mod rows;
mod tls;

/// Tokens in a PostgreSQL database that many servers share.
///
/// A cheap handle: clones share one snapshot and one connection. It requires a tokio runtime with timers.
///
/// ```no_run
/// use axum::Router;
/// use opencode_auth::{AuthLayer, PostgresTokenStore};
///
/// # async fn open(router: Router) -> Result<Router, Box<dyn std::error::Error>> {
/// let store = PostgresTokenStore::open("postgres://server@db.example.org/opencode?realm=team").await?;
/// let app = router.layer(AuthLayer::new(store));
/// # Ok(app)
/// # }
/// ```
///
/// # Freshness
///
/// A snapshot may decide a request if and only if the poll that last confirmed it was sent no earlier
/// than the request's start minus the *lease* (1 s by default, `lease_ms` in the realm's row). A change
/// returns after the lease has passed since its commit. So:
///
/// - each server denies a deleted token within one lease of the commit, also if it is cut off from the
///   database;
/// - every request that starts after [`delete`](Self::delete) returned is denied, by whichever server.
///
/// An allowed request never waits for the network while polls succeed: the realm's version is polled four
/// times within a lease, and the tokens are loaded when it changes. A request that finds no fresh snapshot
/// waits for the poll under way, for 500 ms at most. Then the store cannot tell, and the response is 503.
/// Without a request for 30 s no polls are sent, and the next request waits for one round trip. The lease goes on
/// while the machine is suspended.
///
/// The store also cannot tell if the database is a replica, if the realm is unknown or has an unknown
/// format, if a row is no token, and if the realm's version went back, as after the restore of an older dump.
///
/// # The URL
///
/// `postgres://user:password@host:port/database?realm=name`. Several hosts may be named, with commas between:
/// the one that is no replica is used. A realm that is not named is `default`. The other parameters are
/// libpq's, and so are the variables for what the URL leaves out:
///
/// | parameter | variable | |
/// |---|---|---|
/// | `host`, `port`, `user`, `dbname` | `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE` | a host that is a path is the directory of a Unix socket |
/// | `hostaddr` | `PGHOSTADDR` | the address of each host, in place of a look-up |
/// | `password` | `PGPASSWORD` | |
/// | `passfile` | `PGPASSFILE` | `~/.pgpass` by default; nobody else may read it |
/// | `sslmode` | `PGSSLMODE` | `verify-full`, the default, or `disable`, the default on loopback and Unix sockets. `require` and `verify-ca` verify as much. `PGSSLMODE=disable` is an error for a host that is not on this machine |
/// | `sslrootcert` | `PGSSLROOTCERT` | a file with the certificates to trust, or `system`, the default |
/// | `sslcert`, `sslkey` | `PGSSLCERT`, `PGSSLKEY` | files with the client's certificate and its key; nobody else may read the key |
/// | `target_session_attrs` | `PGTARGETSESSIONATTRS` | `primary`, `read-write` or `any`, which are the same here |
/// | `channel_binding` | `PGCHANNELBINDING` | `disable` or `prefer`, which are the same here |
/// | `connect_timeout` | `PGCONNECT_TIMEOUT` | in seconds; 2 by default, also in place of 0 and less |
/// | `application_name` | `PGAPPNAME` | `opencode-auth` by default |
/// | `keepalives`, `keepalives_idle`, `keepalives_interval`, `keepalives_count`, `tcp_user_timeout`, `options` | | |
///
/// All other parameters and values are errors, and so are `PGREQUIREAUTH`, `PGREQUIREPEER`, `PGSSLCRL`,
/// `PGSSLCRLDIR` and `PGSSLMINPROTOCOLVERSION`: they ask for checks that are not made here. The password file is
/// read for each connection, and the certificates and the key once, when the store is opened.
///
/// Statements are not prepared and sessions have no state, so PgBouncer may be in between, also in
/// transaction mode.
///
/// # Security
///
/// A server only reads. Give its role `SELECT` and nothing more: a server that is taken over then cannot
/// make tokens. After a failover, make sure that the old primary cannot be reached (fencing), as for
/// every other use of the database: servers that still reach it see the tokens as they were.
#[derive(Clone)]
pub struct PostgresTokenStore {
    shared: Arc<Shared>,
}

struct Shared {
    snapshot: LeasedSnapshot,
    database: Database,
    /// `None` in a handle that only makes changes.
    poller: Option<AbortHandle>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(poller) = &self.poller {
            poller.abort();
        }
    }
}

impl PostgresTokenStore {
    /// The statements that make the tables, as [`init`](Self::init) runs them.
    pub const SCHEMA: &str = init::SCHEMA;

    /// Connects to the database, loads the realm, and starts a task that keeps it fresh.
    ///
    /// # Errors
    ///
    /// [`PostgresStoreError`] if the URL cannot be used or the realm cannot be loaded.
    pub async fn open(url: &str) -> Result<Self, PostgresStoreError> {
        let database = Database::new(url)?;
        let address = database.address.clone();
        let mut poller = Poller::new(database.clone());
        let lease = poller.lease().await.map_err(|problem| address.error(problem))?;
        // One refresh is under way at a time, so there is always room.
        let (sender, asked) = mpsc::channel(1);
        let start = move |refresh: Refresh| drop(sender.try_send(refresh));
        let snapshot = LeasedSnapshot::new(&*address.location, lease, start);
        if let Some(mut refresh) = snapshot.begin_refresh() {
            let records = poller.refresh(&mut refresh, lease).await;
            refresh.finish(Refreshed::Records(records.map_err(|problem| address.error(problem))?));
        }
        let poller = tokio::spawn(poller.run(snapshot.clone(), asked)).abort_handle();
        Ok(Self { shared: Arc::new(Shared { snapshot, database, poller: Some(poller) }) })
    }

    /// A handle for commands, which read no more than they need. It loads nothing, so it cannot tell
    /// whether a token is valid.
    #[cfg(feature = "cli")]
    pub(crate) fn for_changes(url: &str) -> Result<Self, PostgresStoreError> {
        let database = Database::new(url)?;
        let never = |refresh: Refresh| drop(refresh);
        let snapshot = LeasedSnapshot::new(&*database.address.location, Duration::ZERO, never);
        Ok(Self { shared: Arc::new(Shared { snapshot, database, poller: None }) })
    }

    /// Makes the tables and the realm of the URL, if they are not there yet. Needs a role that may create
    /// schemas in the database.
    ///
    /// # Errors
    ///
    /// [`PostgresStoreError`]; nothing was changed then.
    pub async fn init(url: &str) -> Result<(), PostgresStoreError> {
        init::init(&Database::new(url)?).await
    }

    /// Reports on the database: the role, its privileges, and problems.
    ///
    /// # Errors
    ///
    /// [`PostgresStoreError`] if the URL cannot be used or there is no connection.
    pub async fn report(url: &str) -> Result<PostgresReport, PostgresStoreError> {
        report::report(&Database::new(url)?).await
    }

    /// A URL without its password.
    #[cfg(feature = "cli")]
    pub(crate) fn location_of(url: &str) -> Result<String, PostgresStoreError> {
        Ok(address::Address::parse(url)?.location.to_string())
    }

    /// The store's URL without its password.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.shared.database.address.location
    }

    /// Creates a token. The result holds the only copy of its secret.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
        self.create_and(&new, || (), |created| created).await
    }

    /// Creates a token. Calls `before` when the realm is locked, and `then` when the change is made, before
    /// the wait for the lease.
    pub(crate) async fn create_and<T>(
        &self,
        new: &NewToken,
        before: impl Fn(),
        then: impl FnOnce(Created) -> T,
    ) -> Result<T, ChangeError> {
        let name = Candidates::Named(new.described_name());
        let create = |document: &mut Document, now| {
            before();
            document.create(new, now)
        };
        change(self.database(), name, create, |(token, record)| {
            then(Created { token, record, durability: Durability::Confirmed })
        })
        .await
    }

    /// Gives a token a new secret, as [`FileTokenStore::rotate`](crate::FileTokenStore::rotate) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn rotate(&self, id_or_name: &str) -> Result<Rotated, ChangeError> {
        self.rotate_and(id_or_name, None, || (), |rotated| rotated).await
    }

    /// Gives a token a new secret and a new expiry, as
    /// [`FileTokenStore::rotate_with_expiry`](crate::FileTokenStore::rotate_with_expiry) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn rotate_with_expiry(
        &self,
        id_or_name: &str,
        expiry: Expiry,
    ) -> Result<Rotated, ChangeError> {
        self.rotate_and(id_or_name, Some(expiry), || (), |rotated| rotated).await
    }

    /// Rotates a token, with `before` and `then` as in [`create_and`](Self::create_and).
    pub(crate) async fn rotate_and<T>(
        &self,
        id_or_name: &str,
        expiry: Option<Expiry>,
        before: impl Fn(),
        then: impl FnOnce(Rotated) -> T,
    ) -> Result<T, ChangeError> {
        let meant = Candidates::Meant(vec![id_or_name]);
        let rotate = |document: &mut Document, now| {
            before();
            document.rotate(id_or_name, expiry, now)
        };
        change(self.database(), meant, rotate, |(token, record, replaced)| {
            then(Rotated { token, record, replaced, durability: Durability::Confirmed })
        })
        .await
    }

    /// Takes a rotation back, as [`FileTokenStore::undo_rotation`](crate::FileTokenStore::undo_rotation)
    /// does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
        let id = rotated.record.id();
        let meant = Candidates::Meant(vec![id.as_str()]);
        let undo =
            |document: &mut Document, _| document.undo_rotation(&rotated.record, &rotated.replaced);
        change(self.database(), meant, undo, |()| ()).await?;
        Ok(Durability::Confirmed)
    }

    /// Deletes the token with this id, else with this exact name, else with the one id that begins with
    /// this text of at least 6 characters. Every server denies it from now on.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn delete(&self, id_or_name: &str) -> Result<Deleted, ChangeError> {
        self.delete_many(&[id_or_name]).await
    }

    /// Deletes several tokens, or none of them if one cannot be found.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn delete_many<S: AsRef<str>>(
        &self,
        ids_or_names: &[S],
    ) -> Result<Deleted, ChangeError> {
        if ids_or_names.is_empty() {
            return Ok(Deleted::none());
        }
        let texts: Vec<&str> = ids_or_names.iter().map(AsRef::as_ref).collect();
        let delete = |document: &mut Document, _| document.delete(&texts);
        let records =
            change(self.database(), Candidates::Meant(texts.clone()), delete, |records| records)
                .await?;
        Ok(Deleted { records, durability: Durability::Confirmed })
    }

    /// Deletes every token that is expired by this machine's clock.
    ///
    /// # Errors
    ///
    /// [`ChangeError`].
    pub async fn delete_expired(&self) -> Result<Deleted, ChangeError> {
        let delete = |document: &mut Document, now| Ok(document.delete_expired(now));
        let records =
            change(self.database(), Candidates::Expired, delete, |records| records).await?;
        Ok(Deleted { records, durability: Durability::Confirmed })
    }

    /// Every token of the realm, expired ones included, the oldest first. Asks the database.
    ///
    /// # Errors
    ///
    /// [`PostgresStoreError`] if the realm cannot be read.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, PostgresStoreError> {
        let realm = &*self.database().address.realm;
        let load = |connection| async move { Realm::load(&connection, realm).await };
        let (_, mut records) = self.database().ask(load).await?;
        records.sort_by_key(|record| (record.created_at(), record.id().to_string()));
        Ok(records)
    }

    /// The token that was created last.
    #[cfg(feature = "cli")]
    pub(crate) async fn newest(&self) -> Result<Option<TokenRecord>, PostgresStoreError> {
        let realm = &*self.database().address.realm;
        self.database()
            .ask(|connection| async move { rows::newest(&connection, realm).await })
            .await
    }

    fn database(&self) -> &Database {
        &self.shared.database
    }
}

impl TokenStore for PostgresTokenStore {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        self.shared.snapshot.find(digest)
    }
}

impl fmt::Debug for PostgresTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTokenStore")
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}
