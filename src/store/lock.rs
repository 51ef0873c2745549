//! One writer at a time, in all processes.

#[cfg(unix)]
use std::fs;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
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
    /// `on_wait` is called if somebody else holds the lock for a noticeable time.
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
            if began.elapsed() >= timeout {
                return Err(StoreError::Moved { path: lock.path }.into());
            }
            path = lock.path;
        }
    }

    /// Whether others who lock the store meet this lock. They do not if somebody has removed the file.
    pub(crate) fn is_at_its_path(&self) -> bool {
        #[cfg(unix)]
        {
            let identity = |metadata: &Metadata| identity_of(metadata, &self.path);
            let held = self.file.metadata().as_ref().map(identity).ok();
            let there = fs::symlink_metadata(&self.path).as_ref().map(identity).ok();
            held.is_some() && held == there
        }
        // It is opened so that nobody can remove it: see `open`.
        #[cfg(not(unix))]
        true
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A thread that waits for a lock, and for whose answer nobody waits any more: a blocked thread cannot
/// be called off. Whoever wants this lock next takes the thread over, so that a lock that is held for
/// long does not fill the process with them.
struct Abandoned {
    lock_file: Identity,
    thread: ThreadId,
    answer: Receiver<io::Result<File>>,
}

static ABANDONED: Mutex<Vec<Abandoned>> = Mutex::new(Vec::new());

fn abandoned() -> MutexGuard<'static, Vec<Abandoned>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
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
    // Of this very file: another one that was at the path before may be held for ever.
    let lock_file = identity_of(&file.metadata().map_err(failed)?, path);
    let (thread, answer) = match take_over(&lock_file) {
        Some(Abandoned { thread, answer, .. }) => (thread, answer),
        None => wait_on_a_thread(file).map_err(failed)?,
    };
    let patience = PATIENCE.min(wait);
    let outcome = answer.recv_timeout(patience).or_else(|_| {
        if wait > PATIENCE {
            on_wait();
        }
        answer.recv_timeout(wait.saturating_sub(patience))
    });
    if let Ok(result) = outcome {
        return Ok(result.map_err(failed)?);
    }
    let mut abandoned = abandoned();
    match answer.try_recv() {
        // It came at the last moment.
        Ok(result) => return Ok(result.map_err(failed)?),
        Err(TryRecvError::Empty) => abandoned.push(Abandoned { lock_file, thread, answer }),
        // The thread is no more, and there is nothing to take over.
        Err(TryRecvError::Disconnected) => {}
    }
    Err(ChangeError::Locked { path: path.to_owned(), waited: timeout })
}

fn take_over(lock_file: &Identity) -> Option<Abandoned> {
    let mut abandoned = abandoned();
    let position = abandoned.iter().position(|waiting| waiting.lock_file == *lock_file)?;
    Some(abandoned.swap_remove(position))
}

/// A blocked thread is served in turn, where one that polls can starve.
fn wait_on_a_thread(file: File) -> io::Result<(ThreadId, Receiver<io::Result<File>>)> {
    let (sender, answer) = mpsc::sync_channel(1);
    let wait = move || {
        let locked = retry_interrupted(|| file.lock()).map(|()| file);
        let mut abandoned = abandoned();
        let this = thread::current().id();
        match abandoned.iter().position(|waiting| waiting.thread == this) {
            // Nobody wants the lock any more: it goes with the file.
            Some(position) => drop(abandoned.swap_remove(position)),
            None => drop(sender.send(locked)),
        }
    };
    let thread = thread::Builder::new().name("opencode-auth-lock".to_owned()).spawn(wait)?;
    Ok((thread.thread().id(), answer))
}

/// What tells a lock's file from another one that is at its path later.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity_of(metadata: &Metadata, _path: &Path) -> Identity {
    use std::os::unix::fs::MetadataExt as _;

    (metadata.dev(), metadata.ino())
}

/// Its path, for it cannot be removed while it is open.
#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity_of(_metadata: &Metadata, path: &Path) -> Identity {
    path.to_owned()
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
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt as _;

        // Others may read and write it, but not remove or rename it while it is open.
        const FILE_SHARE_READ_AND_WRITE: u32 = 1 | 2;
        options.share_mode(FILE_SHARE_READ_AND_WRITE);
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
