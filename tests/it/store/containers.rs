//! What containers, orchestrators and administrators do to a store's file: single-file mounts, user
//! namespaces, access control lists, hard links, umasks and directories that disappear.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use opencode_auth::{FileTokenStore, NewToken};

use crate::recorder;
use crate::support::mounts::{in_mount_namespace, mount};
use crate::support::process::{Process, is_root, lock_of, role, skip};
use crate::support::store::{
    FILE, StoreDirectory, accepts, find, issue, names, render, set_mode, write_private,
};

const SOMEBODY: u32 = 5555;

fn output(program: &str, arguments: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).arg(path).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_file_that_was_replaced_under_its_mount_is_not_the_store() {
    let test = "store::containers::a_file_that_was_replaced_under_its_mount_is_not_the_store";
    in_mount_namespace(test, || {
        let (token, record) = issue(1).remove(0);
        let (host, container) = (StoreDirectory::with(render([&record])), StoreDirectory::with(""));
        if !mount(&["--bind", host.file().to_str().unwrap()], &container.file()) {
            return;
        }
        let server = container.open();
        assert!(accepts(&server, &token));
        let _ = host.open().delete(record.id().as_str()).unwrap();
        let error = find(&server, &token.digest()).unwrap_err().to_string();
        let expected = format!(
            "failed to use the token store `{}`: this file was deleted or replaced, and the path still \
             points to it; if the file is mounted by itself, mount its directory instead",
            container.file().display(),
        );
        assert_eq!(error, expected);
        assert_eq!(FileTokenStore::open(container.file()).unwrap_err().to_string(), expected);
        assert_eq!(server.list().unwrap_err().to_string(), expected);
        assert_eq!(server.create(NewToken::new()).unwrap_err().to_string(), expected);
    });
}

#[test]
fn a_change_keeps_mode_and_group() {
    if !is_root() {
        return skip("giving a file to another group takes root");
    }
    for mode in [0o600, 0o640, 0o644, 0o604, 0o400, 0o440] {
        let directory = StoreDirectory::with(render([]));
        chown(directory.file(), None, Some(SOMEBODY)).unwrap();
        set_mode(&directory.file(), mode);
        let _ = directory.open_quick().create(NewToken::new()).unwrap();
        let metadata = directory.file().metadata().unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (mode, SOMEBODY), "{mode:o}");
    }
}

#[test]
fn a_change_that_cannot_keep_the_group_changes_nothing() {
    if !is_root() {
        return skip("running as another user takes root");
    }
    for (mode, is_changed) in [(0o640, false), (0o604, false), (0o600, true), (0o644, true)] {
        let directory = StoreDirectory::with(render([]));
        // The group of root, which the user is not in.
        chown(directory.file(), Some(SOMEBODY), Some(0)).unwrap();
        chown(directory.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        set_mode(&directory.file(), mode);
        let before = directory.bytes();
        let mut command = role("create", &directory.file(), "");
        command.uid(SOMEBODY).gid(SOMEBODY);
        let Some(report) = Process::start(&mut command).report() else {
            return skip("this program cannot be run as another user where it is");
        };
        let expected = if is_changed {
            "created".to_owned()
        } else {
            format!(
                "failed to keep who can read `{}`: Operation not permitted (os error 1); nothing was \
                 changed: change the tokens as the user that owns the store, or give the file to a group \
                 of this user",
                directory.file().display(),
            )
        };
        assert_eq!(report, expected, "{mode:o}");
        assert_eq!(directory.bytes() == before, !is_changed, "{mode:o}");
        if is_changed {
            assert_eq!(directory.file().metadata().unwrap().mode() & 0o777, mode, "{mode:o}");
        }
    }
}

#[test]
fn a_change_keeps_the_access_control_list() {
    let directory = StoreDirectory::with(render([]));
    if output("setfacl", &["-m", "u:1234:r,g:1235:r"], &directory.file()).is_none() {
        return skip("no setfacl here, or no access control lists on this file system");
    }
    let list = || output("getfacl", &["-n", "-p"], &directory.file()).unwrap();
    let before = list();
    assert!(before.contains("user:1234:r--"), "{before}");
    let _ = directory.open_quick().create(NewToken::new()).unwrap();
    assert_eq!(list(), before);
}

#[test]
fn the_default_list_of_a_directory_gives_nobody_more() {
    let directory = StoreDirectory::with(render([]));
    set_mode(&directory.file(), 0o640);
    if output("setfacl", &["-d", "-m", "u:1234:rw"], directory.path()).is_none() {
        return skip("no setfacl here, or no access control lists on this file system");
    }
    let list = || output("getfacl", &["-n", "-p"], &directory.file()).unwrap();
    let before = list();
    let _ = directory.open_quick().create(NewToken::new()).unwrap();
    assert_eq!(list(), before);
}

#[test]
fn an_owner_that_the_namespace_does_not_know_is_not_trusted() {
    if !is_root() {
        return skip("a file of another user takes root");
    }
    let directory = StoreDirectory::with(render([]));
    set_mode(&directory.file(), 0o644);
    set_mode(directory.path(), 0o755);
    for path in [directory.file(), directory.path().to_owned()] {
        chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let inner = role("open", &directory.file(), "");
    let mut command = Command::new("unshare");
    command.arg("--user").arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let Some(report) = Process::start(&mut command).report() else {
        return skip("user namespaces are not permitted here");
    };
    let expected = format!(
        "failed to trust the token store `{}`: `{}` belongs to a user that is not known in this user \
         namespace",
        directory.file().display(),
        directory.path().display(),
    );
    assert_eq!(report, expected);
}

#[test]
fn a_umask_takes_nothing_from_the_owner() {
    for umask in ["0777", "0177", "0000"] {
        let directory = StoreDirectory::new();
        let file = directory.path().join("a/b").join(FILE);
        for _ in 0..2 {
            let inner = role("create", &file, "");
            let mut command = Command::new("sh");
            command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
            command.arg(inner.get_program()).args(inner.get_args());
            command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            assert_eq!(Process::start(&mut command).report().as_deref(), Some("created"));
        }
        for (path, mode) in [
            ("a", 0o700),
            ("a/b", 0o700),
            ("a/b/auth-tokens.json", 0o600),
            ("a/b/auth-tokens.json.lock", 0o600),
        ] {
            let metadata = directory.path().join(path).metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "umask {umask}: {path}");
        }
    }
}

#[test]
fn the_lock_of_another_user_is_an_error() {
    if !is_root() {
        return skip("a file of another user takes root");
    }
    let directory = StoreDirectory::with(render([]));
    let lock = lock_of(&directory.file());
    write_private(&lock, "");
    chown(&lock, Some(SOMEBODY), None).unwrap();
    let error = directory.open_quick().create(NewToken::new()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("failed to trust the lock file `{}`", lock.display())),
        "{error}"
    );
    assert!(error.contains("belongs to user 5555, and this process runs as user 0"), "{error}");
}

#[test]
fn a_directory_that_disappears_is_an_error_and_not_an_empty_store() {
    let directory = StoreDirectory::new();
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let store = FileTokenStore::open(place.join(FILE)).unwrap();
    let token = store.create(NewToken::new().name("ci")).unwrap().token;
    fs::rename(&place, directory.path().join("elsewhere")).unwrap();
    thread::sleep(Duration::from_millis(15));
    let expected = format!(
        "failed to find the directory `{}`: it was there when the token store was opened; is a disk not \
         mounted?",
        place.display(),
    );
    assert_eq!(find(&store, &token.digest()).unwrap_err().to_string(), expected);
    assert_eq!(store.create(NewToken::new()).unwrap_err().to_string(), expected);
    assert!(!place.exists());
    fs::rename(directory.path().join("elsewhere"), &place).unwrap();
    thread::sleep(Duration::from_millis(15));
    assert!(accepts(&store, &token));
    assert_eq!(names(&store), ["ci"]);
}

#[test]
fn a_second_name_of_the_file_is_warned_of() {
    recorder::install();
    let directory = StoreDirectory::with(render([]));
    let store = directory.open_quick();
    fs::hard_link(directory.file(), directory.path().join("second")).unwrap();
    let _ = recorder::take_of_store(&directory.file());
    let _ = store.create(NewToken::new()).unwrap();
    let events = recorder::take_of_store(&directory.file());
    let warned = events.iter().any(|event| {
        event.level == "WARN"
            && event.field("message")
                == Some("token store has another name (hard link), which keeps the old tokens")
    });
    assert!(warned, "{events:#?}");
}
