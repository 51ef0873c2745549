//! Reading a store's file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::document::Document;
use crate::store::file::error::FileStoreError;
use crate::store::file::fingerprint::Fingerprint;
use crate::store::file::location::directory_of;
use crate::store::file::{format, trust};

/// The largest file that is read, in bytes: 32 MiB, which is well over 100,000 tokens.
pub(crate) const MAX_SIZE: u64 = 32 * 1024 * 1024;

/// How long a partially written or missing file is retried before it counts as broken or absent.
pub(crate) const GRACE_PERIOD: Duration = Duration::from_millis(100);

/// How long to wait before a retry.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// An open file of the right kind, size, owner and mode.
pub(crate) struct StoreFile {
    file: File,
    fingerprint: Fingerprint,
}

impl StoreFile {
    /// Opens the store at `path`, whose links point to `target`. `None` if there is no file.
    ///
    /// The file is checked once it is open, because another file may take its name at any moment. For
    /// the same reason a link at `target` is an error: `target` was not a link when it was checked.
    pub(crate) fn open(path: &Path, target: &Path) -> Result<Option<Self>, FileStoreError> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;

            use rustix::fs::OFlags;

            // Opening a pipe would wait for a writer.
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
            options.custom_flags(flags.bits().cast_signed());
        }
        let file = match options.open(target) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            #[cfg(unix)]
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(FileStoreError::Moved { path: path.to_owned() });
            }
            Err(source) => return Err(FileStoreError::io("open", path, source)),
        };
        let metadata =
            file.metadata().map_err(|source| FileStoreError::io("read", path, source))?;
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&metadata) == 0 {
            return Err(FileStoreError::Detached { path: path.to_owned() });
        }
        trust::check_file(path, target, &metadata)?;
        let size = metadata.len();
        if size > MAX_SIZE {
            return Err(FileStoreError::TooLarge { path: path.to_owned(), size, limit: MAX_SIZE });
        }
        Ok(Some(Self { file, fingerprint: Fingerprint::of(&metadata) }))
    }

    /// The fingerprint of the file when it was opened.
    pub(crate) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Reads the whole file.
    pub(crate) fn read(self, path: &Path) -> Result<Vec<u8>, FileStoreError> {
        let failed = |source| FileStoreError::io("read", path, source);
        let size = self.fingerprint.size();
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
        (&self.file).take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
        let after = Fingerprint::of(&self.file.metadata().map_err(failed)?);
        if after == self.fingerprint && bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(FileStoreError::Changing { path: path.to_owned() })
        }
    }
}

/// The content of a store's file, and the fingerprint of the file that it was read from.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) document: Document,
    /// `None` if there is no file. The document is empty then.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether a retry is not expected to find anything else.
    is_final: bool,
}

/// Reads the store at `path`, whose links point to the path that `locate` returns.
///
/// A partially written or missing file is retried within the grace period. An editor may be about to put
/// the file back, and a change that took the store for empty would lose its tokens.
pub(crate) fn read_content(
    path: &Path,
    locate: impl Fn() -> Result<PathBuf, FileStoreError>,
) -> Result<Content, FileStoreError> {
    let began = Instant::now();
    loop {
        let is_last_attempt = began.elapsed() >= GRACE_PERIOD;
        let content = locate().and_then(|target| try_read(path, &target));
        if is_last_attempt || content.as_ref().is_ok_and(|content| content.is_final) {
            return content;
        }
        thread::sleep(RETRY_INTERVAL);
    }
}

fn try_read(path: &Path, target: &Path) -> Result<Content, FileStoreError> {
    let Some(file) = StoreFile::open(path, target)? else {
        // No editor is at work in a directory that does not exist.
        return Ok(Content { is_final: !directory_of(target).exists(), ..Content::default() });
    };
    let fingerprint = Some(file.fingerprint());
    let document = parse(path, &file.read(path)?)?;
    Ok(Content { document, fingerprint, is_final: true })
}

/// Parses the bytes of the store at `path`.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Document, FileStoreError> {
    format::parse(bytes).map_err(|error| FileStoreError::Format {
        path: path.to_owned(),
        line: error.line,
        column: error.column,
        problem: error.problem,
    })
}
