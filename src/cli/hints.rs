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

/// What to do instead where `chmod` has no effect: on a read-only mount, such as the volume of a `ConfigMap`, and
/// on file systems that have no modes of their own. `None` elsewhere.
#[cfg(target_os = "linux")]
pub(super) fn chmod_is_vain(path: &Path) -> Option<&'static str> {
    /// FAT, exFAT, NTFS (two drivers), SMB (two), 9P, and the shared folders of `VirtualBox`.
    const WITHOUT_MODES: [u32; 8] = [
        0x4d44,
        0x2011_bab0,
        0x5346_544e,
        0x7366_746e,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x786f_4256,
    ];
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    if WITHOUT_MODES.iter().any(|known| i128::from(*known) == i128::from(kind)) {
        return Some(
            "its file system has no modes of its own, so `chmod` has no effect there; keep the store on \
             another file system",
        );
    }
    let flags = rustix::fs::statvfs(path).ok()?.f_flag;
    flags.contains(rustix::fs::StatVfsMountFlags::RDONLY).then_some(
        "it is mounted read-only, so `chmod` has no effect there; change it where it comes from, and in \
         Kubernetes use a Secret or a projected volume and not a ConfigMap",
    )
}

#[cfg(not(target_os = "linux"))]
pub(super) fn chmod_is_vain(_path: &Path) -> Option<&'static str> {
    None
}
