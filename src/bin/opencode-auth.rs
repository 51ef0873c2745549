//! The token commands by themselves: `opencode-auth token create` and so on.

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use opencode_auth::cli::{Exit, TokenCommand};

/// Manage the bearer tokens of an opencode server
#[derive(Parser)]
#[command(name = "opencode-auth", version)]
enum Program {
    Token(TokenCommand),
}

fn main() -> Exit {
    let command = Program::command().mut_subcommand("token", |token| {
        token.mut_subcommands(|command| {
            // The library's examples are those of opencode itself.
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            command.after_help(examples.replace("opencode auth token", "opencode-auth token"))
        })
    });
    let mut matches = command.get_matches();
    match Program::from_arg_matches_mut(&mut matches) {
        Ok(Program::Token(command)) => command.run::<Program>(),
        Err(error) => error.format(&mut Program::command()).exit(),
    }
}
