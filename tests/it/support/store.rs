//! Stores in temporary directories, hand-written files, and look-ups in them.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use opencode_auth::{
    ChangeError, FileStoreError, FileTokenStore, Lookup, LookupResult, NewToken, Permissions,
    StoreError, Token, TokenDigest, TokenRecord, TokenStore as _,
};
use tempfile::TempDir;
use time::UtcDateTime;

/// The name of the store's file in every test.
pub const FILE: &str = "auth-tokens.json";

/// A temporary directory for one store, removed after the test.
pub struct StoreDirectory(TempDir);

impl StoreDirectory {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// One below this directory.
    pub fn below(directory: &Path) -> Self {
        Self(TempDir::new_in(directory).unwrap())
    }

    /// A directory with this file in it, mode 0600.
    pub fn with(content: impl AsRef<[u8]>) -> Self {
        let directory = Self::new();
        write_private(&directory.file(), content);
        directory
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self) -> PathBuf {
        self.path().join(FILE)
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }

    pub fn open(&self) -> FileTokenStore {
        FileTokenStore::open(self.file()).unwrap()
    }

    /// The store without the wait for other processes' snapshots, for tests without other processes.
    pub fn open_quick(&self) -> FileTokenStore {
        FileTokenStore::options().freshness_window(Duration::ZERO).open(self.file()).unwrap()
    }

    /// The sorted names of the directory's entries.
    pub fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Writes a file as a store's file has to be: mode 0600.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    #[cfg(unix)]
    set_mode(path, 0o600);
}

#[cfg(unix)]
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Looks a token up and waits for the result.
pub fn find(store: &FileTokenStore, digest: &TokenDigest) -> LookupResult {
    match store.find(digest) {
        Lookup::Ready(result) => result,
        Lookup::Pending(future) => {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
        }
    }
}

/// Whether the store accepts the token now.
#[track_caller]
pub fn accepts(store: &FileTokenStore, token: &Token) -> bool {
    find(store, &token.digest()).unwrap().is_some()
}

/// The error of a store with this content. `open`, `list` and changes give the same one, and the file stays
/// unchanged.
#[track_caller]
pub fn refusal(content: impl AsRef<[u8]>) -> StoreError {
    let directory = StoreDirectory::new();
    // Made before the content is there, to see what a store says that was open.
    let store = directory.open_quick();
    write_private(&directory.file(), &content);
    let error = FileTokenStore::open(directory.file()).unwrap_err();
    assert!(directory.bytes() == content.as_ref(), "the file was written to");
    let shown = error.to_string();
    assert_eq!(store.list().unwrap_err().to_string(), shown, "by list");
    assert_eq!(store.create(NewToken::new()).unwrap_err().to_string(), shown, "by create");
    assert!(directory.bytes() == content.as_ref(), "the file was written to");
    error
}

/// What is wrong with the file, of an error that a store or a change of it returned.
#[track_caller]
pub fn fault<E: Error + 'static>(error: &E) -> &FileStoreError {
    let error: &(dyn Error + 'static) = error;
    let store_error = match error.downcast_ref() {
        Some(ChangeError::Store(error)) => Some(error),
        _ => error.downcast_ref::<StoreError>(),
    };
    store_error.and_then(StoreError::downcast_ref).unwrap_or_else(|| panic!("{error}"))
}

/// Opening a store with this content fails with this message about its format.
#[track_caller]
pub fn assert_refused(case: &str, content: impl AsRef<[u8]>, place: (usize, usize), problem: &str) {
    let error = refusal(content);
    let FileStoreError::Format { path, line, column, problem: found } = fault(&error) else {
        panic!("{case}: {error}")
    };
    assert_eq!(((*line, *column), found.to_string().as_str()), (place, problem), "{case}");
    assert_eq!(
        error.to_string(),
        format!(
            "failed to read the token store `{}`: line {line}, column {column}: {problem}; fix the \
             file, or move it away to begin with an empty store",
            path.display(),
        ),
        "{case}",
    );
}

/// Checks many cases at a time: a broken file is retried for 100 ms before it is an error.
pub fn side_by_side<C: Send>(
    cases: impl IntoIterator<Item = C, IntoIter: Send>,
    check: impl Fn(C) + Sync,
) {
    let cases = Mutex::new(cases.into_iter());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                while let Some(case) = next() {
                    check(case);
                }
            });
        }
    });
}

/// New tokens, as `create` would make them.
pub fn issue(count: usize) -> Vec<(Token, TokenRecord)> {
    let now = UtcDateTime::now();
    (0..count).map(|_| NewToken::new().issue(now).unwrap()).collect()
}

/// A store's file with these records, as another program might write it.
pub fn render<'r>(records: impl IntoIterator<Item = &'r TokenRecord>) -> String {
    let tokens: Vec<String> = records.into_iter().map(render_record).collect();
    format!("{{\"version\": 1, \"tokens\": [\n{}\n]}}\n", tokens.join(",\n"))
}

fn render_record(record: &TokenRecord) -> String {
    let mut shown = serde_json::to_value(record).unwrap();
    let fields = shown.as_object_mut().unwrap();
    fields.retain(|field, value| field != "name" || !value.is_null());
    fields.insert("digest".to_owned(), hex(record.digest()).into());
    shown.to_string()
}

/// A digest as a file contains it.
pub fn hex(digest: &TokenDigest) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest.as_bytes() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// What a token is, apart from its secret: how tests compare stores with models.
pub fn names(store: &FileTokenStore) -> Vec<String> {
    let records = store.list().unwrap();
    records.iter().map(|record| record.name().unwrap_or("-").to_owned()).collect()
}

/// A token with this name and these permissions.
pub fn named(name: &str) -> NewToken {
    NewToken::new().name(name).permissions(Permissions::READ)
}
