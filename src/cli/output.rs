//! Standard output and standard error, and what happens if a write fails.

use std::fmt;
use std::io::{self, Write};

use anstream::AutoStream;
use anstream::stream::RawStream;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::record::TokenRecord;
use crate::token::Token;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Larger than a token and its record as JSON. A buffer that grows would leave a copy of the token behind.
const TOKEN_JSON_CAPACITY: usize = 4096;

/// Prints what a program reads to standard output. Closing the pipe early (`| head`) is not an error.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<(), String> {
    unless_closed(write_all(&mut io::stdout(), text.as_ref()))
}

/// Like [`print()`], with styles if standard output is a terminal and `NO_COLOR` is not set.
pub(super) fn print_styled(text: &str) -> Result<(), String> {
    unless_closed(write_all(&mut styled(io::stdout()), text.as_bytes()))
}

/// Prints a value as JSON, with a newline.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), String> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| not_written(&error.into()))?;
    text.push(b'\n');
    print(&text)
}

/// Whether a token would be lost on standard output. If the stream was closed when the program started, the
/// Rust runtime replaced it with `/dev/null`, and writing to it does not fail.
#[cfg(unix)]
pub(super) fn discards_tokens() -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let stdout = stdout.and_then(|stdout| std::fs::File::from(stdout).metadata());
    let null = std::fs::metadata("/dev/null");
    matches!((null, stdout), (Ok(null), Ok(stdout))
        if stdout.file_type().is_char_device() && stdout.rdev() == null.rdev())
}

/// On other platforms a write to a closed stream fails, or nothing tells.
#[cfg(not(unix))]
pub(super) fn discards_tokens() -> bool {
    false
}

/// Prints a new token to standard output, alone on its line or in a JSON object with its record. A closed
/// pipe is an error here, because nobody would have the token.
pub(super) fn print_token(token: &Token, record: &TokenRecord, as_json: bool) -> io::Result<()> {
    #[derive(Serialize)]
    struct TokenAndRecord<'a> {
        token: &'a str,
        #[serde(flatten)]
        record: &'a TokenRecord,
    }

    let token = token.expose_secret();
    let mut text = Zeroizing::new(Vec::with_capacity(TOKEN_JSON_CAPACITY));
    if as_json {
        serde_json::to_writer_pretty(&mut *text, &TokenAndRecord { token, record })?;
    } else {
        text.extend_from_slice(token.as_bytes());
    }
    text.push(b'\n');
    // One write that ends with a newline, so that the buffer of standard output keeps no copy.
    write_all(&mut io::stdout(), &text)
}

/// Prints what a person reads to standard error. If that fails, there is nobody to tell.
pub(super) fn say(text: impl fmt::Display) {
    // One write, so that the output of other processes does not get in between.
    let _ = styled(io::stderr()).write_all(format!("{text}\n").as_bytes());
}

pub(super) fn warn(text: impl fmt::Display) {
    say(format_args!("{WARNING}warning:{WARNING:#} {text}"));
}

pub(super) fn error(text: impl fmt::Display) {
    say(format_args!("{ERROR}error:{ERROR:#} {text}"));
}

/// Removes styles unless the stream is a terminal. `CLICOLOR_FORCE` is ignored, because a program that reads
/// a pipe does not want styles.
fn styled<S: RawStream>(stream: S) -> AutoStream<S> {
    if stream.is_terminal() { AutoStream::auto(stream) } else { AutoStream::never(stream) }
}

fn write_all(out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

fn unless_closed(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| not_written(&error)),
    }
}

fn not_written(error: &io::Error) -> String {
    format!("failed to write to standard output: {error}")
}
