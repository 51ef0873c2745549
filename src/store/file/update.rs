//! A change of a store's file.

use std::path::Path;
use std::time::{Duration, Instant};

use time::UtcDateTime;

use crate::shell::escape_path;
use crate::store::change::{ChangeError, Durability};
use crate::store::document::Document;
use crate::store::file::error::FileStoreError;
use crate::store::file::fingerprint::Fingerprint;
use crate::store::file::location::{SeenDirectory, directory_of};
use crate::store::file::lock::StoreLock;
use crate::store::file::read::{MAX_SIZE, read_content};
use crate::store::file::replace::{Replaced, create_directory, replace};
use crate::store::file::{format, trust};

/// How often a change starts over because the file was edited meanwhile.
pub(super) const ATTEMPTS: usize = 10;

/// What a change has to know of its store.
pub(crate) struct Options<'a> {
    pub(crate) directory: &'a SeenDirectory,
    /// How long to wait for the lock.
    pub(crate) timeout: Duration,
    /// Called if another process holds the lock for a noticeable time.
    pub(crate) on_wait: &'a dyn Fn(),
}

/// A change that readers see from now on.
pub(crate) struct Updated<T> {
    pub(crate) outcome: T,
    pub(crate) replaced_at: Instant,
    pub(crate) durability: Durability,
}

/// Changes the store at `path`: find its file, lock, read, change, write a new file, check that lock,
/// links and file are still as they were, rename.
pub(crate) fn update<T>(
    path: &Path,
    options: &Options<'_>,
    change: impl Fn(&mut Document, UtcDateTime) -> Result<T, ChangeError>,
) -> Result<Updated<T>, ChangeError> {
    // A link at `path` stays: a dotfile manager may have put it there.
    let target = trust::resolve(path)?;
    let directory = directory_of(&target);
    if !options.directory.exists(directory)? {
        trust::check_new_directory(path, directory)?;
        // A change that fails on an empty store creates nothing, not even a directory.
        change(&mut Document::default(), UtcDateTime::now())?;
    }
    let new_directories = create_directory(directory)?;
    options.directory.exists(directory)?;
    let lock = StoreLock::acquire(&target, options.timeout, options.on_wait)?;

    // An edit by hand takes no lock. It may be a revocation, so it is not overwritten.
    for _ in 0..ATTEMPTS {
        let mut content = read_content(&target, || Ok(target.clone()))?;
        let outcome = change(&mut content.document, UtcDateTime::now())?;
        let text = format::serialize(&content.document)
            .map_err(|error| FileStoreError::io("write", &target, error))?;
        let size = text.len() as u64;
        if size > MAX_SIZE {
            return Err(FileStoreError::TooLarge { path: target, size, limit: MAX_SIZE }.into());
        }
        let is_unchanged = || {
            if !lock.is_in_place() {
                return Err(FileStoreError::Moved { path: lock.path().to_owned() });
            }
            if trust::resolve(path)? != target {
                return Err(FileStoreError::Moved { path: path.to_owned() });
            }
            Ok(Fingerprint::at(&target)? == content.fingerprint)
        };
        let other_names = other_names(&target);
        let replaced = replace(&target, &text, &new_directories, is_unchanged)?;
        if let Some(Replaced { at, durability }) = replaced {
            if other_names > 0 {
                tracing::warn!(
                    store = escape_path(path),
                    names = other_names,
                    "token store has another name (hard link), which keeps the old tokens"
                );
            }
            return Ok(Updated { outcome, replaced_at: at, durability });
        }
    }
    Err(FileStoreError::Changing { path: target }.into())
}

/// How many other names (hard links) the file has.
pub(crate) fn other_names(target: &Path) -> u64 {
    #[cfg(unix)]
    {
        let metadata = std::fs::symlink_metadata(target);
        metadata.ok().filter(std::fs::Metadata::is_file).map_or(0, |metadata| {
            std::os::unix::fs::MetadataExt::nlink(&metadata).saturating_sub(1)
        })
    }
    #[cfg(not(unix))]
    {
        let _ = target;
        0
    }
}
