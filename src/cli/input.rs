//! A token on standard input. An argument would show it to every user of the machine and keep it in the
//! shell's history.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use crate::cli::output;
use crate::token::Token;

/// The most that is read: a token with white space around it.
const LONGEST: u64 = 4096;

/// Reads the only token on standard input. White space around it does not count.
pub(super) fn read_token() -> Result<Token, String> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let stdin = io::stdin();
    let read = if stdin.is_terminal() {
        output::say("Paste the token and press Enter.");
        stdin.lock().take(LONGEST).read_line(&mut text)
    } else {
        stdin.lock().take(LONGEST).read_to_string(&mut text)
    };
    read.map_err(|error| format!("failed to read a token from standard input: {error}"))?;
    match text.trim() {
        "" => Err("failed to read a token from standard input: it is empty".to_owned()),
        text => text.parse().map_err(|error| {
            format!("failed to read a token from standard input: {error}; give one token and nothing else")
        }),
    }
}
