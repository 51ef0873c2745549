use std::sync::{Arc, PoisonError, RwLock};

use time::UtcDateTime;

use crate::record::{NewToken, TokenRecord};
use crate::store::change::{ChangeError, Created, Deleted, Durability, Rotated};
use crate::store::document::Document;
use crate::store::{Lookup, StoreError, TokenStore};
use crate::token::TokenDigest;

/// Tokens in memory, for the tests of hosts. Clones share the tokens.
///
/// ```
/// use opencode_auth::{MemoryTokenStore, NewToken, Permissions};
///
/// let store = MemoryTokenStore::new();
/// let created = store.create(NewToken::new().permissions(Permissions::READ))?;
/// assert_eq!(store.list(), [created.record]);
/// # Ok::<_, opencode_auth::ChangeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryTokenStore {
    shared: Arc<RwLock<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    document: Document,
    failure: Option<StoreError>,
}

impl MemoryTokenStore {
    /// A store without tokens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a token, as [`FileTokenStore::create`](crate::FileTokenStore::create) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a description is made where it is used, and used up"
    )]
    pub fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
        let (token, record) = self.change(|document| document.create(&new, UtcDateTime::now()))?;
        Ok(Created { token, record, durability: Durability::Confirmed })
    }

    /// Gives a token a new secret, as [`FileTokenStore::rotate`](crate::FileTokenStore::rotate) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub fn rotate(&self, id_or_name: &str) -> Result<Rotated, ChangeError> {
        let (token, record, replaced) =
            self.change(|document| document.rotate(id_or_name, UtcDateTime::now()))?;
        Ok(Rotated { token, record, replaced, durability: Durability::Confirmed })
    }

    /// Deletes a token, as [`FileTokenStore::delete`](crate::FileTokenStore::delete) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub fn delete(&self, id_or_name: &str) -> Result<Deleted, ChangeError> {
        let records = self.change(|document| document.delete(&[id_or_name]))?;
        Ok(Deleted { records, durability: Durability::Confirmed })
    }

    /// Every token of the store, expired ones included.
    #[must_use]
    pub fn list(&self) -> Vec<TokenRecord> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.document.records().cloned().collect()
    }

    /// Adds a record, such as one that is expired already. One with the same digest is replaced.
    pub fn insert(&self, record: TokenRecord) {
        self.change(|document| document.insert(record));
    }

    /// Makes every look-up fail with this error, or work again with `None`.
    pub fn fail_with(&self, error: impl Into<Option<StoreError>>) {
        self.shared.write().unwrap_or_else(PoisonError::into_inner).failure = error.into();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Document) -> T) -> T {
        change(&mut self.shared.write().unwrap_or_else(PoisonError::into_inner).document)
    }
}

impl TokenStore for MemoryTokenStore {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        Lookup::Ready(match &shared.failure {
            Some(error) => Err(error.clone()),
            None => Ok(shared
                .document
                .records()
                .find(|record| record.digest() == digest)
                .cloned()
                .map(Arc::new)),
        })
    }
}
