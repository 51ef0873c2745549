//! One canonical reading of a request's path.
//!
//! Routers, proxies and middleware that read a path differently are the most common cause of
//! authentication bypasses: dot segments, encoded slashes, letter case, double slashes, `;`. A path that
//! two readers could take differently is therefore not read at all. It is an [`Ambiguity`], and the
//! request requires all three permissions. Every other path has one reading: its segments, decoded once.

use std::fmt;
use std::mem;
use std::sync::Arc;

use percent_encoding::{PercentDecode, percent_decode};

/// Why a path has no single reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ambiguity {
    /// The path does not begin with a slash.
    NoLeadingSlash,
    /// Two slashes with nothing between them.
    EmptySegment,
    /// A segment `.` or `..`, also when encoded.
    DotSegment,
    /// A slash, backslash, `;`, `?`, `#` or `%` inside a decoded segment. A broken escape is a `%`.
    Delimiter(char),
    /// A control character, after decoding.
    ControlCharacter,
    /// Bytes that are not UTF-8, after decoding.
    InvalidUtf8,
    /// A character outside ASCII that becomes ASCII letters when letter case is changed, such as U+017F.
    FoldsToAscii(char),
    /// The mount in another spelling: other letter case, or with escapes.
    MountSpelling,
    /// A path of more than 4096 bytes that has to be decoded. Reading it would cost more than a denial.
    TooLong,
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeadingSlash => f.write_str("no leading slash"),
            Self::EmptySegment => f.write_str("empty segment"),
            Self::DotSegment => f.write_str("dot segment"),
            Self::Delimiter('/') => f.write_str("encoded slash"),
            Self::Delimiter(delimiter) => write!(f, "`{delimiter}` in a segment"),
            Self::ControlCharacter => f.write_str("control character"),
            Self::InvalidUtf8 => f.write_str("not UTF-8"),
            Self::FoldsToAscii(character) => {
                write!(f, "U+{:04X}, which folds to ASCII letters", u32::from(*character))
            }
            Self::MountSpelling => f.write_str("the mount in another spelling"),
            Self::TooLong => f.write_str("too long"),
        }
    }
}

/// The longest path that is decoded, in bytes. A longer one is read only if it needs no decoding.
const LONGEST_DECODED: usize = 4096;

/// A path with one reading.
#[derive(Clone, Copy)]
pub(crate) struct CanonicalPath<'a> {
    /// The path as it was sent, or the rest of it after a prefix: each segment follows a slash. One slash
    /// at the end does not count.
    path: &'a str,
    has_escapes: bool,
}

impl<'a> CanonicalPath<'a> {
    #[inline]
    pub(crate) fn read(path: &'a str) -> Result<Self, Ambiguity> {
        if is_plain(path.as_bytes()) {
            return Ok(Self { path, has_escapes: false });
        }
        let has_escapes = check(path)?;
        Ok(Self { path, has_escapes })
    }

    /// The path as it was sent, with its leading slash. Empty after a prefix that is the whole path.
    pub(crate) const fn as_sent(&self) -> &'a str {
        self.path
    }

    /// The rest after these bytes, if the path is these bytes or is under them.
    pub(crate) fn strip_exactly(&self, prefix: &str) -> Option<Self> {
        let path = self.path.strip_prefix(prefix)?;
        begins_after_segment(path.as_bytes()).then_some(Self { path, ..*self })
    }

    /// Whether the path is the prefix or is under it.
    #[inline]
    pub(crate) fn starts_with(&self, prefix: &PathPrefix) -> bool {
        let path = self.path.as_bytes();
        let rest = if self.has_escapes {
            strip_decoded(path, &prefix.path)
        } else {
            path.split_at_checked(prefix.path.len())
                .and_then(|(sent, rest)| sent.eq_ignore_ascii_case(&prefix.path).then_some(rest))
        };
        rest.is_some_and(begins_after_segment)
    }
}

/// A path prefix of a policy. It consists of whole segments: `/session` is a prefix of `/session` and
/// `/session/x`, but not of `/sessions`. Letter case does not count. `Display` shows it. A clone is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct PathPrefix {
    /// Decoded segments, each after a slash. Empty for the root.
    path: Arc<[u8]>,
}

impl PathPrefix {
    /// Makes any text a prefix. Missing slashes are added and double ones removed, escapes are decoded,
    /// dot segments are resolved: a prefix that no request can match would protect nothing.
    pub(crate) fn new(text: &str) -> Self {
        // Decoded as a whole: an escaped slash counts as a slash, because no segment can contain one.
        let decoded: Vec<u8> = percent_decode(text.as_bytes()).collect();
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in decoded.split(|byte| *byte == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                _ => segments.push(segment),
            }
        }
        Self { path: segments.iter().flat_map(|segment| [b"/", *segment].concat()).collect() }
    }
}

impl fmt::Debug for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathPrefix({self})")
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str("/");
        }
        self.path.escape_ascii().fmt(f)
    }
}

/// Whether all segments consist of letters, digits, `-`, `_` and `.`, and none is empty or begins with a
/// dot. Most paths do, and such a path has one reading.
fn is_plain(path: &[u8]) -> bool {
    let mut begins_segment = false;
    path.first() == Some(&b'/')
        && path.iter().all(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                begins_segment = false;
                true
            }
            b'.' => !begins_segment,
            b'/' => !mem::replace(&mut begins_segment, true),
            _ => false,
        })
}

/// Checks a path that is not plain. Whether it has escapes.
fn check(path: &str) -> Result<bool, Ambiguity> {
    if path.len() > LONGEST_DECODED {
        return Err(Ambiguity::TooLong);
    }
    let segments = path.strip_prefix('/').ok_or(Ambiguity::NoLeadingSlash)?;
    // `//` has an empty segment. It is not a root with a slash at the end.
    let counted = segments.strip_suffix('/').unwrap_or(segments);
    counted.as_bytes().split(|byte| *byte == b'/').try_for_each(check_segment)?;
    Ok(path.contains('%'))
}

/// Whether the rest of a path begins where a segment ends: `/session` is not a prefix of `/sessions`.
fn begins_after_segment(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b'/'))
}

/// The rest of a path after a decoded prefix.
fn strip_decoded<'a>(mut path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    for wanted in prefix {
        let byte;
        (byte, path) = decode_first(path)?;
        if !byte.eq_ignore_ascii_case(wanted) {
            return None;
        }
    }
    Some(path)
}

/// The first byte of a path, decoded once, and the rest. The path has no broken escapes.
fn decode_first(path: &[u8]) -> Option<(u8, &[u8])> {
    match path {
        [b'%', high, low, rest @ ..] => {
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            let byte = digit(high)? << 4 | digit(low)?;
            Some((u8::try_from(byte).ok()?, rest))
        }
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

fn check_segment(segment: &[u8]) -> Result<(), Ambiguity> {
    if segment.is_empty() {
        return Err(Ambiguity::EmptySegment);
    }
    let mut bytes = percent_decode(segment);
    let mut length = 0_usize;
    let mut only_dots = true;
    while let Some(byte) = bytes.next() {
        match byte {
            // A decoded `%` comes from a broken escape or from `%25`.
            delimiter @ (b'/' | b'\\' | b';' | b'?' | b'#' | b'%') => {
                return Err(Ambiguity::Delimiter(delimiter.into()));
            }
            0x80.. => check_character(byte, &mut bytes)?,
            ascii if ascii.is_ascii_control() => return Err(Ambiguity::ControlCharacter),
            _ => {}
        }
        length += 1;
        only_dots &= byte == b'.';
    }
    if only_dots && length <= 2 { Err(Ambiguity::DotSegment) } else { Ok(()) }
}

/// Checks a character outside ASCII whose first byte is `first`.
fn check_character(first: u8, following: &mut PercentDecode<'_>) -> Result<(), Ambiguity> {
    let length = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Err(Ambiguity::InvalidUtf8),
    };
    let mut encoded = [first, 0, 0, 0];
    for slot in &mut encoded[1..length] {
        *slot = following.next().ok_or(Ambiguity::InvalidUtf8)?;
    }
    let character = str::from_utf8(&encoded[..length])
        .ok()
        .and_then(|text| text.chars().next())
        .ok_or(Ambiguity::InvalidUtf8)?;
    if character.is_control() {
        return Err(Ambiguity::ControlCharacter);
    }
    if folds_to_ascii(character) {
        return Err(Ambiguity::FoldsToAscii(character));
    }
    Ok(())
}

/// Whether a change of letter case, in either direction or both, turns the character into ASCII letters:
/// U+017F, U+212A, U+0131, U+00DF, U+1E9E, the ligatures from U+FB00 and others. A router that ignores
/// case may read such a character as those letters.
fn folds_to_ascii(character: char) -> bool {
    character
        .to_lowercase()
        .chain(character.to_uppercase())
        .flat_map(|folded| {
            [folded].into_iter().chain(folded.to_uppercase()).chain(folded.to_lowercase())
        })
        .any(|folded| folded.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_ambiguous(path: &str, expected: Ambiguity) {
        assert_eq!(CanonicalPath::read(path).err(), Some(expected), "{path}");
    }

    #[test]
    fn a_path_with_two_readings_is_ambiguous() {
        for path in ["", "*", "session", "http://host/session"] {
            assert_ambiguous(path, Ambiguity::NoLeadingSlash);
        }
        for path in ["//", "///", "//session", "/session//", "/session//x"] {
            assert_ambiguous(path, Ambiguity::EmptySegment);
        }
        for path in
            ["/.", "/..", "/./", "/a/../session", "/a/%2e%2E/session", "/.%2e", "/%2e/x", "/a/."]
        {
            assert_ambiguous(path, Ambiguity::DotSegment);
        }
        for (path, delimiter) in [
            ("/a%2fb", '/'),
            ("/a%2Fb", '/'),
            ("/a\\b", '\\'),
            ("/a%5cb", '\\'),
            ("/a;b", ';'),
            ("/%3bx", ';'),
            ("/..;/x", ';'),
            ("/a%3f", '?'),
            ("/a%23", '#'),
            ("/a#b", '#'),
            ("/%2573ession", '%'),
        ] {
            assert_ambiguous(path, Ambiguity::Delimiter(delimiter));
        }
        for path in ["/a%00", "/a%0a", "/a%7f", "/\u{1}", "/a%c2%80", "/\u{9f}"] {
            assert_ambiguous(path, Ambiguity::ControlCharacter);
        }
        for path in ["/%", "/a%2", "/%zz", "/%+1", "/%c3%", "/a%u0073"] {
            let found = CanonicalPath::read(path).err();
            assert!(
                matches!(found, Some(Ambiguity::Delimiter('%') | Ambiguity::InvalidUtf8)),
                "{path}"
            );
        }
        for path in ["/%ff", "/%c3", "/%c3%28", "/%e2%82", "/%ed%a0%80", "/%c0%af", "/%f5%80%80%80"]
        {
            assert_ambiguous(path, Ambiguity::InvalidUtf8);
        }
        for character in
            "\u{17f}\u{212a}\u{df}\u{1e9e}\u{fb00}\u{fb01}\u{fb05}\u{fb06}\u{131}\u{130}".chars()
        {
            assert_ambiguous(&format!("/se{character}ion"), Ambiguity::FoldsToAscii(character));
        }
        assert_ambiguous("/%c5%bfession", Ambiguity::FoldsToAscii('\u{17f}'));
    }

    #[test]
    fn a_path_with_one_reading_is_read() {
        for path in [
            "/",
            "/session",
            "/session/",
            "/a.b",
            "/...",
            "/.well-known",
            "/a%20b",
            "/%61",
            "/é",
            "/%C3%A9",
            "/日本",
            "/a:b@c,d=e+f!",
        ] {
            assert!(CanonicalPath::read(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_long_path_is_read_if_it_needs_no_decoding() {
        let long = |last: &str, length: usize| {
            let path = "/aZ09-_.x".repeat(length);
            format!("{}{last}", &path[..length - last.len()])
        };
        for path in [long("x", 60_000), long("%41", 4096)] {
            assert!(CanonicalPath::read(&path).is_ok());
        }
        for last in ["%41", "é", "%zz"] {
            assert_ambiguous(&long(last, 4097), Ambiguity::TooLong);
        }
    }

    #[test]
    fn a_prefix_is_whole_segments_in_any_case_and_encoding() {
        let prefix = PathPrefix::new("/session");
        for path in
            ["/session", "/session/", "/session/x", "/SESSION", "/%73ession", "/%53eSSion/x/y"]
        {
            assert!(
                CanonicalPath::read(path).is_ok_and(|path| path.starts_with(&prefix)),
                "{path}"
            );
        }
        for path in ["/", "/sessions", "/sessio", "/x/session", "/session%20", "/session.json"] {
            assert!(
                CanonicalPath::read(path).is_ok_and(|path| !path.starts_with(&prefix)),
                "{path}"
            );
        }
    }

    #[test]
    fn any_text_makes_a_sound_prefix() {
        for text in [
            "/api/v1",
            "api/v1",
            "/api/v1/",
            "//api//v1//",
            "/api/./x/../v1",
            "/%61pi/v1",
            "/api%2Fv1%2f",
        ] {
            assert_eq!(PathPrefix::new(text), PathPrefix::new("/api/v1"), "{text}");
        }
        for text in ["", "/", "//", ".", "..", "/../.."] {
            let prefix = PathPrefix::new(text);
            assert_eq!(prefix.to_string(), "/", "{text}");
            assert!(CanonicalPath::read("/x").is_ok_and(|path| path.starts_with(&prefix)));
        }
    }
}
