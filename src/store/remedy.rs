//! What to do about the input and output errors that people meet with a store.

#[cfg(unix)]
use std::fs;
use std::io;
use std::path::Path;

#[cfg(unix)]
use crate::store::shown::command;

/// What mends an error of this action with this path, where that is known.
pub(crate) fn of(action: &str, path: &Path, error: &io::Error) -> Option<String> {
    let words = match error.kind() {
        io::ErrorKind::PermissionDenied => return of_denied(action, path),
        io::ErrorKind::ResourceBusy => {
            "a file that is mounted by itself cannot be replaced: mount its directory instead"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room and try again",
        io::ErrorKind::ReadOnlyFilesystem => "the store can be read there, but not changed",
        _ => return None,
    };
    Some(words.to_owned())
}

/// The file, or the directory that keeps others from it, may be this process's user's own.
#[cfg(unix)]
fn of_denied(action: &str, path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let user = rustix::process::geteuid().as_raw();
    // What lies in a directory that may not be searched cannot be looked at.
    let visible = path.ancestors().filter_map(|place| Some((place, fs::metadata(place).ok()?)));
    for (place, metadata) in visible {
        if metadata.uid() != user {
            break;
        }
        let (needed, mend) = if metadata.is_dir() {
            (0o700, "chmod u+rwx")
        } else if action.contains("lock") {
            (0o600, "chmod u+rw")
        } else {
            (0o400, "chmod u+r")
        };
        if metadata.mode() & needed != needed {
            return Some(command(mend, place));
        }
        if metadata.is_dir() {
            // It is none of the modes.
            return None;
        }
    }
    Some("run as the user that owns the store".to_owned())
}

#[cfg(not(unix))]
fn of_denied(_action: &str, _path: &Path) -> Option<String> {
    Some("run as the user that owns the store".to_owned())
}
