//! The examples in the help name the host's own program.

use clap::Command;

use crate::cli::{args, policy};

/// Makes the examples in the help of the token and policy commands name `program`. Without this they name
/// `opencode auth token` and `opencode-auth policy`.
///
/// ```
/// use clap::Parser;
/// use opencode_auth::cli::{TokenCommand, name_examples};
///
/// #[derive(Parser)]
/// #[command(name = "my-server")]
/// enum Program {
///     Token(TokenCommand),
/// }
///
/// let mut command = name_examples(<Program as clap::CommandFactory>::command());
/// let matches = command.try_get_matches_from_mut(["my-server", "token", "rotate", "--help"]);
/// assert!(matches.unwrap_err().to_string().contains("$(my-server token rotate ci)"));
/// ```
#[must_use]
pub fn name_examples(program: Command) -> Command {
    let mut built = program.clone();
    built.build();
    let token = path_to_token_commands(&built).map(|path| (args::EXAMPLE_COMMAND, path));
    let policy =
        path_to(&built, &["explain", "check", "audit"]).map(|path| (policy::EXAMPLE_COMMAND, path));
    let names: Vec<_> = token.into_iter().chain(policy).collect();
    replace_in_examples(program, &names)
}

/// The words that run the token commands in a program that was built.
pub(super) fn path_to_token_commands(program: &Command) -> Option<&str> {
    path_to(program, &["create", "rotate", "check"])
}

/// The words that run the command that has these subcommands.
fn path_to<'p>(command: &'p Command, subcommands: &[&str]) -> Option<&'p str> {
    if subcommands.iter().all(|name| command.find_subcommand(name).is_some()) {
        return command.get_bin_name();
    }
    command.get_subcommands().find_map(|command| path_to(command, subcommands))
}

fn replace_in_examples(command: Command, names: &[(&str, &str)]) -> Command {
    command.mut_subcommands(|command| {
        let examples = command.get_after_help().map(ToString::to_string);
        let command = replace_in_examples(command, names);
        match examples {
            Some(examples) => command.after_help(
                names.iter().fold(examples, |text, (example, name)| text.replace(example, name)),
            ),
            None => command,
        }
    })
}
