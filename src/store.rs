//! Where token records are kept.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

mod change;
mod clock;
pub(crate) mod document;
mod file;
mod memory;
mod pair;
#[cfg(feature = "postgres")]
mod postgres;
mod records;
mod snapshot;

pub use self::change::{ChangeError, Created, Deleted, Durability, Rotated};
pub(crate) use self::clock::Moment;
#[cfg(fuzzing)]
pub(crate) use self::file::format;
#[cfg(feature = "cli")]
pub(crate) use self::file::{BUILT_WITHOUT_POSTGRES, absolute_path, lock_path, other_names};
pub use self::file::{
    FileMode, FileStoreError, FileTokenStore, FileTokenStoreOptions, FormatProblem, TrustProblem,
};
pub use self::memory::MemoryTokenStore;
#[cfg(feature = "postgres")]
pub use self::postgres::{
    PostgresProblem, PostgresReport, PostgresStoreError, PostgresTokenStore, RealmReport,
};
pub use self::records::Records;
pub use self::snapshot::{LeasedSnapshot, Refresh, Refreshed, Refresher};
use crate::record::TokenRecord;
use crate::token::TokenDigest;

/// Finds the record of a token by its digest. [`AuthLayer`](crate::AuthLayer) requires nothing else of a
/// store.
///
/// A look-up has three outcomes: `Ok(Some(record))`, `Ok(None)` if the store has no such token, and `Err`
/// if it could not tell. A store that could not tell must not return `Ok(None)`: clients discard their token
/// when they are told that it is invalid.
///
/// The store does not check the expiry or the permissions of the token. The layer does.
///
/// # Write your own store
///
/// A store that asks a database for each request returns [`Lookup::pending`]. A store that keeps its
/// records in memory for a time is a [`LeasedSnapshot`].
///
/// ```
/// use std::sync::Arc;
///
/// use opencode_auth::{Lookup, NewToken, StoreError, TokenDigest, TokenRecord, TokenStore};
///
/// # #[derive(Clone)] struct Pool(TokenRecord);
/// # impl Pool {
/// #     async fn select(&self, _sql: &str, digest: [u8; 32]) -> Result<Option<TokenRecord>, std::io::Error> {
/// #         Ok((*self.0.digest().as_bytes() == digest).then(|| self.0.clone()))
/// #     }
/// # }
/// #[derive(Clone)]
/// struct Database {
///     pool: Pool,
/// }
///
/// impl TokenStore for Database {
///     fn find(&self, digest: &TokenDigest) -> Lookup {
///         let (pool, digest) = (self.pool.clone(), *digest.as_bytes());
///         Lookup::pending(async move {
///             let row = pool.select("SELECT … FROM tokens WHERE digest = $1", digest).await;
///             // An error of the database is "could not tell", and never "no such token".
///             row.map(|record| record.map(Arc::new)).map_err(StoreError::new)
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (token, record) = NewToken::new().name("ci").issue(time::UtcDateTime::now())?;
/// # let pool = Pool(record);
/// let database = Database { pool };
/// let found = database.find(&token.digest()).wait().await?;
/// assert_eq!(found.unwrap().name(), Some("ci"));
/// # Ok(())
/// # }
/// ```
pub trait TokenStore {
    /// Finds the record with this digest. It must not block: a result that has to be waited for is a
    /// [`Lookup::pending`].
    ///
    /// It is called for each request with a well-formed token, again for each part of a request's body, and ten
    /// times a second for each token with an open stream.
    fn find(&self, digest: &TokenDigest) -> Lookup;
}

impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        (**self).find(digest)
    }
}

/// What a look-up found.
pub type LookupResult = Result<Option<Arc<TokenRecord>>, StoreError>;

/// A look-up that is not finished yet.
pub type LookupFuture = Pin<Box<dyn Future<Output = LookupResult> + Send>>;

/// What [`TokenStore::find`] returns.
#[must_use]
pub enum Lookup {
    /// The result is known.
    Ready(LookupResult),
    /// The result has to be waited for.
    Pending(LookupFuture),
}

impl Lookup {
    /// A look-up whose result comes later.
    pub fn pending(future: impl Future<Output = LookupResult> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }

    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store could not tell.
    pub async fn wait(self) -> LookupResult {
        match self {
            Self::Ready(result) => result,
            Self::Pending(future) => future.await,
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// The store could not tell whether a token is valid. The response to the request is 503.
///
/// It shows the error that it was made of, as [`std::io::Error`] does. Clones are cheap: every request
/// that waits for the same refresh gets the same error.
///
/// ```
/// use opencode_auth::{FileStoreError, FileTokenStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("auth-tokens.json");
/// std::fs::write(&path, "not JSON")?;
/// # #[cfg(unix)]
/// # std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
/// let error = FileTokenStore::open(&path).unwrap_err();
/// assert!(matches!(error.downcast_ref(), Some(FileStoreError::Format { line: 1, .. })));
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct StoreError(Arc<dyn Error + Send + Sync>);

impl StoreError {
    /// Wraps the error of a store.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The error that this one was made of, if it has this type.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StoreError {
    /// The sentence first: `unwrap`, and `main` when it returns an error, show this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.0)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
