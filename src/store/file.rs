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

#[cfg(feature = "cli")]
pub(crate) use self::error::BUILT_WITHOUT_POSTGRES;
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
/// Clones are cheap and share one snapshot of the file. A host keeps one and gives one to the
/// [`AuthLayer`](crate::AuthLayer).
///
/// # Freshness
///
/// Once [`delete`](Self::delete) has returned, in any process, every request that starts with that token is
/// denied. Once [`create`](Self::create) has returned, every request that starts with the new token is accepted. The
/// file is read at most once in 10 ms ([`freshness_window`](FileTokenStoreOptions::freshness_window)), and a change
/// returns only after that time.
///
/// An edit by hand is seen by the next refresh. While the file cannot be read, its old content decides
/// nothing, because the edit may be a revocation. A partially written or missing file is retried for
/// 100 ms. After that, a broken file means 503 for every token, and a missing file is an empty store.
///
/// # Blocking
///
/// `create`, `rotate` and the `delete` family block the thread for the freshness window, for the disk,
/// and for up to 10 s while another process holds the lock. In asynchronous code, call them in
/// `tokio::task::spawn_blocking`. Look-ups never touch the disk on the caller's thread: the file is read
/// on a thread of its own. A request that waits 500 ms for it gets a 503.
///
/// # Security
///
/// The file and its directory must belong to this process's user or to root. Nobody else may be able to
/// write the file, and not everybody the directory, unless it is sticky as `/tmp` is. The same holds for
/// each link to the file and its directory. A change keeps who can read the file (mode, group and access
/// control list), or changes nothing.
///
/// The promises need a local file system. Network file systems may show an old file for seconds. Shared
/// folders of virtual machines and FUSE count as network file systems.
///
/// # Containers and Kubernetes
///
/// - Mount the directory of the file, not the file. A change replaces the file, and a file that is mounted
///   by itself stays the old one. Once the old one is deleted everywhere else, requests get a 503.
///   If it has another name (a hard link), this cannot be seen.
/// - Volumes of Secrets and projected volumes work. The kubelet updates them after a delay of its own, a
///   minute or so; a revocation holds within 10 ms of that update. With `subPath` the file is never
///   updated: do not use it.
/// - The volume of a `ConfigMap` has mode 0777 and is not trusted; `chmod` has no effect there. Use a Secret or
///   a projected volume.
/// - `fsGroup` makes a writable volume writable by its group on each mount, and then the file is not trusted.
///   Set `fsGroupChangePolicy: OnRootMismatch`, or no `fsGroup`.
/// - In a user namespace, owners that it does not map all look like user 65534, and are not trusted.
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

    /// Opens a store with options of your own.
    pub fn options() -> FileTokenStoreOptions {
        FileTokenStoreOptions::default()
    }

    /// The path of the default store, whether or not there is a file.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::NoHome`], [`FileStoreError::NotAbsolute`], or the error that [`open`](Self::open) returns for
    /// such a path.
    pub fn default_path() -> Result<PathBuf, StoreError> {
        Ok(self::location::default_path()?)
    }

    /// Lists every reason not to trust the file at `path`, for a command that tells people what to fix.
    /// [`open`](Self::open) stops at the first. A file that does not exist is no problem.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::Io`] if the file or its directory cannot be inspected, and
    /// [`FileStoreError::PathHoldsToken`].
    pub fn trust_problems(path: impl AsRef<Path>) -> Result<Vec<TrustProblem>, StoreError> {
        Ok(self::trust::problems(&self::location::absolute_path(path.as_ref())?)?)
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a token. The result contains the only copy of its secret.
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

    /// Undoes a rotation whose new secret could not be delivered. The old secret works again, with its old
    /// expiry, and the new one stops working.
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
    /// [`ChangeError`]; nothing was changed then. [`ChangeError::NotFound`] if the token was deleted, rotated or
    /// edited since the rotation.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the new secret is of no use now, and is wiped"
    )]
    pub fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
        let ((), durability) =
            self.change(|document, _| document.undo_rotation(&rotated.record, &rotated.replaced))?;
        Ok(durability)
    }

    /// Deletes the token with this id. If no token has it, deletes the one token that has this name or an id
    /// that begins with this text of at least 6 characters. Servers deny the token from now on and end its
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
    /// How long one refresh of the file may decide requests, 10 ms by default, and how long a change takes
    /// at least.
    ///
    /// # Security
    ///
    /// The promise of [freshness](FileTokenStore#freshness) is kept between processes that have the same
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

    /// Calls this once for each change that has waited 200 ms for the lock, so that a command can say that it
    /// waits.
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
