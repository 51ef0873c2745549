//! What is wrong with a store, in plain words. Looks only, and changes nothing.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use time::UtcDateTime;

use crate::cli::wording;
use crate::record::TokenRecord;
use crate::shell::{command, escape_path, quote};
use crate::store::{FileTokenStore, StoreError, lock_path};

/// What was found, in lines.
pub(super) struct Findings {
    pub(super) text: String,
    pub(super) is_fine: bool,
}

impl Findings {
    fn wrong(&mut self, what: &str) {
        self.is_fine = false;
        self.line(&format!("Wrong: {what}"));
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

pub(super) fn check(path: &Path, program: &str) -> Findings {
    let mut findings = Findings { text: String::new(), is_fine: true };
    findings.line(&format!("The tokens are in {}", escape_path(path)));
    match trusted_records(path, &mut findings) {
        Ok(Some(records)) => describe(path, &records, program, &mut findings),
        Ok(None) => findings.line(
            "Until that is mended the file is not used: servers do not start, or answer 503.",
        ),
        Err(error) => findings.wrong(&wording::store_error(&error)),
    }
    if path.parent().is_some_and(Path::exists) {
        check_writing(path, &mut findings);
    }
    findings
}

/// The records of the file, or nothing if it is not trusted.
fn trusted_records(
    path: &Path,
    findings: &mut Findings,
) -> Result<Option<Vec<TokenRecord>>, StoreError> {
    let problems = FileTokenStore::trust_problems(path)?;
    for problem in &problems {
        findings.wrong(&wording::trust_problem(path, problem));
    }
    if problems.is_empty() { FileTokenStore::open(path)?.list().map(Some) } else { Ok(None) }
}

fn describe(path: &Path, records: &[TokenRecord], program: &str, findings: &mut Findings) {
    if !path.exists() {
        findings.line(&format!(
            "Fine: there is no file yet, so that no token is valid.\nCreate one with: {program} create"
        ));
        return;
    }
    findings.line("Fine: its format is right, and nobody but you or root can write to it.");
    let now = UtcDateTime::now();
    let expired = records.iter().filter(|record| record.is_expired(now)).count();
    let mut held = match records.len() {
        0 => "It holds no token.".to_owned(),
        1 => "It holds 1 token".to_owned(),
        number => format!("It holds {number} tokens"),
    };
    let _ = match (records.len(), expired) {
        (0, _) => Ok(()),
        (_, 0) => write!(held, ", none expired."),
        (1, _) => write!(held, ", which is expired."),
        (_, expired) => write!(held, ", {expired} of them expired."),
    };
    findings.line(&held);
    if expired > 0 {
        findings.line(&format!("Delete what is expired with: {program} delete --expired"));
    }
}

/// Whether tokens could be changed as well. That they cannot be is as it should be on a read-only file
/// system, but not because of a lock file that somebody else has left.
fn check_writing(path: &Path, findings: &mut Findings) {
    // The lock is beside the file that links lead to.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Some(directory) = target.parent() else { return };
    if !is_writable(directory) {
        findings.line(
            "Note: you cannot write to its directory: tokens can be listed, but not changed.",
        );
        return;
    }
    let lock = &lock_path(&target);
    let Ok(metadata) = fs::symlink_metadata(lock) else { return };
    if !metadata.is_file() {
        let remedy = match quote(lock) {
            Some(lock) => format!(": mv {lock} {lock}.old"),
            None => String::new(),
        };
        findings.wrong(&format!(
            "the lock file `{}` is not a regular file, so that tokens cannot be changed; move it away{remedy}",
            escape_path(lock)
        ));
        return;
    }
    let opened = OpenOptions::new().read(true).write(true).open(lock);
    // Shared, so that two who check do not see each other.
    if let Ok(Err(TryLockError::WouldBlock)) = opened.as_ref().map(File::try_lock_shared) {
        findings.line(
            "Note: somebody is changing the tokens at the moment, or was stopped while at it: changes have to wait.",
        );
    }
    if let Err(error) = opened {
        findings.wrong(&format!(
            "the lock file `{}` cannot be opened ({error}), so that tokens cannot be changed; make it yours: {}",
            escape_path(lock),
            command("sudo chown \"$USER\"", lock),
        ));
    }
}

#[cfg(unix)]
fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Elsewhere only an attempt would tell.
#[cfg(not(unix))]
fn is_writable(_directory: &Path) -> bool {
    true
}
