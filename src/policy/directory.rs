//! The directories that a request may name.
//!
//! opencode loads the plugins of the directory that a request names, so a free choice of directory is
//! execution of code wherever another user can put files. A request names one with `directory` or
//! `location[directory]` in its query, or with the header `x-opencode-directory`.

use std::fmt;
use std::str;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;

use super::rule::Doubt;

const HEADER: HeaderName = HeaderName::from_static("x-opencode-directory");

/// The longest directory, decoded: the limit of Linux for paths.
const LONGEST_DIRECTORY: usize = 4096;

/// The longest query that is searched for directories. Searching a longer one would cost more than a
/// denial.
const LONGEST_QUERY: usize = 8192;

/// A directory of [`Policy::directories`](crate::Policy::directories) that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid directory `{}`: it has to be an absolute path such as `/home/me/work`, without `.`, `..`, \
     `//`, `\\`, `%` and control characters",
    directory.escape_debug()
)]
pub struct DirectoryError {
    directory: String,
}

/// The directories that are allowed, without a slash at the end. `None` allows every one.
#[derive(Clone, Default)]
pub(super) struct Directories(Option<Vec<Box<str>>>);

impl Directories {
    /// Allows these directories, and no others but those that were allowed before.
    pub(super) fn allow<D: AsRef<str>>(
        &mut self,
        roots: impl IntoIterator<Item = D>,
    ) -> Result<(), DirectoryError> {
        let allowed = self.0.get_or_insert_default();
        for root in roots {
            let root = root.as_ref();
            if check(root).is_err() {
                return Err(DirectoryError { directory: root.to_owned() });
            }
            allowed.push(root.strip_suffix('/').unwrap_or(root).into());
        }
        Ok(())
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Checks the directory that a request names. It does not have to name one.
    pub(super) fn check(&self, query: Option<&str>, headers: &HeaderMap) -> Result<(), Doubt> {
        let mut buffers = [[0; LONGEST_DIRECTORY]; 2];
        let [in_query, in_header] = &mut buffers;
        let in_query = match find_in_query(query.unwrap_or_default())? {
            // To some readers `+` is a space, and `;` ends the value.
            Some(value) if value.contains(['+', ';']) => return Err(Doubt::AmbiguousDirectory),
            Some(value) => Some(decode(value.as_bytes(), in_query)?),
            None => None,
        };
        let in_header = match find_in_headers(headers)? {
            // JavaScript reads a header as Latin-1. Clients encode what is not ASCII.
            Some(value) if !value.as_bytes().is_ascii() => return Err(Doubt::AmbiguousDirectory),
            Some(value) => Some(decode(value.as_bytes(), in_header)?),
            None => None,
        };
        if let (Some(one), Some(other)) = (in_query, in_header)
            && one != other
        {
            return Err(Doubt::SeveralDirectories);
        }
        match in_query.or(in_header) {
            None => Ok(()),
            Some(directory) => {
                check(directory)?;
                if self.0.iter().flatten().any(|root| is_under(root, directory)) {
                    return Ok(());
                }
                Err(Doubt::OutsideDirectories)
            }
        }
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(allowed) => allowed.fmt(f),
            None => f.write_str("any"),
        }
    }
}

/// Whether a query names a directory, or may do so to some reader.
pub(crate) fn may_name_directory(query: &str) -> bool {
    !matches!(find_in_query(query), Ok(None))
}

fn find_in_headers(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Doubt> {
    let mut values = headers.get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Doubt::SeveralDirectories),
        (value, None) => Ok(value),
    }
}

fn find_in_query(query: &str) -> Result<Option<&str>, Doubt> {
    if query.len() > LONGEST_QUERY {
        return Err(Doubt::AmbiguousDirectory);
    }
    let mut found = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Some readers take `;` for `&`.
        let after_semicolons = pair.split(';').skip(1);
        let mut hidden = after_semicolons.map(|pair| pair.split('=').next().unwrap_or(pair));
        if hidden.any(|name| !matches!(kind(name), Name::Other)) {
            return Err(Doubt::AmbiguousDirectory);
        }
        match kind(name) {
            Name::Other => {}
            Name::Directory if found.is_none() => found = Some(value),
            Name::Directory => return Err(Doubt::SeveralDirectories),
            Name::Ambiguous => return Err(Doubt::AmbiguousDirectory),
        }
    }
    Ok(found)
}

enum Name {
    Directory,
    /// A lenient reader could take it for a directory: `Directory`, `directory[]`, `location.directory`.
    Ambiguous,
    Other,
}

/// What a name in a query is, decoded once.
fn kind(name: &str) -> Name {
    const WORD: &[u8] = b"directory";
    let is = |wanted: &[u8]| percent_decode(name.as_bytes()).eq(wanted.iter().copied());
    if is(WORD) || is(b"location[directory]") {
        return Name::Directory;
    }
    // Another spelling has to contain the word in any case, escapes in the name, or all of `location`.
    let mut decoded = [0; 64];
    let mut length = 0;
    for (slot, byte) in decoded.iter_mut().zip(percent_decode(name.as_bytes())) {
        *slot = byte.to_ascii_lowercase();
        length += 1;
    }
    let decoded = &decoded[..length];
    let is_suspicious = length == 64
        || decoded.windows(WORD.len()).any(|window| window == WORD)
        || decoded.contains(&b'%')
        || decoded == b"location";
    if is_suspicious { Name::Ambiguous } else { Name::Other }
}

fn decode<'a>(value: &[u8], buffer: &'a mut [u8; LONGEST_DIRECTORY]) -> Result<&'a str, Doubt> {
    let mut length = 0;
    for byte in percent_decode(value) {
        *buffer.get_mut(length).ok_or(Doubt::AmbiguousDirectory)? = byte;
        length += 1;
    }
    str::from_utf8(&buffer[..length]).map_err(|_| Doubt::AmbiguousDirectory)
}

/// Whether a decoded directory is absolute and has one reading. One slash at the end does not count.
fn check(directory: &str) -> Result<(), Doubt> {
    let Some(inside) = directory.strip_prefix('/') else { return Err(Doubt::RelativeDirectory) };
    let counted = inside.strip_suffix('/').unwrap_or(inside);
    // A `%` comes from a broken escape or from `%25`.
    let is_sound = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && !segment.contains(['\\', '%'])
            && !segment.contains(char::is_control)
    };
    if inside.is_empty() || counted.split('/').all(is_sound) {
        return Ok(());
    }
    Err(Doubt::AmbiguousDirectory)
}

fn is_under(root: &str, directory: &str) -> bool {
    directory.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
