//! The token commands, for programs built with [`clap`].
//!
//! [`TokenCommand`] implements `opencode auth token`: `create`, `list`, `delete`, `rotate`, `identify`,
//! `path`, `check`, `init` and `completions`. A host adds it to its own commands and runs it. The binary
//! `opencode-auth` does the same.
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
//! [`PolicyCommand`] shows what a [`Policy`](crate::Policy) requires and compares it with a server:
//! `opencode-auth policy`.
//!
//! The store is the file that `--store` names, or else the variable `OPENCODE_AUTH_TOKENS` (with an S at the
//! end), or else `opencode/auth-tokens.json` in `$XDG_CONFIG_HOME` or `~/.config`.
//!
//! # Output
//!
//! Standard output has what a program reads: the token of `create`, the table or JSON of `list`. Standard
//! error has what only a person reads. No command ends the process. [`Exit`] says how it ended.
//!
//! # Completions
//!
//! `completions` prints a static script: commands, options and the values of `--permissions`. It does not
//! complete the names and ids of tokens, because that part of `clap_complete` is still unstable
//! (`unstable-dynamic`). This command lets you pick a token from a list:
//!
//! ```sh
//! opencode auth token delete "$(opencode auth token list --json |
//!     jq -r '.[] | "\(.id) \(.name // "")"' | fzf | cut -d ' ' -f 1)"
//! ```
//!
//! # Security
//!
//! `create` and `rotate` print the token before they wait for servers to see the change, and on Unix they
//! hold `SIGINT`, `SIGTERM`, `SIGHUP` and `SIGQUIT` until the token is printed. If it cannot be printed, they
//! undo the change. That only works if a failed write returns an error: Rust programs ignore `SIGPIPE`, and a
//! host that restores its default loses this protection.

mod exit;
mod context;
mod output;
mod relative;
mod hints;
mod wording;
mod clock;
mod table;
mod signals;
mod input;
mod findings;
mod probe;
mod check;
#[cfg(feature = "postgres")]
mod postgres;
mod store;
mod args;
mod policy;
mod examples;
mod commands;

use std::fmt;
use std::path::PathBuf;

use clap::{CommandFactory, ValueHint};

use self::args::Action;
use self::commands::Session;
pub use self::context::Context;
pub use self::examples::name_examples;
pub use self::exit::Exit;
pub use self::policy::PolicyCommand;
use crate::redact;

/// Shows `--store` after the options of each command.
const LAST: usize = 100;

/// The token commands and their arguments, as parsed from a command line.
///
/// Use it as the payload of a variant of a [`clap::Subcommand`], or flatten it into a [`clap::Args`].
#[derive(Clone, clap::Args)]
#[command(
    about = "Create, list and delete the tokens that clients use",
    long_about = None,
    after_help = "Exit codes:\n  \
        0  the command succeeded\n  \
        1  it failed and changed nothing, or check found a problem\n  \
        2  wrong usage\n  \
        3  the change was made, but the disk did not confirm it"
)]
pub struct TokenCommand {
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        value_hint = ValueHint::FilePath,
        display_order = LAST,
        help = "The token file [default:\n\
            $OPENCODE_AUTH_TOKENS, else\n\
            $XDG_CONFIG_HOME/opencode/auth-tokens.json, else\n\
            ~/.config/opencode/auth-tokens.json]"
    )]
    store: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

impl TokenCommand {
    /// Runs the command, prints its output, and returns how it ended.
    ///
    /// `P` is the whole program. Messages name the commands as that program has them, and `completions`
    /// prints the completions of the program.
    ///
    /// It blocks, as the [store](crate::FileTokenStore#blocking) does.
    pub fn run<P: CommandFactory>(&self) -> Exit {
        self.run_with::<P>(&Context::new())
    }

    /// Runs the command as [`run`](Self::run) does, with hints that fit the host.
    pub fn run_with<P: CommandFactory>(&self, context: &Context) -> Exit {
        let session = Session::new(self.store.as_deref(), &mut P::command(), context);
        match &self.action {
            Action::Create(arguments) => session.create(arguments),
            Action::List(arguments) => session.list(arguments),
            Action::Delete(arguments) => session.delete(arguments),
            Action::Rotate(arguments) => session.rotate(arguments),
            Action::Identify(arguments) => session.identify(arguments),
            Action::Path => session.path(),
            Action::Check => session.check(),
            Action::Init(arguments) => session.init(arguments),
            Action::Completions { shell } => commands::completions(*shell, &mut P::command()),
        }
        .unwrap_or_else(|failure| {
            output::error(&failure);
            Exit::Failed
        })
    }
}

impl fmt::Debug for TokenCommand {
    /// Omits the arguments, because a user may have typed a token in place of an id or a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCommand").finish_non_exhaustive()
    }
}

/// Whether the text contains a token or half of one: `oct_` and 12 or more characters of base64url, also
/// percent-encoded.
///
/// clap repeats arguments that it does not understand. A host that parses its own command line does not print
/// an error for which this returns true.
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
    fn debug_shows_no_arguments() {
        let typed = ["program", "delete", "typed", "--store", "typed"];
        let program = Program::try_parse_from(typed).unwrap();
        assert_eq!(format!("{:?}", program.command), "TokenCommand { .. }");
    }
}
