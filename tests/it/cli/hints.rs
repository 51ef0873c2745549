//! The hints of errors. They depend on the state of the disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::mounts::{in_mount_namespace, mount};
use crate::support::process::{is_root, skip};

const BINARY: &str = env!("CARGO_BIN_EXE_opencode-auth");
const NOBODY: u32 = 65534;
const FILE: &str = "auth-tokens.json";
const LOCK: &str = "auth-tokens.json.lock";

/// A store with its lock. Each file has this owner and mode.
fn store(owner: u32, [file, directory, lock]: [u32; 3]) -> TempDir {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join(FILE), r#"{"version": 1, "tokens": []}"#).unwrap();
    fs::write(place.path().join(LOCK), "").unwrap();
    for (path, mode) in [
        (place.path().join(FILE), file),
        (place.path().join(LOCK), lock),
        (place.path().into(), directory),
    ] {
        chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    place
}

/// The output of `create` for the user `nobody`. `None` if the binary cannot be run as that user.
fn create_as_nobody(directory: &Path) -> Option<String> {
    let output = Command::new(BINARY)
        .args(["token", "create", "--store"])
        .arg(directory.join(FILE))
        .env_clear()
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .ok()?;
    Some(String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_hint_for_a_denied_permission_is_the_command_that_grants_it() {
    if !is_root() {
        return skip("running as another user takes root");
    }
    for (owner, modes, expected) in [
        (NOBODY, [0o000, 0o700, 0o600], "open `{}/FILE`: DENIED; chmod u+r '{}/FILE'"),
        (NOBODY, [0o600, 0o000, 0o600], "open `{}/FILE`: DENIED; chmod u+rwx '{}'"),
        (
            NOBODY,
            [0o600, 0o500, 0o600],
            "create a temporary file in `{}`: DENIED; chmod u+rwx '{}'",
        ),
        (
            NOBODY,
            [0o600, 0o700, 0o400],
            "open the lock file `{}/LOCK`: DENIED; chmod u+rw '{}/LOCK'",
        ),
        (0, [0o600, 0o755, 0o600], "open `{}/FILE`: DENIED; run as the user that owns the store"),
        (0, [0o644, 0o700, 0o600], "open `{}/FILE`: DENIED; run as the user that owns the store"),
    ] {
        let place = store(owner, modes);
        let Some(told) = create_as_nobody(place.path()) else {
            return skip("the binary cannot be run as another user where it is");
        };
        let expected = expected
            .replace("FILE", FILE)
            .replace("LOCK", LOCK)
            .replace("DENIED", "Permission denied (os error 13)")
            .replace("{}", place.path().to_str().unwrap());
        assert_eq!(told, format!("error: failed to {expected}\n"));
    }
}

#[test]
fn a_second_name_of_the_file_is_pointed_out() {
    let place = store(rustix::process::geteuid().as_raw(), [0o600, 0o700, 0o600]);
    fs::hard_link(place.path().join(FILE), place.path().join("second")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command
            .arg("token")
            .args(arguments)
            .arg("--store")
            .arg(place.path().join(FILE))
            .env_clear();
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert!(run(&["check"]).contains("Note: the file has another name (a hard link)."));
    let warning = "warning: the file has another name (a hard link), which keeps the old tokens";
    assert!(run(&["delete", "--expired"]).contains(warning));
}

/// As the volume of a ConfigMap: mode 0777, and read-only.
#[test]
fn chmod_is_not_the_hint_where_it_has_no_effect() {
    let test = "cli::hints::chmod_is_not_the_hint_where_it_has_no_effect";
    in_mount_namespace(test, || {
        let place = TempDir::new().unwrap();
        if !mount(&["-t", "tmpfs", "tmpfs"], place.path()) {
            return;
        }
        let file = place.path().join(FILE);
        fs::write(&file, r#"{"version": 1, "tokens": []}"#).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let check = || {
            let mut command = Command::new(BINARY);
            let output = command.args(["token", "check", "--store"]).arg(&file).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(check().contains("chmod go-w"), "{}", check());
        if mount(&["-o", "remount,ro"], place.path()) {
            let text = check();
            assert!(
                text.contains("it is mounted read-only, so `chmod` has no effect there"),
                "{text}"
            );
            assert!(!text.contains("chmod go-w"), "{text}");
        }
    });
}

#[test]
fn a_lock_of_ones_own_needs_no_chown() {
    if !is_root() {
        return skip("running as another user takes root");
    }
    for (owner, expected) in [(NOBODY, "chmod u+rw"), (0, "sudo chown \"$USER\"")] {
        let place = store(NOBODY, [0o600, 0o700, 0o000]);
        let lock = place.path().join(LOCK);
        chown(&lock, Some(owner), Some(owner)).unwrap();
        let output = Command::new(BINARY)
            .args(["token", "check", "--store"])
            .arg(place.path().join(FILE))
            .env_clear()
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output();
        let Ok(output) = output else { return skip("the binary cannot be run as another user") };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{expected} '{}'", lock.display())), "{text}");
    }
}
