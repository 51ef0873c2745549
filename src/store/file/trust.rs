//! Whether a store's file can be trusted: who owns it and the directories above it, and who can write to them.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(unix)]
use crate::store::file::error::FileMode;
use crate::store::file::error::{FileStoreError, TrustProblem};
use crate::store::file::location::directory_of;

/// As many symbolic links as Linux follows.
const MAX_LINKS: usize = 40;

/// Follows the symbolic links at `path`, and returns the path of the file, which may not exist.
///
/// Each link on the way is checked, and each directory that contains a link or the file. The directories
/// above are not.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, FileStoreError> {
    follow(path, |problem| Err(untrusted(path, problem)))
}

/// Checks the open file with this metadata. `target` is where it is, `path` what the store is called.
pub(crate) fn check_file(
    path: &Path,
    target: &Path,
    metadata: &Metadata,
) -> Result<(), FileStoreError> {
    let problem = file_problems(target, metadata).into_iter().next();
    problem.map_or(Ok(()), |problem| Err(untrusted(path, problem)))
}

/// Checks the owner of an open file.
pub(crate) fn owner_problem(path: &Path, metadata: &Metadata) -> Option<TrustProblem> {
    #[cfg(unix)]
    return foreign_owner(path, metadata);
    #[cfg(not(unix))]
    {
        let _ = (path, metadata);
        None
    }
}

/// Checks the closest existing directory above a missing one. What is created there belongs to this
/// process's user: root would leave a store in a user's home that the user cannot read.
pub(crate) fn check_new_directory(path: &Path, directory: &Path) -> Result<(), FileStoreError> {
    let problem = new_directory_problems(directory).into_iter().next();
    problem.map_or(Ok(()), |problem| Err(untrusted(path, problem)))
}

/// Every reason not to trust the file at `path`. Opening the file stops at the first.
pub(crate) fn problems(path: &Path) -> Result<Vec<TrustProblem>, FileStoreError> {
    let mut problems = Vec::new();
    let target = follow(path, |problem| {
        problems.push(problem);
        Ok(())
    })?;
    match fs::metadata(&target) {
        Ok(metadata) => problems.extend(file_problems(&target, &metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = directory_of(&target);
            if !directory.exists() {
                problems.extend(new_directory_problems(directory));
            }
        }
        Err(source) => return Err(FileStoreError::io("open", path, source)),
    }
    Ok(problems)
}

fn untrusted(path: &Path, problem: TrustProblem) -> FileStoreError {
    FileStoreError::Untrusted { path: path.to_owned(), problem }
}

fn follow(
    path: &Path,
    mut report: impl FnMut(TrustProblem) -> Result<(), FileStoreError>,
) -> Result<PathBuf, FileStoreError> {
    let failed = |source| FileStoreError::io("open", path, source);
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let directory = directory_of(&target);
        match fs::metadata(directory) {
            Ok(metadata) => {
                directory_problems(directory, &metadata).into_iter().try_for_each(&mut report)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(source) => return Err(failed(source)),
        }
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                link_problem(&target, &metadata).map_or(Ok(()), &mut report)?;
                target = directory.join(fs::read_link(&target).map_err(failed)?);
            }
            Ok(_) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(source) => return Err(failed(source)),
        }
    }
    Err(failed(too_many_links()))
}

fn too_many_links() -> io::Error {
    #[cfg(unix)]
    return rustix::io::Errno::LOOP.into();
    #[cfg(not(unix))]
    return io::Error::new(io::ErrorKind::InvalidInput, "too many levels of symbolic links");
}

fn file_problems(path: &Path, metadata: &Metadata) -> Vec<TrustProblem> {
    if !metadata.is_file() {
        return vec![TrustProblem::NotAFile];
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;

        let mut problems = Vec::from_iter(owner_problem(path, metadata));
        if metadata.mode() & 0o022 != 0 {
            let mode = FileMode::new(metadata.mode());
            problems.push(TrustProblem::FileWritable { path: path.to_owned(), mode });
        }
        problems
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Vec::new()
    }
}

fn new_directory_problems(directory: &Path) -> Vec<TrustProblem> {
    let mut ancestors = directory.ancestors();
    let existing = ancestors.find_map(|ancestor| Some((ancestor, fs::metadata(ancestor).ok()?)));
    existing.map_or_else(Vec::new, |(ancestor, metadata)| directory_problems(ancestor, &metadata))
}

#[cfg(unix)]
fn directory_problems(directory: &Path, metadata: &Metadata) -> Vec<TrustProblem> {
    use std::os::unix::fs::MetadataExt as _;

    const WRITABLE_BY_OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let mode = metadata.mode();
    let mut problems = Vec::from_iter(owner_problem(directory, metadata));
    // In a sticky directory such as /tmp, only the owner of a file can exchange it.
    if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        let mode = FileMode::new(mode);
        problems.push(TrustProblem::DirectoryWritable { path: directory.to_owned(), mode });
    }
    problems
}

/// In a sticky directory, everybody can put a link in the place of a missing file.
#[cfg(unix)]
fn link_problem(link: &Path, metadata: &Metadata) -> Option<TrustProblem> {
    match foreign_owner(link, metadata)? {
        TrustProblem::ForeignOwner { path, owner, .. } => {
            Some(TrustProblem::ForeignLink { path, owner })
        }
        problem => Some(problem),
    }
}

/// The problem if the owner is neither this process's user nor root.
#[cfg(unix)]
fn foreign_owner(path: &Path, metadata: &Metadata) -> Option<TrustProblem> {
    let owner = std::os::unix::fs::MetadataExt::uid(metadata);
    let user = rustix::process::geteuid().as_raw();
    if is_unknown_user(owner) {
        return Some(TrustProblem::UnknownOwner { path: path.to_owned() });
    }
    let problem = TrustProblem::ForeignOwner { path: path.to_owned(), owner, user };
    (owner != user && owner != 0).then_some(problem)
}

/// Whether the id is the one that Linux shows for every user that a user namespace does not map, and this
/// namespace does not map it.
#[cfg(target_os = "linux")]
fn is_unknown_user(id: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    if id != OVERFLOW {
        return false;
    }
    // Without user namespaces there is no map, and every user is known.
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    let maps = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        id.checked_sub(first).is_some_and(|offset| offset < count)
    };
    !map.lines().any(maps)
}

#[cfg(all(unix, not(target_os = "linux")))]
const fn is_unknown_user(_id: u32) -> bool {
    false
}

/// Windows decides by the access control list of the user's profile, not by owner and mode.
#[cfg(not(unix))]
fn directory_problems(_directory: &Path, _metadata: &Metadata) -> Vec<TrustProblem> {
    Vec::new()
}

#[cfg(not(unix))]
fn link_problem(_link: &Path, _metadata: &Metadata) -> Option<TrustProblem> {
    None
}
