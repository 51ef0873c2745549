//! What can be wrong with a store's file. Data only: nothing here reads the disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::shell::{command, escape_path};
use crate::store::file::format::FormatProblem;
use crate::store::{ChangeError, StoreError};

/// A store's file cannot be found, read, trusted or written.
///
/// The functions of [`FileTokenStore`](crate::FileTokenStore) return it inside of a [`StoreError`] or a
/// [`ChangeError`]; [`StoreError::downcast_ref`] gets it back. Its text says what failed, why, and what to
/// do where the error alone is enough to tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileStoreError {
    /// The directory of the default store is not known.
    #[error(
        "failed to find the token store: the home directory is not known; name the file with `OPENCODE_AUTH_TOKENS`"
    )]
    NoHome,
    /// A variable that names the default store is not an absolute path. The current directory would
    /// decide which tokens are valid.
    #[error(
        "failed to find the token store: the variable `{variable}` is `{}`, which is not an absolute path",
        escape_path(.value)
    )]
    NotAbsolute {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: PathBuf,
    },
    /// The path of the store contains a token. The error does not repeat it.
    #[error(
        "failed to find the token store: its path contains a token, which is not repeated here; name the file"
    )]
    PathHoldsToken,
    /// The path of the store ends in an invisible character.
    #[error(
        "failed to find the token store: its path ends in the invisible character U+{:04X} ({}); remove it, \
         also from the variable or the file that the path comes from", u32::from(*.character), .character.escape_debug()
    )]
    PathEndsInvisibly {
        /// The character.
        character: char,
    },
    /// The path of the store is a URL. The error does not repeat it, because a URL may contain a password.
    #[error(
        "failed to find the token store: `{scheme}://` is a URL, but only the path of a file is supported here{}",
        hint_for_url(.scheme)
    )]
    PathIsUrl {
        /// The scheme of the URL.
        scheme: String,
    },
    /// An operation on a file or directory failed.
    #[error("failed to {action} `{}`: {source}{}", escape_path(.path), hint(.source.kind()))]
    Io {
        /// The operation, such as `open`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody else may have written the file, or may exchange it.
    #[error("failed to trust the token store `{}`: {problem}", escape_path(.path))]
    Untrusted {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        problem: TrustProblem,
    },
    /// The file is too large.
    #[error(
        "failed to read the token store `{}`: it has {size} bytes, and at most {limit} are read; delete \
         expired tokens",
        escape_path(.path)
    )]
    TooLarge {
        /// The store's file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The largest size that is read, in bytes.
        limit: u64,
    },
    /// The file was written to while it was read.
    #[error("failed to read the token store `{}`: it is being written to; try again", escape_path(.path))]
    Changing {
        /// The store's file.
        path: PathBuf,
    },
    /// The open file is no longer the store: it was deleted or replaced, but the path still points to
    /// it. This happens to a file that is mounted by itself.
    #[error(
        "failed to use the token store `{}`: this file was deleted or replaced, and the path still points to \
         it; if the file is mounted by itself, mount its directory instead",
        escape_path(.path)
    )]
    Detached {
        /// The store's file.
        path: PathBuf,
    },
    /// The store's directory was there when the store was opened, and is gone.
    #[error(
        "failed to find the directory `{}`: it was there when the token store was opened; is a disk not \
         mounted?",
        escape_path(.path)
    )]
    DirectoryGone {
        /// The directory.
        path: PathBuf,
    },
    /// A change cannot give the new file the group or the access control list of the old one.
    #[error(
        "failed to keep who can read `{}`: {source}; nothing was changed: change the tokens as the user that \
         owns the store, or give the file to a group of this user",
        escape_path(.path)
    )]
    Access {
        /// The store's file.
        path: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// The lock's file belongs to another user, who could hold the lock forever.
    #[error("failed to trust the lock file `{}`: {problem}", escape_path(.path))]
    UntrustedLock {
        /// The lock's file.
        path: PathBuf,
        /// What is wrong with it.
        problem: TrustProblem,
    },
    /// During a change, the file, the lock's file or a link to one of them was moved or replaced.
    #[error(
        "failed to use `{}`: it, or a link that points to it, was moved or replaced meanwhile; try again",
        escape_path(.path)
    )]
    Moved {
        /// The store's file, or the lock's.
        path: PathBuf,
    },
    /// Another process, or another thread of this one, held the store's lock for the whole time.
    #[error(
        "failed to lock `{}`: another process or thread has held it for {}; end that process, or try again",
        escape_path(.path),
        span(*.waited)
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// How long this change waited.
        waited: Duration,
    },
    /// The file's content is not a store of version 1.
    #[error(
        "failed to read the token store `{}`: line {line}, column {column}: {problem}; fix the file, or move \
         it away to begin with an empty store",
        escape_path(.path)
    )]
    Format {
        /// The store's file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1.
        column: usize,
        /// What is wrong there.
        problem: FormatProblem,
    },
}

impl FileStoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<FileStoreError> for StoreError {
    fn from(error: FileStoreError) -> Self {
        Self::new(error)
    }
}

impl From<FileStoreError> for ChangeError {
    fn from(error: FileStoreError) -> Self {
        Self::Store(error.into())
    }
}

/// Why a URL of a database cannot be used.
pub(crate) const BUILT_WITHOUT_POSTGRES: &str = "this program was built without the feature `postgres` of \
    opencode-auth: build it with `--features postgres`, as in `cargo install opencode-auth --features cli,postgres`";

/// What to add for a URL that another store could use.
fn hint_for_url(scheme: &str) -> String {
    let hint = match scheme {
        "postgres" | "postgresql" if cfg!(feature = "postgres") => "use a `PostgresTokenStore`",
        "postgres" | "postgresql" => BUILT_WITHOUT_POSTGRES,
        _ => return String::new(),
    };
    format!("; {hint}")
}

/// What to do about an error of the operating system, where its kind is enough to say so.
fn hint(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::ResourceBusy => {
            "; a file that is mounted by itself cannot be replaced: mount its directory instead"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room and try again",
        io::ErrorKind::ReadOnlyFilesystem => "; the store can be read there, but not changed",
        _ => "",
    }
}

/// `10 s`, or `30 ms` below a second.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds => format!("{seconds} s"),
    }
}

/// Why a store's file is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustProblem {
    /// It is a directory, a pipe, a socket or a device.
    NotAFile,
    /// The file or directory belongs to a user who is neither this process's user nor root.
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// The file or directory belongs to a user that this user namespace does not know. All such users
    /// look like one, so nobody can tell who it is.
    UnknownOwner {
        /// The file or directory.
        path: PathBuf,
    },
    /// A symbolic link that points to the file belongs to a user who is neither this process's user nor
    /// root.
    ForeignLink {
        /// The link.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// The file's group or everybody can write to the file.
    FileWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: FileMode,
    },
    /// Everybody can put another file into the directory.
    DirectoryWritable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: FileMode,
    },
}

impl fmt::Display for TrustProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => {
                f.write_str("it is not a regular file; move it away, or name another file")
            }
            Self::ForeignOwner { path, owner, user } => write!(
                f,
                "`{}` belongs to user {owner}, and this process runs as user {user}; run it as user {owner}, \
                 or: {}",
                escape_path(path),
                command(&format!("chown {user}"), path),
            ),
            Self::UnknownOwner { path } => write!(
                f,
                "`{}` belongs to a user that is not known in this user namespace",
                escape_path(path)
            ),
            // No `chown`: it would give away the file that the link points to.
            Self::ForeignLink { path, owner } => write!(
                f,
                "`{}` is a link that user {owner} made; see where it points: {}; then remove it",
                escape_path(path),
                command("ls -l", path),
            ),
            Self::FileWritable { path, mode } => write!(
                f,
                "others can write to it (mode {mode}); first see that its tokens are yours, then: {}",
                command("chmod go-w", path),
            ),
            Self::DirectoryWritable { path, mode } => write!(
                f,
                "everybody can put files into its directory (mode {mode}); first see that its tokens are \
                 yours, then: {}",
                command("chmod o-w", path),
            ),
        }
    }
}

/// The permission bits of a file, displayed in octal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// The permission bits of this mode, such as `st_mode`.
    #[must_use]
    pub const fn new(mode: u32) -> Self {
        Self(mode & 0o7777)
    }

    /// The bits, such as `0o644`.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
