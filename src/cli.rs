//! The token commands, for programs that are built with [`clap`].
//!
//! [`TokenCommand`] is what stands behind `opencode auth token`: `create`, `list`, `delete`, `rotate`,
//! `path`, `check` and `completions`. A host gives it a place among its commands and runs it; the
//! binary `opencode-auth` does no more.
//!
//! ```
//! use clap::Parser;
//! use opencode_auth::cli::TokenCommand;
//!
//! #[derive(Parser)]
//! #[command(name = "opencode")]
//! enum Opencode {
//!     #[command(subcommand)]
//!     Auth(Auth),
//! }
//!
//! #[derive(clap::Subcommand)]
//! enum Auth {
//!     Token(TokenCommand),
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let store = directory.path().join("auth-tokens.json");
//! # let store = store.to_str().unwrap();
//! let command_line = ["opencode", "auth", "token", "create", "--name", "laptop", "--store", store];
//! let Opencode::Auth(Auth::Token(command)) = Opencode::try_parse_from(command_line)?;
//! assert_eq!(command.run::<Opencode>().code(), 0);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Output
//!
//! Standard output has what a program reads: the token of `create`, the table or JSON of `list`. What
//! only a person reads is on standard error. Nothing ends the process: how it went comes back as an
//! [`Exit`].
//!
//! # Security
//!
//! `create` and `rotate` take back what they did if the new token cannot be written to standard output.
//! They can do so only if the write fails rather than ends the process: Rust programs ignore `SIGPIPE`,
//! and a host that sets it back to its default loses that.

mod args;
mod check;
mod commands;
mod hints;
mod output;
mod relative;
mod table;
mod wording;

use std::fmt;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};

use clap::{CommandFactory, ValueHint};

use self::args::Action;
use self::commands::Session;
use crate::redact;

/// Behind the options of each command.
const LAST: usize = 100;

/// The token commands, with their arguments, as they were parsed from a command line.
///
/// Use it as the payload of a variant of a [`clap::Subcommand`], or flatten it into a [`clap::Args`].
#[derive(clap::Args)]
#[command(about = "Create, list and delete the tokens that let clients in", long_about = None)]
pub struct TokenCommand {
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        value_hint = ValueHint::FilePath,
        display_order = LAST,
        help = "The file with the tokens [default:\n\
            $OPENCODE_AUTH_TOKENS, else\n\
            $XDG_CONFIG_HOME/opencode/auth-tokens.json, else\n\
            ~/.config/opencode/auth-tokens.json]"
    )]
    store: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

impl TokenCommand {
    /// Does what the command line asks for, and says how it went.
    ///
    /// `P` is the whole program: messages that name a command to run name it as that program has it,
    /// and `completions` prints those of the program.
    ///
    /// It blocks, as the [store](crate::FileTokenStore#blocking) does.
    pub fn run<P: CommandFactory>(self) -> Exit {
        let session = Session::new(self.store, &mut P::command());
        match self.action {
            Action::Create(arguments) => session.create(arguments),
            Action::List(arguments) => session.list(&arguments),
            Action::Delete(arguments) => session.delete(&arguments),
            Action::Rotate(arguments) => session.rotate(&arguments),
            Action::Path => session.path(),
            Action::Check => session.check(),
            Action::Completions { shell } => commands::completions(shell, &mut P::command()),
        }
        .unwrap_or_else(|failure| {
            output::error(&failure);
            Exit::Failed
        })
    }
}

impl fmt::Debug for TokenCommand {
    /// Without the arguments: somebody may have typed a token where an id or a path belongs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCommand").finish_non_exhaustive()
    }
}

/// Whether there is a token in the text, or half of one: `oct_` and 12 or more characters of base64url,
/// also percent-encoded.
///
/// clap repeats arguments that it does not understand. A host that parses its command line by itself
/// keeps an error to itself, in which this finds something.
///
/// ```
/// use opencode_auth::cli::may_hold_token;
///
/// assert!(may_hold_token("unexpected argument 'oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw' found"));
/// assert!(may_hold_token("oct_AAECAwQFBgcI"));
/// assert!(!may_hold_token("oct_backup"));
/// ```
#[must_use]
pub fn may_hold_token(text: &str) -> bool {
    redact::may_hold_token(text)
}

/// How a command ended. It is a value for `main` to return; wrong usage, which is 2, is found by clap
/// while it parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[must_use]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it could not be done, and an error says why; nothing was changed. Or `check` found something
    /// wrong.
    Failed,
    /// 3: it was done, but the disk has not confirmed it, so that a power cut may undo it.
    NotDurable,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotDurable => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        command: TokenCommand,
    }

    #[test]
    fn nothing_that_was_typed_is_shown_by_debug() {
        let typed = ["program", "delete", "typed", "--store", "typed"];
        let program = Program::try_parse_from(typed).unwrap();
        assert_eq!(format!("{:?}", program.command), "TokenCommand { .. }");
    }
}
