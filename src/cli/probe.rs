//! Tries what a change of the store does, except for the rename, and leaves nothing behind.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::Path;

use crate::shell::command;
use crate::store::{FileStoreError, StoreError};

/// Why the next change of the file `target` would fail.
pub(super) fn problem(target: &Path) -> Option<StoreError> {
    let directory = target.parent()?;
    let result = if directory.is_dir() {
        try_to_write(directory, target)
    } else {
        try_to_create_directory(directory)
    };
    result.err().map(Into::into)
}

fn try_to_create_directory(directory: &Path) -> Result<(), FileStoreError> {
    let existing = directory.ancestors().find(|ancestor| fs::symlink_metadata(ancestor).is_ok());
    let attempt = existing.map_or(Ok(()), |existing| {
        tempfile::Builder::new()
            .prefix(".opencode-auth-")
            .make_in(existing, |path| fs::create_dir(path))
            .map(|temporary| {
                // The wrapper removes files only.
                let _ = fs::remove_dir(temporary.path());
            })
    });
    attempt.map_err(|source| FileStoreError::io("create the directory", directory, source))
}

fn try_to_write(directory: &Path, target: &Path) -> Result<(), FileStoreError> {
    let failed = |action| move |source| FileStoreError::io(action, directory, source);
    let temporary = tempfile::Builder::new()
        .prefix(".opencode-auth-")
        .make_in(directory, |path| OpenOptions::new().write(true).create_new(true).open(path))
        .map_err(failed("create a temporary file in"))?;
    let mut file: &File = temporary.as_file();
    let size = fs::metadata(target).map_or(0, |metadata| metadata.len()).max(4096);
    let content = vec![b' '; usize::try_from(size).unwrap_or_default()];
    file.write_all(&content)
        .and_then(|()| file.sync_all())
        .map_err(failed("write a temporary file in"))?;
    // The lock's file would stay, but the same file system locks this one.
    if let Err(TryLockError::Error(source)) = file.try_lock() {
        return Err(failed("lock a file in")(source));
    }
    Ok(())
}

/// Why the file itself cannot be replaced, and a hint.
#[cfg(target_os = "linux")]
pub(super) fn irreplaceable(target: &Path) -> Option<String> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

    let stat = statx(CWD, target, AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
    let has = |attribute| stat.stx_attributes.contains(attribute);
    if has(StatxAttributes::MOUNT_ROOT) {
        return Some(
            "the file is mounted by itself, so it cannot be replaced; mount its directory instead"
                .to_owned(),
        );
    }
    (has(StatxAttributes::IMMUTABLE) || has(StatxAttributes::APPEND)).then(|| {
        format!(
            "the file is immutable, so it cannot be replaced; make it mutable: {}",
            command("sudo chattr -ia", target)
        )
    })
}

/// On other platforms only the rename would tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn irreplaceable(_target: &Path) -> Option<String> {
    None
}
