//! Where token records are kept.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

mod clock;
pub(crate) mod document;
mod error;
mod file;
pub(crate) mod format;
mod index;
mod location;
mod lock;
mod memory;
mod outcome;
mod remedy;
mod replace;
mod shown;
mod snapshot;
mod trust;
mod view;

pub use self::error::{ChangeError, StoreError, TrustProblem};
pub use self::file::{FileTokenStore, FileTokenStoreOptions};
pub use self::format::FormatProblem;
pub use self::index::Index as Records;
#[cfg(feature = "cli")]
pub(crate) use self::location::named;
#[cfg(feature = "cli")]
pub(crate) use self::lock::path_beside as lock_path;
pub use self::memory::MemoryTokenStore;
pub use self::outcome::{Created, Deleted, Durability, Rotated};
#[cfg(feature = "cli")]
pub(crate) use self::shown::{command, quoted, shown};
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
///             Err(_) => Err(StoreError::other(Poisoned)),
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
