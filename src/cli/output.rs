//! The two streams, and what becomes of a write that fails.

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

/// More than a token and its record take as JSON, so that no copy is left behind by a buffer that grows.
const TOKEN_JSON_CAPACITY: usize = 4096;

/// What a program reads, on standard output. A reader that has read enough is no error.
pub(super) fn print(text: &[u8]) -> io::Result<()> {
    unless_closed(write_all(&mut io::stdout(), text))
}

/// As [`print()`], with styles where a terminal shows them and nobody has said `NO_COLOR`.
pub(super) fn print_styled(text: &[u8]) -> io::Result<()> {
    unless_closed(write_all(&mut styled(io::stdout()), text))
}

/// A value as JSON, with a newline.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    print(&text)
}

/// Whether a token that is written to standard output is sure to be lost. A stream that was closed when
/// the program started has been replaced by `/dev/null` by now, so that writing to it does not fail.
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

/// Elsewhere a write to a closed stream fails, or there is no telling.
#[cfg(not(unix))]
pub(super) fn discards_tokens() -> bool {
    false
}

/// A new token on standard output, alone on its line, or in a JSON object with its record. Here, a
/// reader that is gone is an error: nobody has the token then.
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
    // In one piece that ends with a newline, which the buffer of standard output does not keep.
    write_all(&mut io::stdout(), &text)
}

/// What a person reads, on standard error. If it cannot be written, there is nobody to tell.
pub(super) fn say(text: impl fmt::Display) {
    // In one piece, so that what other processes say does not come in between.
    let _ = styled(io::stderr()).write_all(format!("{text}\n").as_bytes());
}

pub(super) fn warn(text: impl fmt::Display) {
    say(format_args!("{WARNING}warning:{WARNING:#} {text}"));
}

pub(super) fn error(text: impl fmt::Display) {
    say(format_args!("{ERROR}error:{ERROR:#} {text}"));
}

/// Takes styles out, except for a terminal. `CLICOLOR_FORCE`, which would leave them in for a pipe as
/// well, counts for nothing: what reads a pipe does not want them.
fn styled<S: RawStream>(stream: S) -> AutoStream<S> {
    if stream.is_terminal() { AutoStream::auto(stream) } else { AutoStream::never(stream) }
}

fn write_all(out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

fn unless_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
