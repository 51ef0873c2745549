//! Tokens in a file.

mod access;
mod error;
mod fingerprint;
pub(crate) mod format;
mod location;
mod lock;
mod read;
mod refresh;
mod replace;
mod trust;
mod update;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use time::UtcDateTime;

pub use self::error::{FileMode, FileStoreError, TrustProblem};
pub use self::format::FormatProblem;
use self::location::SeenDirectory;
#[cfg(feature = "cli")]
pub(crate) use self::location::absolute_path;
#[cfg(feature = "cli")]
pub(crate) use self::lock::lock_path;
use self::read::read_content;
#[cfg(feature = "cli")]
pub(crate) use self::update::other_names;
use self::update::{Options, update};
use crate::record::{Expiry, NewToken, TokenRecord};
use crate::store::change::{ChangeError, Created, Deleted, Durability, Rotated};
use crate::store::document::Document;
use crate::store::{LeasedSnapshot, Lookup, StoreError, TokenStore};
use crate::token::TokenDigest;

const DEFAULT_WINDOW: Duration = Duration::from_millis(10);
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Tokens in a file that several processes read and write: a server, and the commands that manage it.
///
/// A cheap handle: clones share one view of the file. A host keeps one and gives one to the
/// [`AuthLayer`](crate::AuthLayer).
///
/// # Freshness
///
/// A token that was deleted or rotated away is refused by the first request that starts after
/// [`delete`](Self::delete), in whichever process, returned. A new token is accepted from then on. This
/// holds at no cost per request: the file is looked at once in 10 ms
/// ([`freshness_window`](FileTokenStoreOptions::freshness_window)), and a writer returns only after that
/// long.
///
/// A file that is edited by hand is seen with the next look. While it cannot be read, no request is
/// decided by what it said before: the edit may be a revocation. Requests wait for up to 100 ms, because
/// editors and `cp` leave a file torn for a moment; after that, every token is answered 503 until the
/// file is good again. A file that is missing is an empty store, in which no token is valid.
///
/// # Blocking
///
/// `create`, `rotate` and the `delete` family block the thread: for the freshness window at least, for
/// the disk, and up to 10 s for the lock. A file that is torn gets 100 ms to settle, from them and from
/// `open` and `list`; one that is missing gets them too, except from `open`. Asynchronous hosts call all of
/// these in `tokio::task::spawn_blocking`. Look-ups never block a runtime's worker for longer than a small
/// file takes to read.
///
/// # Security
///
/// The file and its directory must belong to this process's user or to root; the file must not be
/// writable by anyone else, and the directory not by everybody, unless it is sticky as `/tmp` is; otherwise
/// the file is not read. The same holds for each link that leads to it and the link's directory. The
/// promises need a local file system: network file systems may show an old file for seconds.
#[derive(Clone)]
pub struct FileTokenStore {
    path: Arc<Path>,
    directory: Arc<SeenDirectory>,
    snapshot: LeasedSnapshot,
    options: FileTokenStoreOptions,
}

impl FileTokenStore {
    /// Opens the default store: the file that `OPENCODE_AUTH_TOKENS` names, else
    /// `opencode/auth-tokens.json` in `$XDG_CONFIG_HOME` or in `~/.config`. A file that does not exist
    /// is an empty store; the first [`create`](Self::create) makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file's place is not known, or the file cannot be read, parsed or trusted.
    pub fn open_default() -> Result<Self, StoreError> {
        Self::options().open_default()
    }

    /// Opens the store at `path`. A relative path is made absolute at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be read, parsed or trusted, or if `path` has a token in it or a
    /// slash at its end.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::options().open(path)
    }

    /// Opens a store with other than the default options.
    pub fn options() -> FileTokenStoreOptions {
        FileTokenStoreOptions::default()
    }

    /// The path of the default store, whether or not there is a file.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::NoHome`], [`FileStoreError::NotAbsolute`], or an error as of [`open`](Self::open) for a
    /// path that cannot be one.
    pub fn default_path() -> Result<PathBuf, StoreError> {
        Ok(self::location::default_path()?)
    }

    /// Everything for which the file at `path` would not be trusted, where [`open`](Self::open) stops at
    /// the first: for a command that tells people what to mend. A file that does not exist is no problem.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Io`] if the file or its directory cannot be looked at, and
    /// [`FileStoreError::PathHoldsToken`].
    pub fn trust_problems(path: impl AsRef<Path>) -> Result<Vec<TrustProblem>, StoreError> {
        Ok(self::trust::problems(&self::location::absolute_path(path.as_ref())?)?)
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a token. The answer holds the only copy of its secret.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a description is made where it is used, and used up"
    )]
    pub fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
        self.create_and(&new, || (), |created| created)
    }

    /// Gives a token a new secret. The old secret stops working. Id, name and permissions stay. An expiry
    /// that was given as a date stays, and a lifetime starts again. `id_or_name` is understood as by
    /// [`delete`](Self::delete).
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then. [`ChangeError::Expired`] if the token is expired:
    /// [`rotate_with_expiry`](Self::rotate_with_expiry) revives it.
    pub fn rotate(&self, id_or_name: &str) -> Result<Rotated, ChangeError> {
        self.rotate_and(id_or_name, None, || (), |rotated| rotated)
    }

    /// Gives a token a new secret, as [`rotate`](Self::rotate) does, and a new expiry.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub fn rotate_with_expiry(
        &self,
        id_or_name: &str,
        expiry: Expiry,
    ) -> Result<Rotated, ChangeError> {
        self.rotate_and(id_or_name, Some(expiry), || (), |rotated| rotated)
    }

    /// Takes a rotation back, when its new secret could not be handed over: the old secret works again,
    /// until it expires as it would have, and the new one stops.
    ///
    /// ```
    /// use opencode_auth::{FileTokenStore, NewToken};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let store = FileTokenStore::open(directory.path().join("auth-tokens.json"))?;
    /// let created = store.create(NewToken::new().name("ci"))?;
    /// let rotated = store.rotate("ci")?;
    /// store.undo_rotation(rotated)?;
    /// assert_eq!(store.list()?, [created.record]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then. [`ChangeError::NotFound`] if the token is not any more
    /// as the rotation left it: somebody has deleted, rotated or edited it since.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the new secret is good for nothing any more, and is wiped"
    )]
    pub fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
        let ((), durability) =
            self.change(|document, _| document.undo_rotation(&rotated.record, &rotated.replaced))?;
        Ok(durability)
    }

    /// Deletes the token with this id. If no token has it, deletes the one token that has this name or an id
    /// that begins with this text of at least 6 characters. Servers refuse the token from now on and end its
    /// open streams.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub fn delete(&self, id_or_name: &str) -> Result<Deleted, ChangeError> {
        self.delete_many(&[id_or_name])
    }

    /// Deletes several tokens, or none of them if one cannot be found.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub fn delete_many<S: AsRef<str>>(&self, ids_or_names: &[S]) -> Result<Deleted, ChangeError> {
        if ids_or_names.is_empty() {
            return Ok(Deleted::none());
        }
        let (records, durability) = self.change(|document, _| document.delete(ids_or_names))?;
        Ok(Deleted { records, durability })
    }

    /// Deletes every token that is expired.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub fn delete_expired(&self) -> Result<Deleted, ChangeError> {
        let now = UtcDateTime::now();
        if !self.list()?.iter().any(|record| record.is_expired(now)) {
            return Ok(Deleted::none());
        }
        let (records, durability) =
            self.change(|document, now| Ok(document.delete_expired(now)))?;
        Ok(Deleted { records, durability })
    }

    /// Every token of the store, expired ones included, in the order of the file. Reads the file anew,
    /// without a lock; it may be on a read-only file system.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be read, parsed or trusted.
    pub fn list(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let content = read_content(self.path(), || trust::resolve(self.path()))?;
        Ok(content.document.entries.into_iter().map(|entry| entry.record).collect())
    }

    /// Creates a token. `before` is called right before the change. `then` gets the token before the
    /// freshness window has passed, so that a command can print it at once.
    pub(crate) fn create_and<T>(
        &self,
        new: &NewToken,
        before: impl Fn(),
        then: impl FnOnce(Created) -> T,
    ) -> Result<T, ChangeError> {
        self.change_and(
            |document, now| {
                before();
                document.create(new, now)
            },
            |(token, record), durability| then(Created { token, record, durability }),
        )
    }

    /// Rotates a token, with `before` and `then` as in [`create_and`](Self::create_and).
    pub(crate) fn rotate_and<T>(
        &self,
        id_or_name: &str,
        expiry: Option<Expiry>,
        before: impl Fn(),
        then: impl FnOnce(Rotated) -> T,
    ) -> Result<T, ChangeError> {
        self.change_and(
            |document, now| {
                before();
                document.rotate(id_or_name, expiry, now)
            },
            |(token, record, replaced), durability| {
                then(Rotated { token, record, replaced, durability })
            },
        )
    }

    /// Changes the file, and returns when every request that starts from then on sees the change.
    fn change<T>(
        &self,
        change: impl Fn(&mut Document, UtcDateTime) -> Result<T, ChangeError>,
    ) -> Result<(T, Durability), ChangeError> {
        self.change_and(change, |outcome, durability| (outcome, durability))
    }

    /// Changes the file, and calls `then` before it waits for the freshness window.
    fn change_and<T, R>(
        &self,
        change: impl Fn(&mut Document, UtcDateTime) -> Result<T, ChangeError>,
        then: impl FnOnce(T, Durability) -> R,
    ) -> Result<R, ChangeError> {
        let options = Options {
            directory: &self.directory,
            timeout: self.options.lock_timeout,
            on_wait: &*self.options.on_lock_wait,
        };
        let updated = update(self.path(), &options, change)?;
        let outcome = then(updated.outcome, updated.durability);
        // A snapshot from before the change may decide requests for this long.
        thread::sleep(self.snapshot.lease().saturating_sub(updated.replaced_at.elapsed()));
        Ok(outcome)
    }
}

impl TokenStore for FileTokenStore {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        self.snapshot.find(digest)
    }
}

impl fmt::Debug for FileTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTokenStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// How a [`FileTokenStore`] is opened.
#[derive(Clone)]
#[must_use]
pub struct FileTokenStoreOptions {
    window: Duration,
    lock_timeout: Duration,
    on_lock_wait: Arc<dyn Fn() + Send + Sync>,
}

impl FileTokenStoreOptions {
    /// How long one look at the file may decide requests, 10 ms by default, and how long a change takes
    /// at least.
    ///
    /// # Security
    ///
    /// The promise of [freshness](FileTokenStore#freshness) holds between processes that have the same
    /// window, or a longer one where tokens are deleted. A server with a longer window than the command
    /// that deletes may accept a revoked token for the difference.
    pub fn freshness_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How long a change waits for the lock before it is [`FileStoreError::Locked`]: 10 s by default.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// What to do, once for each change, when somebody else has held the lock for 200 ms: a
    /// command-line program says that it waits.
    pub fn on_lock_wait(mut self, notice: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_lock_wait = Arc::new(notice);
        self
    }

    /// Opens the store at `path`. A relative path is made absolute at once.
    ///
    /// # Errors
    ///
    /// As [`FileTokenStore::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<FileTokenStore, StoreError> {
        let path = self::location::absolute_path(path.as_ref())?;
        let directory = Arc::default();
        let snapshot = self::refresh::open(path.clone(), Arc::clone(&directory), self.window)?;
        Ok(FileTokenStore { path: path.into(), directory, snapshot, options: self })
    }

    /// Opens the default store.
    ///
    /// # Errors
    ///
    /// As [`FileTokenStore::open_default`].
    pub fn open_default(self) -> Result<FileTokenStore, StoreError> {
        self.open(self::location::default_path()?)
    }
}

impl Default for FileTokenStoreOptions {
    fn default() -> Self {
        Self { window: DEFAULT_WINDOW, lock_timeout: LOCK_TIMEOUT, on_lock_wait: Arc::new(|| ()) }
    }
}

impl fmt::Debug for FileTokenStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTokenStoreOptions")
            .field("freshness_window", &self.window)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
