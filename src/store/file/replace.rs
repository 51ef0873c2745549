//! Replacing a file as a whole: a reader sees the old content or the new one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::shell::escape_path;
use crate::store::change::Durability;
use crate::store::file::access;
use crate::store::file::error::FileStoreError;
use crate::store::file::location::directory_of;

/// The name of a temporary file is `.<store>.opencode-auth-<random>.tmp`. Other programs use no such name.
const TEMPORARY_INFIX: &str = ".opencode-auth-";
const TEMPORARY_RANDOM: usize = 12;
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A replacement that every reader sees from now on.
pub(crate) struct Replaced {
    pub(crate) at: Instant,
    pub(crate) durability: Durability,
}

/// Replaces the file `target` by a new one with this content: write a temporary file beside it, sync,
/// rename. The caller holds the store's lock.
///
/// `may_replace` is called last, right before the rename. With an error or `None`, nothing was replaced.
pub(crate) fn replace(
    target: &Path,
    content: &[u8],
    new_directories: &[PathBuf],
    may_replace: impl FnOnce() -> Result<bool, FileStoreError>,
) -> Result<Option<Replaced>, FileStoreError> {
    let directory = directory_of(target);
    let prefix = temporary_prefix(target);
    remove_leftovers(directory, &prefix);

    let mut temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .rand_bytes(TEMPORARY_RANDOM)
        .suffix(TEMPORARY_SUFFIX)
        // By a function of our own: the errors of `tempfile` repeat the path.
        .make_in(directory, create_private)
        .map_err(|source| FileStoreError::io("create a temporary file in", directory, source))?;
    // Written through the file itself: the errors of the wrapper repeat the path too.
    let file = temporary.as_file_mut();
    access::keep(target, file)
        .map_err(|source| FileStoreError::Access { path: target.to_owned(), source })?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(|source| FileStoreError::io("write", temporary.path(), source))?;
    if !may_replace()? {
        return Ok(None);
    }
    temporary
        .persist(target)
        .map_err(|error| FileStoreError::io("replace", target, error.error))?;
    let at = Instant::now();

    // Until the directory is on the disk, a power cut brings the old file back, revoked tokens and all.
    let parents = new_directories.iter().map(|new| directory_of(new));
    let synced = [directory].into_iter().chain(parents).try_for_each(sync_directory);
    let durability = match synced {
        Ok(()) => Durability::Confirmed,
        Err(error) => Durability::Unconfirmed(error),
    };
    Ok(Some(Replaced { at, durability }))
}

fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates the directory and the missing ones above it, with mode 0700, and returns the new ones.
pub(crate) fn create_directory(directory: &Path) -> Result<Vec<PathBuf>, FileStoreError> {
    let mut missing: Vec<PathBuf> = directory
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    for new in missing.iter().rev() {
        create_private_directory(new)
            .map_err(|source| FileStoreError::io("create the directory", new, source))?;
    }
    missing.reverse();
    Ok(missing)
}

fn create_private_directory(new: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(new) {
        // Another writer has created it in the meantime.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && new.is_dir() => Ok(()),
        Err(error) => Err(error),
        #[cfg(unix)]
        Ok(()) => fs::set_permissions(new, std::os::unix::fs::PermissionsExt::from_mode(0o700)),
        #[cfg(not(unix))]
        Ok(()) => Ok(()),
    }
}

/// Removes what a writer that was killed left behind. With the lock held, no other writer is at work,
/// so whatever has such a name is a leftover. One that cannot be removed does no harm.
fn remove_leftovers(directory: &Path, prefix: &OsStr) {
    let Ok(names) = names_in(directory) else { return };
    for name in names {
        let random_part = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes())
            .and_then(|name| name.strip_suffix(TEMPORARY_SUFFIX.as_bytes()));
        let is_random = |part: &[u8]| {
            part.len() == TEMPORARY_RANDOM && part.iter().all(u8::is_ascii_alphanumeric)
        };
        if random_part.is_some_and(is_random) {
            let path = directory.join(name);
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %escape_path(&path), %error, "a leftover temporary file stays");
            }
        }
    }
}

#[cfg(unix)]
fn names_in(directory: &Path) -> io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;

    // Not `fs::read_dir`, which panics if the directory cannot be closed.
    let entries = rustix::fs::Dir::new(fs::File::open(directory)?)?;
    entries.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec()))).collect()
}

#[cfg(not(unix))]
fn names_in(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn temporary_prefix(target: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(TEMPORARY_INFIX);
    prefix
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened to be synced; the file system's own journal has to do.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
