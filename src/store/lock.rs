//! One writer at a time, in all processes.

#[cfg(unix)]
use std::fs::{self, Metadata};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::error::{ChangeError, StoreError};

/// How long a writer waits before it says that it is waiting.
const PATIENCE: Duration = Duration::from_millis(200);

/// The store's lock, held until this is dropped.
pub(crate) struct StoreLock {
    #[cfg_attr(not(unix), expect(dead_code, reason = "held for the lock that goes with it"))]
    file: File,
    path: PathBuf,
}

impl StoreLock {
    /// Locks the file `<store>.lock`, which is never deleted. The data file itself cannot be the lock:
    /// each write replaces it, and a writer that waits for the old one loses the update of the new one.
    ///
    /// `on_wait` is called once if another process holds the lock for a noticeable time.
    pub(crate) fn acquire(
        store: &Path,
        timeout: Duration,
        on_wait: &dyn Fn(),
    ) -> Result<Self, ChangeError> {
        let mut path = path_beside(store);
        let began = Instant::now();
        loop {
            let file = open(&path)?;
            let file =
                lock(file, &path, timeout.saturating_sub(began.elapsed()), timeout, on_wait)?;
            let lock = Self { file, path };
            if lock.is_at_its_path() {
                return Ok(lock);
            }
            path = lock.path;
        }
    }

    /// Whether others who lock the store meet this lock. They do not if somebody has removed the file.
    pub(crate) fn is_at_its_path(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;

            let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
            let held = self.file.metadata().map(identity).ok();
            let there = fs::symlink_metadata(&self.path).map(identity).ok();
            held.is_some() && held == there
        }
        // Elsewhere a file that is open cannot be removed.
        #[cfg(not(unix))]
        true
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(
    file: File,
    path: &Path,
    wait: Duration,
    timeout: Duration,
    on_wait: &dyn Fn(),
) -> Result<File, ChangeError> {
    let failed = |source| StoreError::io("lock", path, source);
    match retry_interrupted(|| file.try_lock().map_err(io_error)) {
        Ok(()) => return Ok(file),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(failed(error).into()),
    }
    // A blocked thread is served in turn, where one that polls can starve. If it gets the lock when
    // nobody waits for it any more, the lock goes with the channel.
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("opencode-auth-lock".to_owned())
        .spawn(move || sender.send(retry_interrupted(|| file.lock()).map(|()| file)))
        .map_err(failed)?;
    let patience = PATIENCE.min(wait);
    let outcome = receiver.recv_timeout(patience).or_else(|_| {
        on_wait();
        receiver.recv_timeout(wait.saturating_sub(patience))
    });
    match outcome {
        Ok(result) => Ok(result.map_err(failed)?),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(ChangeError::Locked { path: path.to_owned(), waited: timeout })
        }
    }
}

pub(crate) fn path_beside(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::OFlags;

        // Not through a link, and without waiting for the other end of a pipe.
        options.mode(0o600).custom_flags(
            (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed(),
        );
    }
    let file =
        options.open(path).map_err(|source| StoreError::io("open the lock file", path, source))?;
    let is_file = file
        .metadata()
        .map_err(|source| StoreError::io("read the lock file", path, source))?
        .is_file();
    if !is_file {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(StoreError::io("open the lock file", path, source));
    }
    Ok(file)
}

fn io_error(error: TryLockError) -> io::Error {
    match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
    }
}

fn retry_interrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
