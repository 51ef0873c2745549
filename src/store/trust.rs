//! Opening a store's file, and deciding whether it can be believed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::store::error::{StoreError, TrustProblem};
use crate::store::replace::directory_of;

/// The largest file that is read, in bytes: 32 MiB, well over 100,000 tokens.
pub(crate) const MAX_SIZE: u64 = 32 * 1024 * 1024;

/// As many symbolic links as Linux follows.
const MAX_LINKS: usize = 40;

/// A store's file, open, of the right kind, size, owner and mode.
pub(crate) struct StoreFile {
    file: File,
    stamp: Stamp,
}

impl StoreFile {
    /// Opens the file; `None` if there is none.
    ///
    /// All of these checks are made on the open file, not on its name: the name may lead elsewhere a moment
    /// later.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;

            use rustix::fs::OFlags;

            // A pipe must not make the server wait for somebody to write into it.
            options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io("open", path, source)),
        };
        let metadata = file.metadata().map_err(|source| StoreError::io("read", path, source))?;
        check_file(path, &metadata)?;
        Ok(Some(Self { file, stamp: Stamp::of(&metadata) }))
    }

    /// What the file looked like when it was opened.
    pub(crate) const fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Reads the whole file, after a check of the directories that lead to it.
    pub(crate) fn read(self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let target = resolve(path)?;
        self.check_identity(path, &target)?;
        let failed = |source| StoreError::io("read", path, source);
        let mut bytes =
            Vec::with_capacity(usize::try_from(self.stamp.size).unwrap_or_default() + 1);
        (&self.file).take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
        let unchanged = Stamp::of(&self.file.metadata().map_err(failed)?) == self.stamp
            && u64::try_from(bytes.len()).is_ok_and(|length| length == self.stamp.size);
        if unchanged { Ok(bytes) } else { Err(StoreError::Changing { path: path.to_owned() }) }
    }

    /// Whether the open file is the one that was checked by its name. When it was opened, the name may
    /// have led elsewhere, through a link of somebody else's that was gone when links were checked.
    #[cfg(unix)]
    fn check_identity(&self, path: &Path, target: &Path) -> Result<(), StoreError> {
        let there = fs::symlink_metadata(target).ok().map(|there| Stamp::of(&there).identity);
        if there == Some(self.stamp.identity) {
            return Ok(());
        }
        Err(StoreError::Moved { path: path.to_owned() })
    }

    /// Elsewhere links are not checked, and a file has no identity that `std` tells.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as it is on Unix")]
    fn check_identity(&self, _path: &Path, _target: &Path) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What tells a file that was replaced or changed from the one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    identity: (u64, u64),
    #[cfg(unix)]
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at `path`, if there is one. Links are not followed.
    pub(crate) fn of_file(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::io("read", path, source)),
        }
    }

    fn of(metadata: &Metadata) -> Self {
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

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether a later change is sure to show in the stamp. On a file system with coarse timestamps,
    /// two quick changes leave the same times, so those within 2 s of now (FAT's step, the coarsest), or
    /// in the future, say nothing.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        const COARSEST: Duration = Duration::from_secs(2);
        let long_ago = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > COARSEST);
        #[cfg(unix)]
        let changed_long_ago = {
            // Rounded up to whole seconds: that can only make the change younger.
            let seconds = u64::try_from(self.changed.0).unwrap_or_default().saturating_add(1);
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).is_some_and(long_ago)
        };
        #[cfg(not(unix))]
        let changed_long_ago = true;
        changed_long_ago && self.modified.is_some_and(long_ago)
    }
}

/// Follows the symbolic links at `path` to the file that they lead to, which need not exist, and
/// checks each link, and each directory that holds one of them or the file. Those above are not looked at.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    follow(path, |problem| Err(StoreError::Untrusted { path: path.to_owned(), problem }))
}

/// Everything for which the file at `path` is not trusted, where opening it stops at the first.
pub(crate) fn problems(path: &Path) -> Result<Vec<TrustProblem>, StoreError> {
    let mut problems = Vec::new();
    let target = follow(path, |problem| {
        problems.push(problem);
        Ok(())
    })?;
    match fs::metadata(&target) {
        Ok(metadata) => problems.extend(file_problems(&target, &metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(StoreError::io("open", path, source)),
    }
    Ok(problems)
}

fn follow(
    path: &Path,
    mut untrusted: impl FnMut(TrustProblem) -> Result<(), StoreError>,
) -> Result<PathBuf, StoreError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let directory = directory_of(&target);
        match fs::metadata(directory) {
            Ok(metadata) => {
                directory_problems(directory, &metadata)
                    .into_iter()
                    .try_for_each(&mut untrusted)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What is made there belongs to who makes it: root would leave it in somebody's home,
                // who could not read it.
                let existing = directory
                    .ancestors()
                    .find_map(|ancestor| Some((ancestor, fs::metadata(ancestor).ok()?)));
                existing
                    .map_or_else(Vec::new, |(ancestor, metadata)| {
                        directory_problems(ancestor, &metadata)
                    })
                    .into_iter()
                    .try_for_each(untrusted)?;
                return Ok(target);
            }
            Err(source) => return Err(StoreError::io("read the directory", directory, source)),
        }
        let failed = |source| StoreError::io("read the link", &target, source);
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                link_problem(&target, &metadata).map_or(Ok(()), &mut untrusted)?;
                target = directory.join(fs::read_link(&target).map_err(failed)?);
            }
            Ok(_) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(source) => return Err(failed(source)),
        }
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "too many levels of symbolic links");
    Err(StoreError::io("open", path, source))
}

fn check_file(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    if !file_problems(path, metadata).is_empty() {
        // What mends it is done to the file, not to a link that leads to it.
        if let Some(problem) = file_problems(&resolve(path)?, metadata).into_iter().next() {
            return Err(StoreError::Untrusted { path: path.to_owned(), problem });
        }
    }
    if metadata.len() > MAX_SIZE {
        return Err(StoreError::TooLarge { path: path.to_owned(), size: metadata.len() });
    }
    Ok(())
}

fn file_problems(path: &Path, metadata: &Metadata) -> Vec<TrustProblem> {
    let mut problems = Vec::new();
    if !metadata.is_file() {
        problems.push(TrustProblem::NotAFile);
    }
    #[cfg(unix)]
    if metadata.is_file() {
        use std::os::unix::fs::MetadataExt as _;

        problems.extend(owner_problem(path, metadata));
        if metadata.mode() & 0o022 != 0 {
            let mode = metadata.mode() & 0o7777;
            problems.push(TrustProblem::FileWritable { path: path.to_owned(), mode });
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    problems
}

#[cfg(unix)]
fn directory_problems(directory: &Path, metadata: &Metadata) -> Vec<TrustProblem> {
    use std::os::unix::fs::MetadataExt as _;

    const WRITABLE_BY_OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let mode = metadata.mode() & 0o7777;
    let mut problems = Vec::from_iter(owner_problem(directory, metadata));
    // In a sticky directory, such as /tmp, only the owner of a file can exchange it.
    if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        problems.push(TrustProblem::DirectoryWritable { path: directory.to_owned(), mode });
    }
    problems
}

/// In a sticky directory anybody can put a link in the place of a file that is not there.
#[cfg(unix)]
fn link_problem(link: &Path, metadata: &Metadata) -> Option<TrustProblem> {
    let (owner, _) = foreign_owner(metadata)?;
    Some(TrustProblem::ForeignLink { path: link.to_owned(), owner })
}

#[cfg(not(unix))]
fn link_problem(_link: &Path, _metadata: &Metadata) -> Option<TrustProblem> {
    None
}

/// Owners and modes are not what decides there: the access control list of the user's profile does.
#[cfg(not(unix))]
fn directory_problems(_directory: &Path, _metadata: &Metadata) -> Vec<TrustProblem> {
    Vec::new()
}

#[cfg(unix)]
fn owner_problem(path: &Path, metadata: &Metadata) -> Option<TrustProblem> {
    let (owner, user) = foreign_owner(metadata)?;
    Some(TrustProblem::ForeignOwner { path: path.to_owned(), owner, user })
}

/// The owner, and this process's user, if neither that user nor root is the owner.
#[cfg(unix)]
fn foreign_owner(metadata: &Metadata) -> Option<(u32, u32)> {
    let owner = std::os::unix::fs::MetadataExt::uid(metadata);
    let user = rustix::process::geteuid().as_raw();
    (owner != user && owner != 0).then_some((owner, user))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// In a directory in which everybody may put files, links come and go.
    #[test]
    fn a_file_that_a_link_led_to_is_not_believed_when_the_link_is_gone() {
        type Then = fn(&Path, &Path);
        let cases: [(&str, Then); 3] = [
            ("nothing is there", |link, _| fs::remove_file(link).unwrap()),
            ("another file is there", |link, other| fs::rename(other, link).unwrap()),
            ("a link to another file", |link, other| {
                fs::remove_file(link).unwrap();
                symlink(other, link).unwrap();
            }),
        ];
        for (case, then) in cases {
            let directory = tempfile::tempdir().unwrap();
            let [file, other, link] =
                ["file", "other", "link"].map(|name| directory.path().join(name));
            for file in [&file, &other] {
                fs::write(file, "{}").unwrap();
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            }
            symlink(&file, &link).unwrap();
            let open = || StoreFile::open(&link).unwrap().unwrap();
            assert_eq!(open().read(&link).unwrap(), b"{}", "{case}");
            let opened = open();
            then(&link, &other);
            let error = opened.read(&link).unwrap_err();
            assert!(matches!(error, StoreError::Moved { .. }), "{case}: {error}");
        }
    }
}
