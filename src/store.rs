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
mod index;
mod memory;
mod snapshot;

pub use self::change::{ChangeError, Created, Deleted, Durability, Rotated};
#[cfg(fuzzing)]
pub(crate) use self::file::format;
pub use self::file::{
    FileMode, FileStoreError, FileTokenStore, FileTokenStoreOptions, FormatProblem, TrustProblem,
};
#[cfg(feature = "cli")]
pub(crate) use self::file::{absolute_path, lock_path};
pub use self::index::Index as Records;
pub use self::memory::MemoryTokenStore;
pub use self::snapshot::{LeasedSnapshot, Refresh, Refreshed, Refresher};
use crate::record::TokenRecord;
use crate::token::TokenDigest;

/// Finds the record of a token by its digest: all that [`AuthLayer`](crate::AuthLayer) asks of a store.
///
/// Three outcomes stay three: `Ok(Some(record))`, `Ok(None)` when the store holds no such token, and
/// `Err` when it could not tell. A store that cannot tell must never answer `Ok(None)`: clients throw
/// their token away when they are told that it is not valid.
///
/// Whether the token is expired, and whether it allows the request, is not the store's business.
///
/// # Write your own store
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, RwLock};
///
/// use opencode_auth::{Lookup, NewToken, StoreError, TokenDigest, TokenRecord, TokenStore};
///
/// #[derive(Clone, Default)]
/// struct Database {
///     rows: Arc<RwLock<HashMap<TokenDigest, Arc<TokenRecord>>>>,
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the database is poisoned")]
/// struct Poisoned;
///
/// impl TokenStore for Database {
///     fn find(&self, digest: &TokenDigest) -> Lookup {
///         // What is at hand is answered at once. What has to be waited for is `Lookup::pending(async { … })`.
///         Lookup::Ready(match self.rows.read() {
///             Ok(rows) => Ok(rows.get(digest).cloned()),
///             Err(_) => Err(StoreError::new(Poisoned)),
///         })
///     }
/// }
///
/// let database = Database::default();
/// let (token, record) = NewToken::new().name("ci").issue(time::UtcDateTime::now())?;
/// database.rows.write().unwrap().insert(*record.digest(), Arc::new(record));
///
/// let Lookup::Ready(Ok(Some(found))) = database.find(&token.digest()) else { panic!("not found") };
/// assert_eq!(found.name(), Some("ci"));
/// # Ok::<_, opencode_auth::NewTokenError>(())
/// ```
pub trait TokenStore {
    /// Looks for the record with this digest. Called once for each request with a well-formed token.
    fn find(&self, digest: &TokenDigest) -> Lookup;
}

impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        (**self).find(digest)
    }
}

/// What a look-up found.
pub type LookupResult = Result<Option<Arc<TokenRecord>>, StoreError>;

/// A look-up that has to be waited for.
pub type LookupFuture = Pin<Box<dyn Future<Output = LookupResult> + Send>>;

/// The answer of [`TokenStore::find`].
#[must_use]
pub enum Lookup {
    /// The answer was at hand.
    Ready(LookupResult),
    /// The answer has to be waited for.
    Pending(LookupFuture),
}

impl Lookup {
    /// A look-up that has to be waited for.
    pub fn pending(future: impl Future<Output = LookupResult> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
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

/// The store could not tell whether a token is valid. A request is then answered 503.
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
