//! How a message shows a path.

use std::path::Path;

use crate::redact;

/// A path without anything that a terminal would interpret, unless somebody has put a token where a path
/// belongs.
pub(crate) fn shown(path: &Path) -> String {
    redact::printable(redact::unless_token(&path.to_string_lossy()))
}

/// A path as one word of a shell command; `None` if what is shown of it is not the path.
pub(crate) fn quoted(path: &Path) -> Option<String> {
    let shown = shown(path);
    (path.to_str() == Some(&*shown)).then(|| format!("'{}'", shown.replace('\'', r"'\''")))
}

/// A shell command with the path as its last word. A path that cannot be pasted is left out.
pub(crate) fn command(command: &str, path: &Path) -> String {
    match quoted(path) {
        Some(quoted) => format!("{command} {quoted}"),
        None => format!("{command}, by hand: its path has characters that cannot be pasted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_what_a_terminal_would_interpret() {
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
            assert_eq!(shown(Path::new(path)), expected);
            assert_eq!(command("rm", Path::new(path)), pasted);
        }
    }
}
