use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::record::{NameError, NewTokenError, TokenRecord};
use crate::store::format::FormatProblem;
use crate::store::remedy;
use crate::store::shown::{command, shown};
use crate::store::trust::MAX_SIZE;

/// A store cannot be read or written. Nobody can tell which tokens are valid.
///
/// It is cheap to clone: every request that waits for the same look gets the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory of the default store is not known.
    #[error(
        "failed to find the token store: the home directory is not known; name the file with `OPENCODE_AUTH_TOKENS`"
    )]
    NoHome,
    /// A variable that leads to the default store is not an absolute path, so that it would depend on
    /// the current directory which tokens are valid.
    #[error("failed to find the token store: the variable `{variable}` is `{}`, which is not an absolute path", shown(.value))]
    NotAbsolute {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: PathBuf,
    },
    /// Where the path of the store belongs there is a token. It is not repeated.
    #[error(
        "failed to find the token store: there is a token where its path belongs, which is not repeated here; name the file"
    )]
    PathHoldsToken,
    /// An operation on a file or directory failed.
    #[error("failed to {action} `{}`: {source}{}", shown(.path), mending(.mend.as_deref()))]
    Io {
        /// What was tried, such as `open`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: Arc<io::Error>,
        /// What mends it, in words or as a shell command, where that is known.
        mend: Option<Box<str>>,
    },
    /// The file, or a directory that leads to it, may have been written by somebody else.
    #[error("failed to trust the token store `{}`: {problem}", shown(.path))]
    Untrusted {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it, and how it is mended.
        problem: TrustProblem,
    },
    /// The file has more than 32 MiB.
    #[error("failed to read the token store `{}`: it has {size} bytes, and at most {MAX_SIZE} are read; delete expired tokens", shown(.path))]
    TooLarge {
        /// The store's file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file was written to while it was read.
    #[error("failed to read the token store `{}`: it is being written to; try again", shown(.path))]
    Changing {
        /// The store's file.
        path: PathBuf,
    },
    /// While this process waited for the lock, or looked at the file, the file's name, a link that leads
    /// to it or the lock's file came to lead elsewhere.
    #[error("failed to use `{}`: it, or a link that leads to it, was moved or replaced meanwhile; try again", shown(.path))]
    Moved {
        /// The store's file, or the lock's.
        path: PathBuf,
    },
    /// The file's content is not a store of version 1.
    #[error("failed to read the token store `{}`: line {line}, column {column}: {problem}; mend the file, or move it away to begin with an empty store", shown(.path))]
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
    /// A store of the host's own failed.
    #[error("failed to read the token store: {0}")]
    Other(#[source] Arc<dyn Error + Send + Sync>),
}

impl StoreError {
    /// The error of a store of one's own.
    pub fn other(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let mend = remedy::of(action, path, &source).map(Into::into);
        Self::Io { action, path: path.to_owned(), source: Arc::new(source), mend }
    }
}

fn mending(mend: Option<&str>) -> String {
    mend.map(|mend| format!("; {mend}")).unwrap_or_default()
}

/// Why a store's file is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustProblem {
    /// It is a directory, a pipe, a socket or a device.
    NotAFile,
    /// The file or directory belongs to somebody who is neither this process's user nor root.
    ForeignOwner {
        /// What belongs to somebody else.
        path: PathBuf,
        /// The user id that it belongs to.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// The file is reached by a symbolic link that somebody made who is neither this process's user nor
    /// root.
    ForeignLink {
        /// The link.
        path: PathBuf,
        /// The user id that it belongs to.
        owner: u32,
    },
    /// The file can be written by its group or by everybody.
    FileWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory can be written by everybody, who can put another file there.
    DirectoryWritable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
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
                shown(path),
                command(&format!("chown {user}"), path),
            ),
            // No `chown`: it would give away what the link leads to.
            Self::ForeignLink { path, owner } => write!(
                f,
                "`{}` is a link that user {owner} made; see where it leads: {}; then remove it",
                shown(path),
                command("ls -l", path),
            ),
            Self::FileWritable { path, mode } => write!(
                f,
                "others can write to it (mode {mode:04o}); first see that its tokens are yours, then: {}",
                command("chmod go-w", path),
            ),
            Self::DirectoryWritable { path, mode } => write!(
                f,
                "everybody can put files into its directory (mode {mode:04o}); first see that its tokens are \
                 yours, then: {}",
                command("chmod o-w", path),
            ),
        }
    }
}

/// Tokens could not be created, rotated or deleted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There can be no such token.
    #[error(transparent)]
    Invalid(#[from] NewTokenError),
    /// Another token has the name.
    #[error("a token named `{}` exists already; delete it first, or rotate it for a new secret", .name.escape_debug())]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No token has this id, name or beginning of an id.
    #[error("no token has the id or name `{}`{}", .key.escape_debug(), too_short(.key))]
    NotFound {
        /// What was asked for.
        key: String,
    },
    /// What was asked for looks like a token, which is not repeated here.
    #[error(
        "no token has this id or name: it looks like a token itself; give the token's id or its name"
    )]
    KeyIsToken,
    /// Several tokens have an id that begins so.
    #[error("several tokens have an id that begins with `{key}`: {}", listed(.candidates))]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// The tokens that it may mean.
        candidates: Vec<TokenRecord>,
    },
    /// Another process, or another thread of this one, held the store's lock for the whole time.
    #[error("failed to lock `{}`: another process or thread has held it for {}; end that process, or try again", shown(.path), span(*.waited))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NameError> for ChangeError {
    fn from(error: NameError) -> Self {
        Self::Invalid(error.into())
    }
}

/// What to say to somebody who may have given the beginning of an id.
fn too_short(key: &str) -> &'static str {
    let may_begin_id = matches!(key.len(), 1..6)
        && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if may_begin_id { " (of the beginning of an id, at least 6 characters are needed)" } else { "" }
}

/// `10 s`, or `30 ms` where that would be `0 s`.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds => format!("{seconds} s"),
    }
}

fn listed(records: &[TokenRecord]) -> String {
    let words: Vec<String> = records
        .iter()
        .map(|record| match record.name() {
            Some(name) => format!("{} ({name})", record.id()),
            None => record.id().to_string(),
        })
        .collect();
    words.join(", ")
}
