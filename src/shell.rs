//! How messages show paths, and commands to paste into a shell.

use std::path::Path;

use crate::redact;

/// The path with control characters escaped, or redacted if it may contain a token.
pub(crate) fn escape_path(path: &Path) -> String {
    redact::escape(redact::redact(&path.to_string_lossy()))
}

/// The path as one word of a shell command. `None` if [`escape_path`] changes it.
pub(crate) fn quote(path: &Path) -> Option<String> {
    let text = escape_path(path);
    (path.to_str() == Some(&*text)).then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

/// A shell command that ends with the path. A path that cannot be pasted is left out.
pub(crate) fn command(command: &str, path: &Path) -> String {
    match quote(path) {
        Some(path) => format!("{command} {path}"),
        None => format!("{command}, by hand: its path has characters that cannot be pasted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_tokens_redacted() {
        for (path, expected, pasted) in [
            ("/a b/é漢", "/a b/é漢", "rm '/a b/é漢'"),
            ("/it's", "/it's", r"rm '/it'\''s'"),
            (
                "/\u{1b}[2J\n",
                r"/\u{1b}[2J\n",
                "rm, by hand: its path has characters that cannot be pasted",
            ),
            (
                "/\u{202e}x",
                r"/\u{202e}x",
                "rm, by hand: its path has characters that cannot be pasted",
            ),
            (
                "/oct_AAECAwQFBgcI",
                "<contains a token>",
                "rm, by hand: its path has characters that cannot be pasted",
            ),
        ] {
            assert_eq!(escape_path(Path::new(path)), expected);
            assert_eq!(command("rm", Path::new(path)), pasted);
        }
    }
}
