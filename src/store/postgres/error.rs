use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::redact;
use crate::store::{StoreError, change::ChangeError};

/// The PostgreSQL store could not be opened, read or changed.
#[derive(Clone)]
pub struct PostgresStoreError {
    /// Without a password.
    location: Arc<str>,
    problem: PostgresProblem,
}

impl PostgresStoreError {
    pub(crate) fn new(location: &Arc<str>, problem: PostgresProblem) -> Self {
        Self { location: Arc::clone(location), problem }
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &PostgresProblem {
        &self.problem
    }
}

impl fmt::Display for PostgresStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to use the token store `{}`: {}", self.location, self.problem)
    }
}

impl fmt::Debug for PostgresStoreError {
    /// The sentence: `main` and `expect` print errors this way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for PostgresStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

impl From<PostgresStoreError> for StoreError {
    fn from(error: PostgresStoreError) -> Self {
        Self::new(error)
    }
}

impl From<PostgresStoreError> for ChangeError {
    fn from(error: PostgresStoreError) -> Self {
        Self::Store(error.into())
    }
}

/// An error of the database, of TLS or of the network.
type Cause = Arc<dyn Error + Send + Sync>;

/// What is wrong with a PostgreSQL store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PostgresProblem {
    /// The URL cannot be used. It is not repeated: it may hold a password.
    Url(Cow<'static, str>),
    /// The certificates to trust could not be read.
    Certificates(Cause),
    /// The client's certificate or its key could not be used.
    ClientCertificate(Cause),
    /// The file with passwords could not be read.
    PasswordFile(Cause),
    /// No connection could be made.
    Connect(Cause),
    /// The database did not respond in time.
    TimedOut(Duration),
    /// The connection broke, or the database rejected a statement.
    Statement(Cause),
    /// The database has no tables of this crate.
    NotInitialized,
    /// The database has no such realm.
    UnknownRealm,
    /// A newer version of this crate wrote the realm.
    UnknownFormat(i32),
    /// The database is a replica. It may lag behind, so it cannot tell which tokens are valid.
    Replica,
    /// The realm's version is lower than before, as after the restore of an older dump.
    WentBack {
        /// The highest version that was seen.
        seen: i64,
        /// The version now.
        found: i64,
    },
    /// The realm's lease was made shorter than the one that this process started with.
    LeaseShortened,
    /// A row is not a token.
    Damaged {
        /// The row's id.
        id: String,
        /// What is wrong with it.
        cause: Cause,
    },
    /// Somebody else has locked the realm for the whole time.
    Locked,
    /// Other changes came in between each time.
    Changing,
}

impl PostgresProblem {
    /// An error of a statement.
    pub(crate) fn of_statement(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(&(SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME)) => {
                Self::NotInitialized
            }
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::Replica,
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Locked,
            _ => Self::Statement(Arc::new(error)),
        }
    }

    /// Whether another attempt may succeed where this one met another change.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Changing)
            || self.has_code(&[
                SqlState::UNIQUE_VIOLATION,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
            ])
    }

    /// Whether the database says that the role may not do it.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.has_code(&[SqlState::INSUFFICIENT_PRIVILEGE])
    }

    fn has_code(&self, codes: &[SqlState]) -> bool {
        let Self::Statement(cause) = self else { return false };
        cause
            .downcast_ref::<tokio_postgres::Error>()
            .and_then(tokio_postgres::Error::code)
            .is_some_and(|code| codes.contains(code))
    }

    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Certificates(cause)
            | Self::ClientCertificate(cause)
            | Self::PasswordFile(cause)
            | Self::Connect(cause)
            | Self::Statement(cause)
            | Self::Damaged { cause, .. } => Some(&**cause),
            Self::Url(_)
            | Self::TimedOut(_)
            | Self::NotInitialized
            | Self::UnknownRealm
            | Self::UnknownFormat(_)
            | Self::Replica
            | Self::WentBack { .. }
            | Self::LeaseShortened
            | Self::Locked
            | Self::Changing => None,
        }
    }
}

impl fmt::Display for PostgresProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(problem) => f.write_str(problem),
            Self::Certificates(cause) => {
                write!(f, "the certificates to trust cannot be read: {}", chain(cause))
            }
            Self::ClientCertificate(cause) => {
                write!(f, "the client's certificate cannot be used: {}", chain(cause))
            }
            Self::PasswordFile(cause) => {
                write!(f, "the password file cannot be used: {}", chain(cause))
            }
            Self::Connect(cause) => write!(f, "no connection: {}", chain(cause)),
            Self::TimedOut(after) => {
                write!(f, "the database did not answer within {} ms", after.as_millis())
            }
            Self::Statement(cause) => f.write_str(&chain(cause)),
            Self::NotInitialized => f.write_str(
                "the database has no tables for tokens; make them with `opencode-auth token init`",
            ),
            Self::UnknownRealm => f.write_str(
                "the database has no such realm; check `?realm=`, or make it with \
                 `opencode-auth token init`",
            ),
            Self::UnknownFormat(format) => write!(
                f,
                "the realm has format {format}, and this version of opencode-auth knows format 1; \
                 update opencode-auth"
            ),
            Self::Replica => f.write_str(
                "the database is a replica, which may lag behind; name the primary in the URL",
            ),
            Self::WentBack { seen, found } => write!(
                f,
                "the realm's version went back from {seen} to {found}, as after the restore of an \
                 older dump, so deleted tokens may be back; check its tokens, then set its version \
                 above {seen} in opencode_auth.realms, or restart the servers"
            ),
            Self::LeaseShortened => f.write_str(
                "the realm's lease was made shorter since this process started; restart it",
            ),
            Self::Damaged { id, cause } => write!(
                f,
                "the row with the id `{}` is not a token: {}",
                redact::escape(redact::redact(id)),
                chain(cause)
            ),
            Self::Locked => f.write_str(
                "another session has locked the realm for 10 s; end its transaction, or try again",
            ),
            Self::Changing => f.write_str("other changes came in between each time; try again"),
        }
    }
}

/// The error and what caused it, in one line. The driver's errors do not name their cause.
fn chain(error: &Cause) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    redact::escape(redact::redact(&text))
}

/// A change of a PostgreSQL store could not be made.
pub(crate) enum Failure {
    /// The change itself failed, or its outcome is not known.
    Change(ChangeError),
    /// The database could not do it.
    Problem(PostgresProblem),
}

impl From<PostgresProblem> for Failure {
    fn from(problem: PostgresProblem) -> Self {
        Self::Problem(problem)
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        Self::Change(error)
    }
}
