//! The commands.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use time::UtcDateTime;

use crate::cli::args::{Create, Delete, Identify, Init, List, Rotate};
use crate::cli::context::Context;
use crate::cli::examples::path_to_token_commands;
use crate::cli::exit::Exit;
use crate::cli::signals::Hold;
use crate::cli::store::{ChosenStore, OpenStore};
use crate::cli::{clock, input, output, table, wording};
use crate::record::{NewToken, TokenRecord};
use crate::shell::escape_path;
use crate::store::{ChangeError, Durability};

/// The sentence that says why a command failed.
type Failure = String;

/// What every command needs.
pub(super) struct Session<'c> {
    store: ChosenStore,
    /// The words that run the token commands, such as `opencode auth token`, and `--store` if it was given.
    program: String,
    context: &'c Context,
}

impl<'c> Session<'c> {
    pub(super) fn new(store: Option<&Path>, program: &mut Command, context: &'c Context) -> Self {
        program.build();
        let found = || path_to_token_commands(program).unwrap_or(program.get_name()).to_owned();
        let mut name = context.command.clone().unwrap_or_else(found);
        let store = ChosenStore::parse(store);
        if let Some(option) = store.option() {
            name = format!("{name} {option}");
        }
        Self { store, program: name, context }
    }

    pub(super) fn create(&self, arguments: &Create) -> Result<Exit, Failure> {
        let mut new = NewToken::new().permissions(arguments.permissions).expires(arguments.expires);
        if let Some(name) = &arguments.name {
            new = new.name(name);
        }
        require_output("create the token")?;
        let store = self.store.open()?;
        warn_of_clock(&store);
        let hold = Hold::new();
        let (created, printed) = store
            .create_and(
                &new,
                || hold.begin(),
                |created| {
                    let printed =
                        output::print_token(&created.token, &created.record, arguments.json);
                    (created, printed)
                },
            )
            .map_err(|error| self.failure("create the token", &error))?;
        let record = &created.record;
        if let Err(error) = printed {
            let undone =
                store.delete_many(&[record.id().to_string()]).map(|deleted| deleted.durability);
            return Err(self.not_printed(
                &error,
                undone,
                "it was deleted again",
                &format!("delete it: {} delete {}", self.program, record.id()),
            ));
        }
        if !arguments.json {
            output::say(format_args!("Created the token {}.", wording::token(record)));
            self.say_how_to_use(record, &store.place());
        }
        Ok(done("the token was created, but a power cut may undo that", created.durability))
    }

    pub(super) fn rotate(&self, arguments: &Rotate) -> Result<Exit, Failure> {
        require_output("rotate the token")?;
        let store = self.store.open()?;
        warn_of_other_names(&store);
        let id_or_name = resolve(&store, &arguments.id_or_name)?;
        warn_of_clock(&store);
        let hold = Hold::new();
        let (rotated, printed) = store
            .rotate_and(
                &id_or_name,
                arguments.expires,
                || hold.begin(),
                |rotated| {
                    let printed =
                        output::print_token(&rotated.token, &rotated.record, arguments.json);
                    (rotated, printed)
                },
            )
            .map_err(|error| self.failure("rotate the token", &error))?;
        let record = rotated.record.clone();
        if let Err(error) = printed {
            return Err(self.not_printed(
                &error,
                store.undo_rotation(rotated),
                "the old one was restored and works as before",
                &format!("rotate it again: {} rotate {}", self.program, record.id()),
            ));
        }
        if !arguments.json {
            output::say(format_args!(
                "Rotated the token {}. Servers deny the old secret from now on and end its open streams.",
                wording::token(&record),
            ));
            self.say_how_to_use(&record, &store.place());
        }
        Ok(done(
            "the token was rotated, but a power cut may undo that and restore the old one",
            rotated.durability,
        ))
    }

    pub(super) fn list(&self, arguments: &List) -> Result<Exit, Failure> {
        let store = self.store.open()?;
        let records = store.list().map_err(|error| wording::store_error(&error))?;
        if arguments.json {
            output::print_json(&records)?;
        } else if records.is_empty() {
            output::say(format_args!(
                "There are no tokens: {}. Create a token with: {} create",
                store.what_is_empty(),
                self.program
            ));
        } else {
            output::print_styled(&table::text(&records, UtcDateTime::now()))?;
        }
        Ok(Exit::Done)
    }

    pub(super) fn delete(&self, arguments: &Delete) -> Result<Exit, Failure> {
        let store = self.store.open()?;
        warn_of_other_names(&store);
        let (what, deleted) = if arguments.expired {
            ("delete the expired tokens", store.delete_expired())
        } else {
            let ids_or_names = arguments
                .ids_or_names
                .iter()
                .map(|id_or_name| resolve(&store, id_or_name))
                .collect::<Result<Vec<_>, _>>()?;
            let what = match ids_or_names[..] {
                [_] => "delete the token",
                _ => "delete any of these tokens",
            };
            (what, store.delete_many(&ids_or_names))
        };
        let deleted = deleted.map_err(|error| self.failure(what, &error))?;
        for record in &deleted.records {
            output::say(format_args!("Deleted the token {}.", wording::token(record)));
        }
        output::say(match deleted.records.len() {
            0 => "No token is expired. Nothing was deleted.",
            1 => "Servers deny it from now on and end its open streams.",
            _ => "Servers deny them from now on and end their open streams.",
        });
        Ok(done(
            "that was done, but a power cut may restore the deleted tokens",
            deleted.durability,
        ))
    }

    pub(super) fn identify(&self, arguments: &Identify) -> Result<Exit, Failure> {
        let store = self.store.open()?;
        let record = presented(&store)?;
        if arguments.json {
            output::print_json(&record)?;
            return Ok(Exit::Done);
        }
        let text = format!(
            "The token is {}.\n{}\nDelete it with: {} delete {}\n",
            wording::token(&record),
            wording::description(&record, UtcDateTime::now()),
            self.program,
            record.id(),
        );
        output::print(text)?;
        Ok(Exit::Done)
    }

    pub(super) fn path(&self) -> Result<Exit, Failure> {
        let path = self.store.path()?;
        // A terminal would interpret the characters of the path. A program gets it as it is.
        let mut line = if io::stdout().is_terminal() {
            escape_path(&path).into_bytes()
        } else {
            path.into_os_string().into_encoded_bytes()
        };
        line.push(b'\n');
        output::print(line)?;
        Ok(Exit::Done)
    }

    pub(super) fn init(&self, arguments: &Init) -> Result<Exit, Failure> {
        #[cfg(feature = "postgres")]
        if arguments.print {
            let schema = crate::store::PostgresTokenStore::SCHEMA;
            output::print(schema)?;
            return Ok(Exit::Done);
        }
        let _ = arguments;
        self.store.init().map_err(|error| format!("failed to create the tables: {error}"))?;
        output::say(format_args!(
            "The tables are there. Create a token with: {} create",
            self.program
        ));
        Ok(Exit::Done)
    }

    pub(super) fn check(&self) -> Result<Exit, Failure> {
        let findings = self.store.check(&self.program)?;
        output::print(&findings.text)?;
        Ok(if findings.is_fine { Exit::Done } else { Exit::Failed })
    }

    fn failure(&self, what: &str, error: &ChangeError) -> Failure {
        wording::change_error(what, error, &self.program)
    }

    /// The new token could not be printed. It was undone, or that failed as well.
    fn not_printed(
        &self,
        error: &io::Error,
        undone: Result<Durability, ChangeError>,
        outcome: &str,
        hint: &str,
    ) -> Failure {
        let failed = format!("failed to write the new token to standard output: {error}");
        match undone {
            Ok(Durability::Confirmed) => format!("{failed}; {outcome}"),
            Ok(Durability::Unconfirmed(error)) => {
                format!("{failed}; {outcome}, but a power cut may undo that ({error})")
            }
            Err(error) => {
                let why = self.failure("undo that", &error);
                format!("{failed}; then {why}; so the store has a token that nobody knows; {hint}")
            }
        }
    }

    fn say_how_to_use(&self, record: &TokenRecord, place: &str) {
        output::say(wording::details(record, place));
        output::say(format_args!(
            "The token is shown only this once. To try it, put it into the variable TOKEN and run:\n  \
             curl -H \"Authorization: Bearer $TOKEN\" {}",
            self.context.url
        ));
    }
}

pub(super) fn completions(shell: Shell, program: &mut Command) -> Result<Exit, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, name, &mut script);
    output::print(script)?;
    Ok(Exit::Done)
}

/// The id of the token on standard input, if the argument is `-`. Otherwise the argument.
fn resolve(store: &OpenStore, id_or_name: &str) -> Result<String, Failure> {
    if id_or_name == "-" {
        presented(store).map(|record| record.id().to_string())
    } else {
        Ok(id_or_name.to_owned())
    }
}

/// The record of the token on standard input.
fn presented(store: &OpenStore) -> Result<TokenRecord, Failure> {
    let digest = input::read_token()?.digest();
    let records = store.list().map_err(|error| wording::store_error(&error))?;
    records.into_iter().find(|record| *record.digest() == digest).ok_or_else(|| {
        format!(
            "the store `{}` does not have this token: it was deleted or rotated, or it belongs to \
             another store",
            store.place()
        )
    })
}

/// Warns if the clock is behind, because the expiry of a new token depends on it.
fn warn_of_clock(store: &OpenStore) {
    // A change reports the error of a store that cannot be read.
    if let Some(sign) = clock::behind(store.newest().as_ref(), UtcDateTime::now()) {
        output::warn(format_args!(
            "{sign}; set the clock, or the token may expire at a wrong time"
        ));
    }
}

/// A change replaces the file at its path. A hard link keeps the file that was there.
fn warn_of_other_names(store: &OpenStore) {
    if store.has_other_names() {
        output::warn(
            "the file has another name (a hard link), which keeps the old tokens: servers that read it \
             go on accepting them",
        );
    }
}

/// A token is shown once. If its output is sure to be lost, nothing is changed.
fn require_output(what: &str) -> Result<(), Failure> {
    if output::discards_tokens() {
        return Err(format!(
            "failed to {what}: standard output is closed or /dev/null, and the token would be lost; \
             let it go to a terminal, a pipe or a file"
        ));
    }
    Ok(())
}

/// The exit of a change, with a warning if the disk did not confirm it.
fn done(warning: &str, durability: Durability) -> Exit {
    match durability {
        Durability::Confirmed => Exit::Done,
        Durability::Unconfirmed(error) => {
            output::warn(format_args!("{warning}: the disk did not confirm it ({error})"));
            Exit::NotDurable
        }
    }
}
