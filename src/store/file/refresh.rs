//! Reading a store's file again, for the requests that a server decides.
//!
//! A refresh opens the file and takes its fingerprint. It reads the bytes if the fingerprint has changed
//! or is racy, and parses them if they differ. It runs on a thread of its own: a disk that
//! hangs must not stop the runtime's workers, and the runtime's blocking pool may be full of tasks that
//! wait for this very refresh.

use std::io;
use std::mem::{Discriminant, discriminant};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::shell::escape_path;
use crate::store::file::error::FileStoreError;
use crate::store::file::fingerprint::Fingerprint;
use crate::store::file::location::{SeenDirectory, directory_of};
use crate::store::file::read::{GRACE_PERIOD, RETRY_INTERVAL, StoreFile, parse};
use crate::store::file::trust;
use crate::store::{LeasedSnapshot, Records, Refresh, Refreshed, Refresher, StoreError};

/// Reads the store at `path` for the first time. A missing file is an empty store, at once.
pub(crate) fn open(
    path: PathBuf,
    directory: Arc<SeenDirectory>,
    window: Duration,
) -> Result<LeasedSnapshot, StoreError> {
    let name = escape_path(&path);
    let reader = Arc::new(Mutex::new(Reader { path, directory, last: None, outcome: None }));
    let snapshot = LeasedSnapshot::new(&*name, window, FileRefresher(Arc::clone(&reader)));
    if let Some(mut refresh) = snapshot.begin_refresh() {
        let found = lock(&reader).read(&mut refresh);
        match &found {
            Refreshed::Records(records) => {
                tracing::info!(store = name, tokens = records.len(), "token store is open");
            }
            Refreshed::Missing => {
                tracing::warn!(store = name, "token store is missing: every request is denied");
            }
            Refreshed::Failed(error) => return Err(error.clone()),
        }
        refresh.finish(found);
    }
    Ok(snapshot)
}

struct FileRefresher(Arc<Mutex<Reader>>);

impl Refresher for FileRefresher {
    fn start(&self, refresh: Refresh) {
        let reader = Arc::clone(&self.0);
        let refresh = Arc::new(Mutex::new(Some(refresh)));
        let taken = Arc::clone(&refresh);
        let run = move || {
            let Some(mut refresh) = lock(&taken).take() else { return };
            let found = lock(&reader).read(&mut refresh);
            refresh.finish(found);
        };
        let started = thread::Builder::new().name("opencode-auth-refresh".to_owned()).spawn(run);
        let Err(error) = started else { return };
        let refresh = lock(&refresh).take();
        if let Some(refresh) = refresh {
            let found = lock(&self.0).read_without_thread(error);
            refresh.finish(found);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A refresh that panicked has published nothing, and the next one reads the file again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one store's file, and remembers what it found.
struct Reader {
    path: PathBuf,
    directory: Arc<SeenDirectory>,
    last: Option<LastRead>,
    /// What the last refresh found.
    outcome: Option<Discriminant<Refreshed>>,
}

/// The content of the file when it was last good.
struct LastRead {
    fingerprint: Fingerprint,
    /// Whether the fingerprint was racy *when the bytes were read*. If it was, a change right after that
    /// need not show in it, however old it is now.
    was_racy: bool,
    bytes: Vec<u8>,
    records: Arc<Records>,
}

impl Reader {
    /// Reads the file. A partially written or missing file is retried within the grace period, unless
    /// the last refresh found the same.
    fn read(&mut self, refresh: &mut Refresh) -> Refreshed {
        let began = Instant::now();
        loop {
            refresh.begin_again();
            let found = self.read_once().unwrap_or_else(|error| Refreshed::Failed(error.into()));
            if self.is_final(&found) || began.elapsed() >= GRACE_PERIOD {
                self.outcome = Some(discriminant(&found));
                return found;
            }
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Reads the file once, on a request's thread, because there is no other thread to be had. A file
    /// that would have to be retried counts as unreadable.
    fn read_without_thread(&mut self, error: io::Error) -> Refreshed {
        match self.read_once() {
            Ok(found) if self.is_final(&found) => found,
            _ => {
                let action = "start a thread to read";
                Refreshed::Failed(FileStoreError::io(action, &self.path, error).into())
            }
        }
    }

    /// Whether a retry is not expected to find anything else.
    fn is_final(&self, found: &Refreshed) -> bool {
        match (found, self.outcome) {
            (Refreshed::Records(_), _) | (Refreshed::Missing, None) => true,
            (_, outcome) => outcome == Some(discriminant(found)),
        }
    }

    fn read_once(&mut self) -> Result<Refreshed, FileStoreError> {
        let now = SystemTime::now();
        let target = trust::resolve(&self.path)?;
        let Some(file) = StoreFile::open(&self.path, &target)? else {
            self.directory.exists(directory_of(&target))?;
            return Ok(Refreshed::Missing);
        };
        self.directory.mark();
        let fingerprint = file.fingerprint();
        if let Some(last) = &self.last
            && !last.was_racy
            && last.fingerprint == fingerprint
        {
            return Ok(Refreshed::Records(Arc::clone(&last.records)));
        }
        let bytes = file.read(&self.path)?;
        let records = match &self.last {
            Some(last) if last.bytes == bytes => Arc::clone(&last.records),
            _ => Arc::new(parse(&self.path, &bytes)?.into_records()),
        };
        let was_racy = fingerprint.is_racy(now);
        self.last = Some(LastRead { fingerprint, was_racy, bytes, records: Arc::clone(&records) });
        Ok(Refreshed::Records(records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NewToken;
    use crate::store::{FileTokenStore, Lookup, LookupResult, TokenStore as _};
    use crate::token::TokenDigest;

    /// A store with one token, its reader, and a snapshot that every look-up has to refresh.
    fn store() -> (tempfile::TempDir, Arc<Mutex<Reader>>, LeasedSnapshot, TokenDigest) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let digest =
            FileTokenStore::open(&path).unwrap().create(NewToken::new()).unwrap().token.digest();
        let directory_seen = Arc::default();
        let reader = Reader { path, directory: directory_seen, last: None, outcome: None };
        let reader = Arc::new(Mutex::new(reader));
        let refresher = FileRefresher(Arc::clone(&reader));
        let snapshot = LeasedSnapshot::new("test", Duration::ZERO, refresher);
        (directory, reader, snapshot, digest)
    }

    fn wait(lookup: Lookup) -> LookupResult {
        let Lookup::Pending(lookup) = lookup else { panic!("a refresh takes a thread") };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(lookup)
    }

    #[test]
    fn a_hanging_disk_blocks_no_worker_and_is_an_error_in_time() {
        let (_directory, reader, snapshot, digest) = store();
        // The thread of the refresh waits for this as it would for the disk.
        let stalled = lock(&reader);
        let began = Instant::now();
        let first = snapshot.find(&digest);
        let second = snapshot.find(&digest);
        assert!(began.elapsed() < Duration::from_millis(400), "a worker was held up");
        for lookup in [first, second] {
            let error = wait(lookup).unwrap_err().to_string();
            assert!(error.ends_with("the store has not answered for 500 ms"), "{error}");
        }
        drop(stalled);
        assert!(wait(snapshot.find(&digest)).unwrap().is_some());
    }

    #[test]
    fn without_a_thread_a_good_file_is_read_and_another_is_an_error() {
        let (_directory, reader, _snapshot, _digest) = store();
        let mut reader = lock(&reader);
        let no_thread = || io::ErrorKind::WouldBlock.into();
        let Refreshed::Records(records) = reader.read_without_thread(no_thread()) else {
            panic!("it is good")
        };
        assert_eq!(records.len(), 1);
        std::fs::write(&reader.path, "torn").unwrap();
        let Refreshed::Failed(error) = reader.read_without_thread(no_thread()) else {
            panic!("it is torn")
        };
        assert!(error.to_string().starts_with("failed to start a thread to read"), "{error}");
    }
}
