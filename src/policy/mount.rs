//! The path under which a host serves the API.

use super::path::{Ambiguity, CanonicalPath, PathPrefix};

/// Routers compare the literal segments of a path byte for byte, so a mount is compared the same way. A
/// path that begins with the mount in another spelling is ambiguous: a lenient router would take it to the
/// API, and a strict one to another route.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// Segments as the host wrote them, each after a slash. Empty for the root.
    text: Box<str>,
    prefix: PathPrefix,
}

impl Mount {
    /// Any text becomes a path of whole segments.
    pub(super) fn new(text: &str) -> Self {
        let mut segments: Vec<&str> = Vec::new();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                _ => segments.push(segment),
            }
        }
        let written = segments.iter().flat_map(|segment| ["/", segment]).collect::<String>();
        Self { text: written.into(), prefix: PathPrefix::new(text) }
    }

    /// Its segments, each after a slash. Empty for the root.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How many segments it has.
    pub(super) fn depth(&self) -> usize {
        self.text.matches('/').count()
    }

    /// The rest of a path that is under the mount, and `None` for a path that is not.
    pub(super) fn strip<'a>(
        &self,
        path: CanonicalPath<'a>,
    ) -> Result<Option<CanonicalPath<'a>>, Ambiguity> {
        match path.strip_exactly(&self.text) {
            None if path.starts_with(&self.prefix) => Err(Ambiguity::MountSpelling),
            rest => Ok(rest),
        }
    }
}
