//! Where a store is: the default path, and paths that a user named.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{self, Path, PathBuf, is_separator};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::redact;
use crate::store::file::error::FileStoreError;

const FILE_VARIABLE: &str = "OPENCODE_AUTH_TOKENS";
const CONFIG_VARIABLE: &str = "XDG_CONFIG_HOME";
const FILE: &str = "opencode/auth-tokens.json";

/// `$OPENCODE_AUTH_TOKENS`, else `$XDG_CONFIG_HOME/opencode/auth-tokens.json`, else
/// `~/.config/opencode/auth-tokens.json`, on every platform, because opencode uses the same directory.
/// (`dirs::config_dir` returns another one on macOS and Windows.)
pub(crate) fn default_path() -> Result<PathBuf, FileStoreError> {
    absolute_path(&locate(env::var_os, dirs::home_dir())?)
}

/// The directory that contains the file at `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Whether a store's directory was there before. If it is gone, a disk may not be mounted: then the store
/// is not empty, and a change must not begin a second one.
#[derive(Debug, Default)]
pub(crate) struct SeenDirectory(AtomicBool);

impl SeenDirectory {
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the directory exists.
    pub(crate) fn exists(&self, directory: &Path) -> Result<bool, FileStoreError> {
        // A directory that cannot be inspected exists.
        if directory.try_exists().unwrap_or(true) {
            self.mark();
            return Ok(true);
        }
        if self.0.load(Ordering::Relaxed) {
            return Err(FileStoreError::DirectoryGone { path: directory.to_owned() });
        }
        Ok(false)
    }
}

/// The path of a store as a user named it, made absolute.
pub(crate) fn absolute_path(path: &Path) -> Result<PathBuf, FileStoreError> {
    // Hosts show the path.
    if redact::holds_token(&path.to_string_lossy()) {
        return Err(FileStoreError::PathHoldsToken);
    }
    reject_invisible_end(path)?;
    let text = path.to_string_lossy();
    if let Some((scheme, _)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        return Err(FileStoreError::PathIsUrl { scheme: scheme.to_owned() });
    }
    if path.as_os_str().as_encoded_bytes().last().is_some_and(|last| is_separator((*last).into())) {
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            "a slash at its end makes it a directory; name a file in it",
        );
        return Err(FileStoreError::io("open", path, source));
    }
    path::absolute(path).map_err(|source| FileStoreError::io("open", path, source))
}

/// A variable from a file with Windows line ends, or a pasted value, would name another, empty store.
fn reject_invisible_end(path: &Path) -> Result<(), FileStoreError> {
    let is_invisible = |last: &char| last.is_whitespace() || redact::is_unprintable(*last);
    match path.to_string_lossy().chars().next_back().filter(is_invisible) {
        Some(character) => Err(FileStoreError::PathEndsInvisibly { character }),
        None => Ok(()),
    }
}

/// Whether the text is the scheme of a URL (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn locate(
    variable: impl Fn(&'static str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Result<PathBuf, FileStoreError> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = set(FILE_VARIABLE) {
        return require_absolute(FILE_VARIABLE, file);
    }
    if let Some(config) = set(CONFIG_VARIABLE) {
        return Ok(require_absolute(CONFIG_VARIABLE, config)?.join(FILE));
    }
    let home = home.filter(|home| !home.as_os_str().is_empty()).ok_or(FileStoreError::NoHome)?;
    Ok(require_absolute("HOME", home)?.join(".config").join(FILE))
}

/// With a relative path the current directory, such as an untrusted repository, would supply the tokens.
fn require_absolute(variable: &'static str, value: PathBuf) -> Result<PathBuf, FileStoreError> {
    reject_invisible_end(&value)?;
    if value.is_absolute() {
        return Ok(value);
    }
    // It may be a URL, which has its own error.
    absolute_path(&value)?;
    // The variable's name invites users to put a token into it, and errors are logged.
    let value = if redact::may_hold_token(&value.to_string_lossy()) {
        PathBuf::from(redact::REDACTED)
    } else {
        value
    };
    Err(FileStoreError::NotAbsolute { variable, value })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn locate_with(variables: &[(&str, &str)], home: Option<&str>) -> Result<PathBuf, String> {
        let variable = |name: &str| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value))
        };
        locate(variable, home.map(PathBuf::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_variable_that_is_set_and_not_empty_decides() {
        let file = (FILE_VARIABLE, "/srv/tokens.json");
        let config = (CONFIG_VARIABLE, "/xdg");
        for (variables, expected) in [
            (vec![file, config], "/srv/tokens.json"),
            (vec![(FILE_VARIABLE, ""), config], "/xdg/opencode/auth-tokens.json"),
            (vec![(CONFIG_VARIABLE, "")], "/home/u/.config/opencode/auth-tokens.json"),
            (vec![], "/home/u/.config/opencode/auth-tokens.json"),
        ] {
            assert_eq!(locate_with(&variables, Some("/home/u")), Ok(PathBuf::from(expected)));
        }
    }

    #[test]
    fn a_variable_that_ends_in_an_invisible_character_is_an_error() {
        for variable in [FILE_VARIABLE, CONFIG_VARIABLE] {
            assert_eq!(
                locate_with(&[(variable, "/srv/x\r")], Some("/home/u")),
                Err(r"failed to find the token store: its path ends in the invisible character U+000D (\r); remove it, also from the variable or the file that the path comes from".to_owned())
            );
        }
    }

    #[test]
    fn a_relative_variable_is_an_error_that_names_it() {
        for (variables, home, named) in [
            (vec![(FILE_VARIABLE, "tokens.json")], Some("/home/u"), FILE_VARIABLE),
            (vec![(CONFIG_VARIABLE, ".")], Some("/home/u"), CONFIG_VARIABLE),
            (vec![], Some("home"), "HOME"),
            (vec![], None, "home directory is not known"),
            (vec![], Some(""), "home directory is not known"),
        ] {
            let error = locate_with(&variables, home).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_token_in_a_variable_is_not_repeated() {
        let error = locate_with(&[(FILE_VARIABLE, "oct_AAECAwQFBgcI")], None).unwrap_err();
        assert_eq!(
            error,
            "failed to find the token store: the variable `OPENCODE_AUTH_TOKENS` is `<contains a token>`, \
             which is not an absolute path"
        );
    }
}
