//! The commands as a program of their own: `opencode-auth token create`, `opencode-auth policy` and so on.

use std::io::{self, Write as _};

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use opencode_auth::cli::{Exit, PolicyCommand, TokenCommand, may_hold_token, name_examples};

/// Manage the tokens of an opencode server, review its policy, and guard it
#[derive(Parser)]
#[command(name = "opencode-auth", version)]
enum Program {
    Token(TokenCommand),
    Policy(PolicyCommand),
    #[cfg(feature = "gateway")]
    Gateway(opencode_auth::gateway::GatewayCommand),
}

fn main() -> Exit {
    let mut matches =
        name_examples(Program::command()).try_get_matches().unwrap_or_else(|error| exit(&error));
    match Program::from_arg_matches_mut(&mut matches) {
        Ok(Program::Token(command)) => command.run::<Program>(),
        Ok(Program::Policy(command)) => command.run(),
        #[cfg(feature = "gateway")]
        Ok(Program::Gateway(command)) => command.run(),
        Err(error) => exit(&error.format(&mut Program::command())),
    }
}

/// Ends the program as clap does, but does not repeat an argument that contains a token.
fn exit(error: &clap::Error) -> ! {
    if may_hold_token(&error.to_string()) {
        let _ = writeln!(
            io::stderr(),
            "error: an argument that is not understood looks like a token and is not repeated here\n\n\
             For more information, try '--help'."
        );
        std::process::exit(error.exit_code());
    }
    error.exit()
}
