//! One writer at a time, in all processes.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::file::error::FileStoreError;
use crate::store::file::trust;

/// How often a writer that waits tries again. Every writer has the same chance each time, so that none
/// waits long while others work.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// How long a writer waits before it says so.
const NOTICE_AFTER: Duration = Duration::from_millis(200);

/// The store's lock, held until this is dropped.
pub(crate) struct StoreLock {
    file: File,
    path: PathBuf,
}

impl StoreLock {
    /// Locks the file `<store>.lock`, which is never deleted. The store's file itself cannot be the lock:
    /// each change replaces it, and a writer that waited for the old file would lose the other's update.
    ///
    /// `on_wait` is called if the lock is held for a noticeable time.
    pub(crate) fn acquire(
        store: &Path,
        timeout: Duration,
        on_wait: &dyn Fn(),
    ) -> Result<Self, FileStoreError> {
        let path = lock_path(store);
        let began = Instant::now();
        let mut has_noticed = false;
        loop {
            // Opened again each time: another file may have taken the place of the one that is locked.
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { file, path: path.clone() };
                    if lock.is_in_place() {
                        return Ok(lock);
                    }
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(source)) => {
                    return Err(FileStoreError::io("lock", &path, source));
                }
            }
            let waited = began.elapsed();
            let left = timeout.saturating_sub(waited);
            if left.is_zero() {
                return Err(FileStoreError::Locked { path, waited: timeout });
            }
            if waited >= NOTICE_AFTER && !has_noticed {
                has_noticed = true;
                on_wait();
            }
            thread::sleep(RETRY_INTERVAL.min(left));
        }
    }

    /// Whether the lock's file is still at its path. If it was removed, other writers lock another file.
    pub(crate) fn is_in_place(&self) -> bool {
        let held = self.file.metadata().ok();
        let found = fs::symlink_metadata(&self.path).ok();
        held.zip(found).is_some_and(|(held, found)| is_same_file(&held, &found))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

pub(crate) fn lock_path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

#[cfg(unix)]
fn is_same_file(held: &Metadata, found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    (held.dev(), held.ino()) == (found.dev(), found.ino())
}

/// An open lock file cannot be removed elsewhere: see `open`.
#[cfg(not(unix))]
fn is_same_file(_held: &Metadata, _found: &Metadata) -> bool {
    true
}

fn open(path: &Path) -> Result<File, FileStoreError> {
    let failed = |source| FileStoreError::io("open the lock file", path, source);
    let file = loop {
        match open_or_create(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => break result,
        }
        match open_or_create(path, true) {
            // Another writer has created it in the meantime.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => break result,
        }
    };
    let file = file.map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        let kind = io::ErrorKind::InvalidInput;
        return Err(failed(io::Error::new(kind, "it is not a regular file")));
    }
    match trust::owner_problem(path, &metadata) {
        Some(problem) => Err(FileStoreError::UntrustedLock { path: path.to_owned(), problem }),
        None => Ok(file),
    }
}

fn open_or_create(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(create);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::OFlags;

        // Do not follow a link, and do not wait for the other end of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt as _;

        // Others may read and write it, but not remove or rename it while it is open.
        const FILE_SHARE_READ_AND_WRITE: u32 = 1 | 2;
        options.share_mode(FILE_SHARE_READ_AND_WRITE);
    }
    let file = options.open(path)?;
    #[cfg(unix)]
    if create {
        // A umask may have taken bits from the mode.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(file)
}
