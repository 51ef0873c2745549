//! The password that the URL and `PGPASSWORD` leave out: a password file, `~/.pgpass` if none is named.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::postgres::error::PostgresProblem;

pub(crate) fn find(
    file: Option<&str>,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> Result<Option<String>, PostgresProblem> {
    let (path, is_named) = match file {
        Some(path) => (PathBuf::from(path), true),
        None => match dirs::home_dir() {
            Some(home) => (home.join(".pgpass"), false),
            None => return Ok(None),
        },
    };
    match read_private(&path, false) {
        Ok(content) => Ok(password_in(&content, [host, &port.to_string(), database, user])),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => {
            let text = format!("`{}`: {error}", path.display());
            Err(PostgresProblem::PasswordFile(Arc::new(io::Error::new(error.kind(), text))))
        }
    }
}

/// Reads a file that nobody else can read, as libpq requires. If `root_may_share`, the group may read a file of root's.
pub(crate) fn read_private(path: &Path, root_may_share: bool) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut file = File::open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;

        let metadata = file.metadata()?;
        let forbidden = if root_may_share && metadata.uid() == 0 { 0o037 } else { 0o077 };
        let mode = metadata.mode() & 0o7777;
        if mode & forbidden != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("others can read it (mode {mode:04o}); run: chmod 0600"),
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = root_may_share;
    let mut content = String::new();
    file.read_to_string(&mut content)?;
    Ok(content)
}

/// The password of the first line that matches `host:port:database:user`. A field may be `*`. After a backslash,
/// a colon or a backslash is part of the field.
fn password_in(content: &str, wanted: [&str; 4]) -> Option<String> {
    content.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = vec![String::new()];
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            let last = fields.last_mut()?;
            match character {
                '\\' => last.extend(characters.next()),
                ':' => fields.push(String::new()),
                character => last.push(character),
            }
        }
        let (password, pattern) = fields.split_last()?;
        let is_match = pattern.len() == wanted.len()
            && pattern.iter().zip(wanted).all(|(field, wanted)| {
                field == "*"
                    || field == wanted
                    // libpq calls every Unix socket `localhost`.
                    || (field == "localhost" && wanted.starts_with('/'))
            });
        is_match.then(|| password.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [&str; 4] = ["db.example.org", "5432", "opencode", "server"];

    #[test]
    fn the_first_line_that_matches_has_the_password() {
        let table = [
            ("db.example.org:5432:opencode:server:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            ("*:5432:*:server:a\\:b\\\\c", Some("a:b\\c")),
            ("# *:*:*:*:no\nother:*:*:*:no\n*:*:*:server:yes\n*:*:*:*:no", Some("yes")),
            ("*:5433:*:*:no", None),
            ("*:*:*:server", None),
            ("", None),
        ];
        for (content, password) in table {
            assert_eq!(password_in(content, WANTED).as_deref(), password, "{content}");
        }
        let socket = ["/run/postgresql", "5432", "opencode", "server"];
        assert_eq!(password_in("localhost:*:*:*:secret", socket).as_deref(), Some("secret"));
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_private(&path, false).unwrap_err().to_string();
        assert_eq!(error, "others can read it (mode 0640); run: chmod 0600");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_private(&path, false).unwrap(), "*:*:*:*:secret");
    }
}
