//! What the commands do.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use time::UtcDateTime;

use crate::cli::args::{Create, Delete, List, Rotate};
use crate::cli::{Exit, check, output, table, wording};
use crate::record::{NewToken, TokenRecord};
use crate::shell::{escape_path, quote};
use crate::store::{ChangeError, Durability, FileTokenStore, absolute_path};

/// A command could not do what it was asked for: the sentence that says so.
type Failure = String;

/// What every command needs to know.
pub(super) struct Session {
    store: Option<PathBuf>,
    /// The words that lead to the token commands, such as `opencode auth token`, with the store if it was named.
    program: String,
}

impl Session {
    pub(super) fn new(store: Option<PathBuf>, program: &mut Command) -> Self {
        program.build();
        let mut name = path_to_token_commands(program).unwrap_or(program.get_name()).to_owned();
        // A hint without it would act on another file.
        if let Some(store) = &store {
            name = format!("{name} --store {}", quote(store).unwrap_or("PATH".to_owned()));
        }
        Self { store, program: name }
    }

    pub(super) fn create(&self, arguments: Create) -> Result<Exit, Failure> {
        let mut new = NewToken::new().permissions(arguments.permissions).expires(arguments.expires);
        if let Some(name) = arguments.name {
            new = new.name(name);
        }
        will_be_heard("create the token")?;
        let store = self.open()?;
        let created =
            store.create(new).map_err(|error| self.failure("create the token", &error))?;
        let record = &created.record;
        if let Err(error) = output::print_token(&created.token, record, arguments.json) {
            let undone = store.delete(record.id().as_str()).map(|deleted| deleted.durability);
            return Err(self.not_handed_over(
                &error,
                undone,
                "it was deleted again",
                &format!("delete it: {} delete {}", self.program, record.id()),
            ));
        }
        if !arguments.json {
            output::say(format_args!("Created the token {}.", wording::token(record)));
            say_how_to_use(record, store.path());
        }
        Ok(done("the token was created, but a power cut may undo that", created.durability))
    }

    pub(super) fn rotate(&self, arguments: &Rotate) -> Result<Exit, Failure> {
        will_be_heard("rotate the token")?;
        let store = self.open()?;
        let rotated = store
            .rotate(&arguments.key)
            .map_err(|error| self.failure("rotate the token", &error))?;
        let record = rotated.record.clone();
        if let Err(error) = output::print_token(&rotated.token, &record, arguments.json) {
            return Err(self.not_handed_over(
                &error,
                store.undo_rotation(rotated),
                "the old one was put back and works as before",
                &format!("rotate it again: {} rotate {}", self.program, record.id()),
            ));
        }
        if !arguments.json {
            output::say(format_args!(
                "Rotated the token {}: its old secret is refused from now on.",
                wording::token(&record),
            ));
            say_how_to_use(&record, store.path());
        }
        Ok(done(
            "the token was rotated, but a power cut may undo that and bring the old one back",
            rotated.durability,
        ))
    }

    pub(super) fn list(&self, arguments: &List) -> Result<Exit, Failure> {
        let store = self.open()?;
        let records = store.list().map_err(|error| wording::store_error(&error))?;
        if arguments.json {
            output::print_json(&records).map_err(not_written)?;
        } else if records.is_empty() {
            let path = escape_path(store.path());
            let state = if store.path().exists() { "has none" } else { "does not exist" };
            output::say(format_args!(
                "No tokens: the file `{path}` {state}. Create one with: {} create",
                self.program
            ));
        } else {
            let mut text = Vec::new();
            table::write(&mut text, &records, UtcDateTime::now())
                .and_then(|()| output::print_styled(&text))
                .map_err(not_written)?;
        }
        Ok(Exit::Done)
    }

    pub(super) fn delete(&self, arguments: &Delete) -> Result<Exit, Failure> {
        let store = self.open()?;
        let (what, deleted) = if arguments.expired {
            ("delete the expired tokens", store.delete_expired())
        } else if let [_] = arguments.keys[..] {
            ("delete the token", store.delete_many(&arguments.keys))
        } else {
            ("delete any of these tokens", store.delete_many(&arguments.keys))
        };
        let deleted = deleted.map_err(|error| self.failure(what, &error))?;
        for record in &deleted.records {
            output::say(format_args!("Deleted the token {}.", wording::token(record)));
        }
        output::say(match deleted.records.len() {
            0 => "No token is expired, and none was deleted.",
            1 => "Servers refuse it from now on.",
            _ => "Servers refuse them from now on.",
        });
        Ok(done(
            "that was done, but a power cut may bring what was deleted back",
            deleted.durability,
        ))
    }

    pub(super) fn path(&self) -> Result<Exit, Failure> {
        let path = self.store_path()?;
        let mut line = path.into_os_string().into_encoded_bytes();
        line.push(b'\n');
        output::print(&line).map_err(not_written)?;
        Ok(Exit::Done)
    }

    pub(super) fn check(&self) -> Result<Exit, Failure> {
        let path = self.store_path()?;
        let findings = check::check(&path, &self.program);
        output::print(findings.text.as_bytes()).map_err(not_written)?;
        Ok(if findings.is_fine { Exit::Done } else { Exit::Failed })
    }

    fn open(&self) -> Result<FileTokenStore, Failure> {
        let options = FileTokenStore::options().on_lock_wait(|| {
            output::say("Another process is changing the tokens: waiting for it.");
        });
        match &self.store {
            Some(path) => options.open(path),
            None => options.open_default(),
        }
        .map_err(|error| wording::store_error(&error))
    }

    /// The store's file, which is not looked at.
    fn store_path(&self) -> Result<PathBuf, Failure> {
        match &self.store {
            Some(path) => absolute_path(path).map_err(Into::into),
            None => FileTokenStore::default_path(),
        }
        .map_err(|error| wording::store_error(&error))
    }

    fn failure(&self, what: &str, error: &ChangeError) -> Failure {
        wording::change_error(what, error, &self.program)
    }

    /// The new token could not be written out, so that nobody has it, and what was done was undone; or
    /// that failed as well.
    fn not_handed_over(
        &self,
        error: &io::Error,
        undone: Result<Durability, ChangeError>,
        outcome: &str,
        remedy: &str,
    ) -> Failure {
        let failed = format!("failed to write the new token to standard output: {error}");
        match undone {
            Ok(Durability::Confirmed) => format!("{failed}; {outcome}"),
            Ok(Durability::Unconfirmed(error)) => {
                format!("{failed}; {outcome}, but a power cut may undo that ({error})")
            }
            Err(error) => {
                let why = self.failure("take that back", &error);
                format!(
                    "{failed}; then {why}; so the store holds a token that nobody has; {remedy}"
                )
            }
        }
    }
}

pub(super) fn completions(shell: Shell, program: &mut Command) -> Result<Exit, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, program, name, &mut script);
    output::print(&script).map_err(not_written)?;
    Ok(Exit::Done)
}

/// Where the program has put the token commands.
fn path_to_token_commands(command: &Command) -> Option<&str> {
    let is_here =
        ["create", "rotate", "check"].iter().all(|name| command.find_subcommand(name).is_some());
    if is_here {
        return command.get_bin_name();
    }
    command.get_subcommands().find_map(path_to_token_commands)
}

fn say_how_to_use(record: &TokenRecord, store: &Path) {
    output::say(wording::details(record, store));
    output::say(
        "The token is shown only this once. With it in the variable TOKEN, try:\n  \
         curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:4096/config",
    );
}

/// A token is shown once. Nothing is done if that one time is lost from the start.
fn will_be_heard(what: &str) -> Result<(), Failure> {
    if output::discards_tokens() {
        return Err(format!(
            "failed to {what}: standard output is closed or /dev/null, and the token would be lost; \
             let it go to a terminal, a pipe or a file"
        ));
    }
    Ok(())
}

/// A change that was made, or the warning that the disk has not confirmed it.
fn done(warning: &str, durability: Durability) -> Exit {
    match durability {
        Durability::Confirmed => Exit::Done,
        Durability::Unconfirmed(error) => {
            output::warn(format_args!("{warning}: the disk did not confirm it ({error})"));
            Exit::NotDurable
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn not_written(error: io::Error) -> Failure {
    format!("failed to write to standard output: {error}")
}
