//! Readers of a path that are more lenient than any router should be. Each does some of what routers,
//! proxies and middleware have been seen to do: decode twice, resolve dot segments, cut at `;`, take a
//! backslash for a slash. Fuzzing uses this file too.

use std::collections::BTreeSet;

/// The prefixes of `Policy::default()` of interactive routes.
pub const INTERACTIVE: [&str; 3] = ["pty", "session", "message"];

type Step = fn(&str) -> String;

/// In the order in which a reader would take them.
const STEPS: [Step; 8] = [
    decoded,
    decoded,
    cut_at_query_or_fragment,
    with_backslashes_as_slashes,
    without_parameters,
    without_control_characters,
    without_dot_segments,
    folded,
];

/// Whether there is a reader that takes this path to an interactive route. A reader may leave any of
/// the steps out.
pub fn is_interactive_to_some_reader(path: &str) -> bool {
    let mut readings = BTreeSet::from([path.to_owned()]);
    for step in STEPS {
        let further: Vec<_> = readings.iter().map(|reading| step(reading)).collect();
        readings.extend(further);
    }
    readings.iter().any(|reading| is_interactive(reading))
}

fn is_interactive(path: &str) -> bool {
    let first = path.split('/').find(|segment| !segment.is_empty());
    first.is_some_and(|first| INTERACTIVE.contains(&first))
}

/// Decodes what can be decoded, and leaves the rest as it is.
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        let digits = bytes.get(position + 1..position + 3);
        let byte = digits
            .filter(|digits| bytes[position] == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(bytes[position]));
        position += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn cut_at_query_or_fragment(path: &str) -> String {
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn with_backslashes_as_slashes(path: &str) -> String {
    path.replace('\\', "/")
}

fn without_parameters(path: &str) -> String {
    let segments: Vec<_> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    segments.join("/")
}

fn without_control_characters(path: &str) -> String {
    path.replace(char::is_control, "")
}

fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.join("/")
}

fn folded(path: &str) -> String {
    path.to_uppercase().to_lowercase()
}
