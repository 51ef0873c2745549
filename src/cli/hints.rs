//! What a user can do about an error of the store. These hints read the disk when they are printed.

#[cfg(unix)]
use std::fs;
use std::io;
use std::path::Path;

#[cfg(unix)]
use crate::shell::command;
use crate::store::FileStoreError;

/// A hint for an error whose text has none.
pub(super) fn hint(error: &FileStoreError) -> Option<String> {
    match error {
        FileStoreError::Io { action, path, source }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            denied(action, path)
        }
        _ => None,
    }
}

/// The file, or the directory that keeps this process out, may belong to this process's user.
#[cfg(unix)]
fn denied(action: &str, path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let user = rustix::process::geteuid().as_raw();
    // Nothing can be seen inside of a directory that this user may not search.
    let visible = path.ancestors().filter_map(|place| Some((place, fs::metadata(place).ok()?)));
    for (place, metadata) in visible {
        if metadata.uid() != user {
            break;
        }
        let (needed, fix) = if metadata.is_dir() {
            (0o700, "chmod u+rwx")
        } else if action.contains("lock") {
            (0o600, "chmod u+rw")
        } else {
            (0o400, "chmod u+r")
        };
        if metadata.mode() & needed != needed {
            return Some(command(fix, place));
        }
        if metadata.is_dir() {
            // The modes are not the reason.
            return None;
        }
    }
    Some("run as the user that owns the store".to_owned())
}

#[cfg(not(unix))]
fn denied(_action: &str, _path: &Path) -> Option<String> {
    Some("run as the user that owns the store".to_owned())
}
