//! What is wrong with a store, in plain words. It changes nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use time::UtcDateTime;

use crate::cli::findings::Findings;
use crate::cli::{probe, wording};
use crate::record::TokenRecord;
use crate::shell::{command, escape_path, quote};
use crate::store::{FileTokenStore, StoreError, lock_path, other_names};
use crate::timestamp;

/// Checks the store at `path`, which is used because of `reason`.
pub(super) fn check(path: &Path, reason: &str, program: &str) -> Findings {
    let mut findings = Findings::new();
    findings.line(&format!("The token file is {} ({reason}).", escape_path(path)));
    if std::env::var_os("OPENCODE_AUTH_TOKEN").is_some() {
        findings.line(
            "Note: the variable OPENCODE_AUTH_TOKEN is set. It does not name the token file. The variable \
             OPENCODE_AUTH_TOKENS does, with an S at the end.",
        );
    }
    match trusted_records(path, &mut findings) {
        Ok(Some(records)) => describe(path, &records, program, &mut findings),
        Ok(None) => {
            findings.line("Until this is fixed, servers do not start, or respond with 503.");
        }
        Err(error) => findings.wrong(&wording::store_error(&error)),
    }
    check_writing(path, &mut findings);
    findings
}

/// The records of the file, or `None` if it is not trusted.
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
            "Fine: the file does not exist yet, so no token is valid.\nCreate a token with: {program} create"
        ));
        return;
    }
    findings.line("Fine: the format is right, and only you or root can write to the file.");
    let now = UtcDateTime::now();
    let expired = records.iter().filter(|record| record.is_expired(now)).count();
    findings.count(records.len(), expired, program);
    for record in records.iter().filter(|record| record.created_at() > now) {
        findings.line(&format!(
            "Note: the token {} was created in the future, at {}. This clock or the one that created it is wrong.",
            wording::token(record),
            timestamp::format(record.created_at()),
        ));
    }
}

/// Whether the tokens can be changed. On a read-only file system they cannot, and that is intended. A lock
/// file that somebody else left is a problem.
fn check_writing(path: &Path, findings: &mut Findings) {
    // The lock is beside the file that links point to.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Some(directory) = target.parent() else { return };
    if directory.is_dir() && !is_writable(directory) {
        findings.line(
            "Note: you cannot write to the file's directory. You can list tokens, but not change them.",
        );
        return;
    }
    if other_names(&target) > 0 {
        findings.line(
            "Note: the file has another name (a hard link). The next change leaves the old tokens there: a \
             server that reads the other name goes on accepting them.",
        );
    }
    let problem = probe::irreplaceable(&target)
        .or_else(|| probe::problem(&target).map(|error| wording::store_error(&error)));
    if let Some(problem) = problem {
        findings.wrong(&format!("tokens cannot be changed: {problem}"));
    }
    let lock = &lock_path(&target);
    let Ok(metadata) = fs::symlink_metadata(lock) else { return };
    if !metadata.is_file() {
        let hint = match quote(lock) {
            Some(lock) => format!(": mv {lock} {lock}.old"),
            None => String::new(),
        };
        findings.wrong(&format!(
            "the lock file `{}` is not a regular file, so tokens cannot be changed; move it away{hint}",
            escape_path(lock)
        ));
        return;
    }
    let opened = OpenOptions::new().read(true).write(true).open(lock);
    // A shared lock, so that two checks do not report each other.
    if let Ok(Err(TryLockError::WouldBlock)) = opened.as_ref().map(File::try_lock_shared) {
        findings.line(
            "Note: another process is changing the tokens, or was stopped during a change. Other changes wait for it.",
        );
    }
    if let Err(error) = opened {
        let fix = if is_own(&metadata) {
            format!("let yourself write to it: {}", command("chmod u+rw", lock))
        } else {
            format!("make it yours: {}", command("sudo chown \"$USER\"", lock))
        };
        findings.wrong(&format!(
            "the lock file `{}` cannot be opened ({error}), so tokens cannot be changed; {fix}",
            escape_path(lock),
        ));
    }
}

#[cfg(unix)]
fn is_own(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_own(_metadata: &fs::Metadata) -> bool {
    true
}

#[cfg(unix)]
fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

/// On other platforms only an attempt would tell.
#[cfg(not(unix))]
fn is_writable(_directory: &Path) -> bool {
    true
}
