//! The store that the commands act on. `--store` is parsed here and nowhere else.

use std::path::{Path, PathBuf};

use crate::cli::{output, wording};
use crate::record::{Expiry, NewToken, TokenRecord};
use crate::shell::{escape_path, quote};
use crate::store::{
    ChangeError, Created, Deleted, Durability, FileTokenStore, Rotated, StoreError, absolute_path,
};

pub(super) enum ChosenStore {
    /// No `--store`: the environment decides.
    Default,
    /// `--store PATH`.
    File(PathBuf),
}

impl ChosenStore {
    /// Parses the value of `--store`.
    pub(super) fn parse(argument: Option<&Path>) -> Self {
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
        }
    }

    pub(super) fn open(&self) -> Result<OpenStore, String> {
        let options = FileTokenStore::options().on_lock_wait(|| {
            output::say("Another process is changing the tokens. Waiting for it.");
        });
        match self {
            Self::Default => options.open_default().map(OpenStore::File),
            Self::File(path) => options.open(path).map(OpenStore::File),
        }
        .map_err(|error| wording::store_error(&error))
    }

    /// The path of the store's file. It does not look at the file.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        match self {
            Self::Default => FileTokenStore::default_path(),
            Self::File(path) => absolute_path(path).map_err(Into::into),
        }
        .map_err(|error| wording::store_error(&error))
    }

    /// Why this store is used and not another one.
    pub(super) fn reason(&self) -> &'static str {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::File(_) => "named by --store",
            Self::Default if is_set("OPENCODE_AUTH_TOKENS") => "named by OPENCODE_AUTH_TOKENS",
            Self::Default => "the default; --store or OPENCODE_AUTH_TOKENS names another one",
        }
    }
}

/// A store of any kind, with what the commands do to it.
pub(super) enum OpenStore {
    File(FileTokenStore),
}

impl OpenStore {
    /// Where the tokens are, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(store) => escape_path(store.path()),
        }
    }

    pub(super) fn exists(&self) -> bool {
        match self {
            Self::File(store) => store.path().exists(),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<TokenRecord>, StoreError> {
        match self {
            Self::File(store) => store.list(),
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
        match self {
            Self::File(store) => store.create_and(new, before, then),
        }
    }

    /// Rotates a token, with `before` and `then` as in [`create_and`](Self::create_and).
    pub(super) fn rotate_and<T>(
        &self,
        id_or_name: &str,
        expiry: Option<Expiry>,
        before: impl Fn(),
        then: impl FnOnce(Rotated) -> T,
    ) -> Result<T, ChangeError> {
        match self {
            Self::File(store) => store.rotate_and(id_or_name, expiry, before, then),
        }
    }

    pub(super) fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
        match self {
            Self::File(store) => store.undo_rotation(rotated),
        }
    }

    pub(super) fn delete_many(&self, ids_or_names: &[String]) -> Result<Deleted, ChangeError> {
        match self {
            Self::File(store) => store.delete_many(ids_or_names),
        }
    }

    pub(super) fn delete_expired(&self) -> Result<Deleted, ChangeError> {
        match self {
            Self::File(store) => store.delete_expired(),
        }
    }
}
