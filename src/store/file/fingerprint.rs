//! What tells a file that was changed or replaced from the one that was read.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::store::file::error::FileStoreError;

/// The size, times and identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    size: u64,
    modified: Option<SystemTime>,
    /// Device and inode.
    #[cfg(unix)]
    identity: (u64, u64),
    /// Seconds and nanoseconds.
    #[cfg(unix)]
    changed: (i64, i64),
}

impl Fingerprint {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            identity: (metadata.dev(), metadata.ino()),
            #[cfg(unix)]
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The fingerprint of the file at `path`, without following a link. `None` if there is no file.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, FileStoreError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileStoreError::io("read", path, source)),
        }
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether the file may change without a change of its fingerprint. On a file system with coarse
    /// timestamps, two quick changes leave the same times. So times within 2 s of now (the step of FAT,
    /// which is the coarsest), or in the future, prove nothing.
    pub(crate) fn is_racy(&self, now: SystemTime) -> bool {
        const COARSEST_STEP: Duration = Duration::from_secs(2);
        let is_old =
            |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > COARSEST_STEP);
        #[cfg(unix)]
        let changed_long_ago = {
            // Rounded up to whole seconds, which can only make the change younger.
            let seconds = u64::try_from(self.changed.0).unwrap_or_default().saturating_add(1);
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).is_some_and(is_old)
        };
        #[cfg(not(unix))]
        let changed_long_ago = true;
        !(changed_long_ago && self.modified.is_some_and(is_old))
    }
}
