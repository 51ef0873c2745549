//! The words for records and errors.

use std::path::Path;

use time::UtcDateTime;
use time::macros::format_description;

use crate::cli::hints::{chmod_is_vain, hint};
use crate::cli::relative;
use crate::record::{NewTokenError, TokenRecord};
use crate::redact::escape;
use crate::shell::{command, escape_path};
use crate::store::{ChangeError, FileStoreError, StoreError, TrustProblem};

/// A token in a sentence: `3f9c0a1b2c3d (laptop)`.
pub(super) fn token(record: &TokenRecord) -> String {
    match record.name() {
        Some(name) => format!("{} ({})", record.id(), escape(name)),
        None => record.id().to_string(),
    }
}

/// The details of a new token, in lines.
pub(super) fn details(record: &TokenRecord, place: &str) -> String {
    format!(
        "  permissions  {}\n  expires      {}\n  stored in    {place} (as a hash)",
        record.permissions(),
        expiry(record, record.created_at()),
    )
}

/// The details of an existing token, in lines.
pub(super) fn description(record: &TokenRecord, now: UtcDateTime) -> String {
    format!(
        "  permissions  {}\n  created      {}\n  expires      {}",
        record.permissions(),
        date_and_time(record.created_at()),
        expiry(record, now),
    )
}

/// The date and time of the expiry, and the time until then.
fn expiry(record: &TokenRecord, now: UtcDateTime) -> String {
    let relative = relative::expiry(record.expires_at(), now);
    match record.expires_at() {
        Some(time) => format!("{}, {relative}", date_and_time(time)),
        None => relative,
    }
}

fn date_and_time(time: UtcDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.format(form).unwrap_or_else(|_| time.to_string())
}

/// An error of a change: what failed, why, and a hint.
pub(super) fn change_error(what: &str, error: &ChangeError, program: &str) -> String {
    match error {
        ChangeError::Store(error) => store_error(error),
        // The error says what failed.
        ChangeError::Invalid(NewTokenError::Random(_)) => error.to_string(),
        ChangeError::Invalid(_)
        | ChangeError::NameTaken { .. }
        | ChangeError::OutcomeUnknown(_) => {
            format!("failed to {what}: {error}")
        }
        ChangeError::NotFound { .. } => {
            format!("failed to {what}: {error}; list the tokens with: {program} list")
        }
        // A shell keeps arguments in its history, and other users of the machine can see them.
        ChangeError::IdOrNameIsToken => {
            let command = if what.starts_with("rotate") { "rotate" } else { "delete" };
            format!(
                "failed to {what}: the argument looks like a token; give the token's id or name, or pass \
                 the token on standard input: printf %s \"$TOKEN\" | {program} {command} -"
            )
        }
        ChangeError::Ambiguous { .. } => {
            format!("failed to {what}: {error}; give one of these ids")
        }
        ChangeError::Expired { id, .. } => {
            format!("failed to {what}: {error}: {program} rotate {id} --expires 90d")
        }
    }
}

/// An error of a store, with a hint and the names of users. The library does not look those up.
pub(super) fn store_error(error: &StoreError) -> String {
    let Some(file_error) = error.downcast_ref() else { return error.to_string() };
    match file_error {
        FileStoreError::Untrusted { path, problem } => {
            let problem = trust_problem(path, problem);
            format!("failed to trust the token store `{}`: {problem}", escape_path(path))
        }
        file_error => match hint(file_error) {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        },
    }
}

/// What is wrong with the file `store` or the path to it, and a hint.
pub(super) fn trust_problem(store: &Path, problem: &TrustProblem) -> String {
    match problem {
        TrustProblem::ForeignOwner { path, owner, user } => {
            let it = if path == store {
                "it".to_owned()
            } else if path.is_dir() {
                format!("the directory `{}`", escape_path(path))
            } else {
                format!("the file `{}`", escape_path(path))
            };
            let [owner_name, user_name] = [*owner, *user].map(user_name);
            // If root took the file over, its owner's server could no longer read it.
            let hint = if *user == 0 {
                String::new()
            } else {
                let chown = command(&format!("sudo chown {user}"), path);
                format!("; to make it yours: {chown}")
            };
            format!(
                "{it} belongs to {owner_name}, and this process runs as {user_name}; run it as \
                 {owner_name}{hint}"
            )
        }
        TrustProblem::ForeignLink { path, owner } => format!(
            "`{}` is a link that {} made; see where it points: {}; then remove it",
            escape_path(path),
            user_name(*owner),
            command("ls -l", path),
        ),
        TrustProblem::FileWritable { path, mode } => match chmod_is_vain(path) {
            Some(hint) => format!("others can write to it (mode {mode}); {hint}"),
            None => problem.to_string(),
        },
        TrustProblem::DirectoryWritable { path, mode } => match chmod_is_vain(path) {
            Some(hint) => {
                format!("everybody can put files into its directory (mode {mode}); {hint}")
            }
            None => problem.to_string(),
        },
        TrustProblem::NotAFile | TrustProblem::UnknownOwner { .. } => problem.to_string(),
    }
}

/// `user 1000 (alice)`, or `user 1000` if `/etc/passwd` does not name it.
fn user_name(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    match name_in(&users, id) {
        Some(name) => format!("user {id} ({})", escape(name)),
        None => format!("user {id}"),
    }
}

/// The name in the lines `name:password:id:…` of this id.
fn name_in(users: &str, id: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_id() {
        let users = "root:x:0:0::/root:/bin/sh\n# a remark\nalice:x:1000:1000::/home/alice:\n";
        assert_eq!(name_in(users, 1000), Some("alice"));
        assert_eq!(name_in(users, 0), Some("root"));
        assert_eq!(name_in(users, 100), None);
    }
}
