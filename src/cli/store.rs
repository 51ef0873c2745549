//! The store that the commands act on. `--store` is parsed here and nowhere else.

use std::path::{Path, PathBuf};

use crate::cli::{output, wording};
use crate::shell::quote;
use crate::store::{FileTokenStore, absolute_path};

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

    pub(super) fn open(&self) -> Result<FileTokenStore, String> {
        let options = FileTokenStore::options().on_lock_wait(|| {
            output::say("Another process is changing the tokens. Waiting for it.");
        });
        match self {
            Self::Default => options.open_default(),
            Self::File(path) => options.open(path),
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
