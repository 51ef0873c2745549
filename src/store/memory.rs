use std::sync::{Arc, PoisonError, RwLock};

use time::UtcDateTime;

use crate::permission::Permissions;
use crate::record::{Expiry, NewToken, TokenRecord};
use crate::store::change::{ChangeError, Created, Deleted, Durability, Rotated};
use crate::store::document::Document;
use crate::store::{Lookup, Records, StoreError, TokenStore};
use crate::token::{Token, TokenDigest};

/// Tokens that live as long as the process. Clones share the tokens.
///
/// Use it for a server's own clients: the server makes a token when it starts, hands it to its client by an
/// environment variable or a file with mode 0600, and the token ends with the process. Together with the
/// users' file it is `(own, users)`, which is a store too. Use it in tests as well.
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
    /// The records of `document`, by digest.
    records: Records,
    failure: Option<StoreError>,
}

impl MemoryTokenStore {
    /// A store without tokens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with one token that has these permissions and expires after 90 days.
    ///
    /// ```
    /// use opencode_auth::{MemoryTokenStore, Permissions};
    ///
    /// let (store, token) = MemoryTokenStore::with_token(Permissions::READ)?;
    /// assert_eq!(store.list()[0].digest(), &token.digest());
    /// # Ok::<_, opencode_auth::ChangeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if the set of permissions is empty, or the operating system has no random bits.
    pub fn with_token(permissions: Permissions) -> Result<(Self, Token), ChangeError> {
        let store = Self::new();
        let created = store.create(NewToken::new().permissions(permissions))?;
        Ok((store, created.token))
    }

    /// Creates a token, as [`FileTokenStore::create`](crate::FileTokenStore::create) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed.
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
    /// [`ChangeError`]; nothing was changed.
    pub fn rotate(&self, id_or_name: &str) -> Result<Rotated, ChangeError> {
        self.rotate_until(id_or_name, None)
    }

    /// Gives a token a new secret and a new expiry, as
    /// [`FileTokenStore::rotate_with_expiry`](crate::FileTokenStore::rotate_with_expiry) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed.
    pub fn rotate_with_expiry(
        &self,
        id_or_name: &str,
        expiry: Expiry,
    ) -> Result<Rotated, ChangeError> {
        self.rotate_until(id_or_name, Some(expiry))
    }

    fn rotate_until(
        &self,
        id_or_name: &str,
        expiry: Option<Expiry>,
    ) -> Result<Rotated, ChangeError> {
        let (token, record, replaced) =
            self.change(|document| document.rotate(id_or_name, expiry, UtcDateTime::now()))?;
        Ok(Rotated { token, record, replaced, durability: Durability::Confirmed })
    }

    /// Takes a rotation back, as [`FileTokenStore::undo_rotation`](crate::FileTokenStore::undo_rotation)
    /// does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed.
    #[expect(clippy::needless_pass_by_value, reason = "the new secret ends with it")]
    pub fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
        self.change(|document| document.undo_rotation(&rotated.record, &rotated.replaced))?;
        Ok(Durability::Confirmed)
    }

    /// Deletes a token, as [`FileTokenStore::delete`](crate::FileTokenStore::delete) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed.
    pub fn delete(&self, id_or_name: &str) -> Result<Deleted, ChangeError> {
        self.delete_many(&[id_or_name])
    }

    /// Deletes several tokens, or none of them if one cannot be found.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed.
    pub fn delete_many<S: AsRef<str>>(&self, ids_or_names: &[S]) -> Result<Deleted, ChangeError> {
        let records = self.change(|document| document.delete(ids_or_names))?;
        Ok(Deleted { records, durability: Durability::Confirmed })
    }

    /// Deletes every expired token.
    ///
    /// # Errors
    ///
    /// None, in memory. The other stores have the same signature.
    pub fn delete_expired(&self) -> Result<Deleted, ChangeError> {
        let records = self.change(|document| document.delete_expired(UtcDateTime::now()));
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

    /// Makes every look-up fail with this error. `None` makes look-ups work again.
    pub fn fail_with(&self, error: impl Into<Option<StoreError>>) {
        self.shared.write().unwrap_or_else(PoisonError::into_inner).failure = error.into();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Document) -> T) -> T {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut shared.document);
        shared.records = shared.document.records().cloned().collect();
        result
    }
}

impl TokenStore for MemoryTokenStore {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        Lookup::Ready(match &shared.failure {
            Some(error) => Err(error.clone()),
            None => Ok(shared.records.find(digest)),
        })
    }
}
