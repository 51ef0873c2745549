//! How records and errors are put into words.

use std::path::Path;

use time::UtcDateTime;
use time::macros::format_description;

use crate::cli::hints::hint;
use crate::cli::relative;
use crate::record::{NewTokenError, TokenRecord};
use crate::redact::escape;
use crate::shell::{command, escape_path};
use crate::store::{ChangeError, FileStoreError, StoreError, TrustProblem};

/// A token as a sentence names it: `3f9c0a1b2c3d (laptop)`.
pub(super) fn token(record: &TokenRecord) -> String {
    match record.name() {
        Some(name) => format!("{} ({})", record.id(), escape(name)),
        None => record.id().to_string(),
    }
}

/// What a person wants to know of a token that was just made, in lines.
pub(super) fn details(record: &TokenRecord, store: &Path) -> String {
    format!(
        "  permissions  {}\n  expires      {}\n  stored in    {} (as a hash)",
        record.permissions(),
        expiry(record),
        escape_path(store),
    )
}

/// As date and time, and as a person says it.
fn expiry(record: &TokenRecord) -> String {
    let relative = relative::expiry(record.expires_at(), record.created_at());
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    match record.expires_at().and_then(|time: UtcDateTime| time.format(form).ok()) {
        Some(date) => format!("{date}, {relative}"),
        None => relative,
    }
}

/// An error of a change: what was to be done, why it could not be, and what to do.
pub(super) fn change_error(what: &str, error: &ChangeError, program: &str) -> String {
    match error {
        ChangeError::Store(error) => store_error(error),
        // They say themselves what failed.
        ChangeError::Invalid(NewTokenError::Random(_)) => error.to_string(),
        ChangeError::Invalid(_) | ChangeError::NameTaken { .. } => {
            format!("failed to {what}: {error}")
        }
        ChangeError::NotFound { .. } | ChangeError::IdOrNameIsToken => {
            format!("failed to {what}: {error}; see them with: {program} list")
        }
        ChangeError::Ambiguous { .. } => {
            format!("failed to {what}: {error}; give one of these ids in full")
        }
        ChangeError::Expired { id, .. } => {
            format!("failed to {what}: {error}: {program} rotate {id} --expires 90d")
        }
    }
}

/// An error of a store, with the names of users and a hint, for which the library does not look.
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

/// What is wrong with the file `store`, or on the way to it, and what mends it.
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
            // What root takes over, its owner's server cannot read any more.
            let mend = if *user == 0 {
                String::new()
            } else {
                let chown = command(&format!("sudo chown {user}"), path);
                format!("; if it is to be yours: {chown}")
            };
            format!(
                "{it} belongs to {owner_name}, and this process runs as {user_name}; run it as \
                 {owner_name}{mend}"
            )
        }
        TrustProblem::ForeignLink { path, owner } => format!(
            "`{}` is a link that {} made; see where it leads: {}; then remove it",
            escape_path(path),
            user_name(*owner),
            command("ls -l", path),
        ),
        TrustProblem::NotAFile
        | TrustProblem::FileWritable { .. }
        | TrustProblem::DirectoryWritable { .. } => problem.to_string(),
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
