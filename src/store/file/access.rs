//! Who can read a store's file: kept by every change, and never widened.

use std::fs::File;
use std::io;
use std::path::Path;

/// Gives the new file the mode, group and access control list of the one that it is going to replace. A
/// store that does not exist yet is readable by its owner only.
///
/// Modes are set and not requested when the file is created, because a umask may take bits from those.
#[cfg(unix)]
pub(crate) fn keep(old: &Path, new: &File) -> io::Result<()> {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, fchown};

    // A directory's default list has given the new file entries that the old one does not have.
    list::remove(new)?;
    let old_metadata = match fs::symlink_metadata(old) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return set_mode(new, 0o600),
        Err(error) => return Err(error),
    };
    let mode = old_metadata.mode() & 0o777;
    let list = list::of(old)?;
    if new.metadata()?.gid() != old_metadata.gid() {
        // If the group may do what everybody may, it does not matter which group it is.
        let is_group_decisive = mode >> 3 & 0o7 != mode & 0o7 || list.is_some();
        match fchown(new, None, Some(old_metadata.gid())) {
            Err(error) if is_group_decisive => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    set_mode(new, mode)?;
    list.map_or(Ok(()), |list| list::set(new, &list))
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    file.set_permissions(Permissions::from_mode(mode))
}

/// Elsewhere a new file inherits from its directory.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(crate) fn keep(_old: &Path, _new: &File) -> io::Result<()> {
    Ok(())
}

/// POSIX access control lists, as Linux keeps them: in an extended attribute.
#[cfg(target_os = "linux")]
mod list {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, lgetxattr};
    use rustix::io::Errno;

    const NAME: &str = "system.posix_acl_access";
    /// The largest value of an extended attribute.
    const MAX_SIZE: usize = 65_536;

    pub(super) fn of(path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut list = vec![0; MAX_SIZE];
        match lgetxattr(path, NAME, &mut list[..]) {
            Ok(length) => {
                list.truncate(length);
                Ok(Some(list))
            }
            Err(error) if is_none(error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn set(file: &File, list: &[u8]) -> io::Result<()> {
        Ok(fsetxattr(file, NAME, list, XattrFlags::empty())?)
    }

    pub(super) fn remove(file: &File) -> io::Result<()> {
        match fremovexattr(file, NAME) {
            Err(error) if !is_none(error) => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The file has no list, or its file system has none.
    fn is_none(error: Errno) -> bool {
        matches!(error, Errno::NODATA | Errno::OPNOTSUPP)
    }
}

/// Other systems keep lists elsewhere. A new file has none.
#[cfg(all(unix, not(target_os = "linux")))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
mod list {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn of(_: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    pub(super) fn set(_: &File, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn remove(_: &File) -> io::Result<()> {
        Ok(())
    }
}
