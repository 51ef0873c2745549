//! The store that the commands act on. `--store` is parsed here and nowhere else.

use std::path::{Path, PathBuf};

use crate::cli::findings::Findings;
#[cfg(feature = "postgres")]
use crate::cli::postgres::{self, OpenPostgres};
use crate::cli::{check, output, wording};
use crate::record::{Expiry, NewToken, TokenRecord};
use crate::shell::{escape_path, quote};
#[cfg(feature = "postgres")]
use crate::store::PostgresTokenStore;
use crate::store::{
    BUILT_WITHOUT_POSTGRES, ChangeError, Created, Deleted, Durability, FileTokenStore, Rotated,
    StoreError, absolute_path, other_names,
};

const VARIABLE: &str = "OPENCODE_AUTH_TOKENS";

#[cfg(feature = "postgres")]
fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// The store that was asked for.
pub(super) enum ChosenStore {
    /// No `--store`: the environment decides.
    Default,
    /// `--store PATH`.
    File(PathBuf),
    /// `--store postgres://…`, or the environment names such a URL.
    #[cfg(feature = "postgres")]
    Postgres { url: String, is_default: bool },
}

impl ChosenStore {
    /// Parses the value of `--store`.
    pub(super) fn parse(argument: Option<&Path>) -> Self {
        #[cfg(feature = "postgres")]
        {
            let variable = argument.is_none().then(|| std::env::var_os(VARIABLE)).flatten();
            let named = argument.map(Path::as_os_str).or(variable.as_deref());
            if let Some(url) = named.and_then(|named| named.to_str()).filter(|url| is_postgres(url))
            {
                return Self::Postgres { url: url.to_owned(), is_default: argument.is_none() };
            }
        }
        match argument {
            None => Self::Default,
            Some(path) => Self::File(path.to_owned()),
        }
    }

    /// `--store` as hints repeat it, because a hint without it would act on another store.
    pub(super) fn option(&self) -> Option<String> {
        match self {
            Self::Default => None,
            Self::File(path) => {
                Some(format!("--store {}", quote(path).unwrap_or("PATH".to_owned())))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres { is_default: true, .. } => None,
            // Without its password.
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => {
                let location = PostgresTokenStore::location_of(url).unwrap_or("URL".to_owned());
                let quoted = quote(Path::new(&location)).unwrap_or("URL".to_owned());
                Some(format!("--store {quoted}"))
            }
        }
    }

    pub(super) fn open(&self) -> Result<OpenStore, String> {
        let options = FileTokenStore::options().on_lock_wait(|| {
            output::say("Another process is changing the tokens. Waiting for it.");
        });
        match self {
            Self::Default => options.open_default().map(OpenStore::File),
            Self::File(path) => options.open(path).map(OpenStore::File),
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => return OpenPostgres::open(url).map(OpenStore::Postgres),
        }
        .map_err(|error| wording::store_error(&error))
    }

    /// Creates the tables of a store in PostgreSQL.
    pub(super) fn init(&self) -> Result<(), String> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => postgres::init(url),
            Self::Default | Self::File(_) => Err(if cfg!(feature = "postgres") {
                "only a store in PostgreSQL has tables to create; name it with --store \
                 'postgres://USER@HOST/DATABASE?realm=NAME'"
            } else {
                BUILT_WITHOUT_POSTGRES
            }
            .to_owned()),
        }
    }

    /// Checks the store. `program` is the words that run the commands.
    pub(super) fn check(&self, program: &str) -> Result<Findings, String> {
        let reason = self.reason();
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => Ok(postgres::check(url, reason, program)),
            Self::Default | Self::File(_) => Ok(check::check(&self.path()?, reason, program)),
        }
    }

    /// The path of the store's file, or the URL without its password. It does not look at the file.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        match self {
            Self::Default => FileTokenStore::default_path(),
            Self::File(path) => absolute_path(path).map_err(Into::into),
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => {
                PostgresTokenStore::location_of(url).map(PathBuf::from).map_err(Into::into)
            }
        }
        .map_err(|error| wording::store_error(&error))
    }

    /// Why this store is used and not another one.
    fn reason(&self) -> &'static str {
        let is_set = || std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty());
        match self {
            Self::File(_) => "named by --store",
            #[cfg(feature = "postgres")]
            Self::Postgres { is_default: false, .. } => "named by --store",
            #[cfg(feature = "postgres")]
            Self::Postgres { .. } => "named by OPENCODE_AUTH_TOKENS",
            Self::Default if is_set() => "named by OPENCODE_AUTH_TOKENS",
            Self::Default => "the default; --store or OPENCODE_AUTH_TOKENS names another one",
        }
    }
}

/// A store of any kind, with what the commands do to it.
pub(super) enum OpenStore {
    File(FileTokenStore),
    #[cfg(feature = "postgres")]
    Postgres(OpenPostgres),
}

/// Calls a method that both stores have. The file's blocks; PostgreSQL's is a future, which is waited for.
macro_rules! wait_for {
    ($store:expr, $method:ident($($argument:expr),*)) => {
        match $store {
            OpenStore::File(store) => store.$method($($argument),*),
            #[cfg(feature = "postgres")]
            OpenStore::Postgres(open) => open.background.wait(open.store.$method($($argument),*)),
        }
    };
}

impl OpenStore {
    /// Where the tokens are, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(store) => escape_path(store.path()),
            #[cfg(feature = "postgres")]
            Self::Postgres(open) => open.store.location().to_owned(),
        }
    }

    /// What holds no tokens, as a sentence says it.
    pub(super) fn what_is_empty(&self) -> String {
        let place = self.place();
        match self {
            Self::File(store) if store.path().exists() => format!("the file `{place}` has none"),
            Self::File(_) => format!("the file `{place}` does not exist"),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => format!("the realm at `{place}` has none"),
        }
    }

    /// The token that was created last. `None` if there is none, or if it cannot be read.
    pub(super) fn newest(&self) -> Option<TokenRecord> {
        match self {
            Self::File(store) if !store.path().exists() => None,
            Self::File(store) => store.list().ok()?.into_iter().max_by_key(TokenRecord::created_at),
            #[cfg(feature = "postgres")]
            Self::Postgres(open) => open.background.wait(open.store.newest()).ok()?,
        }
    }

    /// Whether hard links point to the store's file.
    pub(super) fn has_other_names(&self) -> bool {
        match self {
            Self::File(store) => {
                store.path().canonicalize().is_ok_and(|target| other_names(&target) > 0)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
        }
    }

    pub(super) fn list(&self) -> Result<Vec<TokenRecord>, StoreError> {
        match self {
            Self::File(store) => store.list(),
            #[cfg(feature = "postgres")]
            Self::Postgres(open) => Ok(open.background.wait(open.store.list())?),
        }
    }

    /// Creates a token. `before` is called right before the change, and `then` before servers are sure to
    /// see it.
    pub(super) fn create_and<T>(
        &self,
        new: &NewToken,
        before: impl Fn(),
        then: impl FnOnce(Created) -> T,
    ) -> Result<T, ChangeError> {
        wait_for!(self, create_and(new, before, then))
    }

    /// Rotates a token, with `before` and `then` as in [`create_and`](Self::create_and).
    pub(super) fn rotate_and<T>(
        &self,
        id_or_name: &str,
        expiry: Option<Expiry>,
        before: impl Fn(),
        then: impl FnOnce(Rotated) -> T,
    ) -> Result<T, ChangeError> {
        wait_for!(self, rotate_and(id_or_name, expiry, before, then))
    }

    pub(super) fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
        wait_for!(self, undo_rotation(rotated))
    }

    pub(super) fn delete_many(&self, ids_or_names: &[String]) -> Result<Deleted, ChangeError> {
        wait_for!(self, delete_many(ids_or_names))
    }

    pub(super) fn delete_expired(&self) -> Result<Deleted, ChangeError> {
        wait_for!(self, delete_expired())
    }
}
