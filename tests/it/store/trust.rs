//! Which files and directories are trusted: their kind, owners and modes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use opencode_auth::{AuthLayer, FileMode, FileStoreError, FileTokenStore, NewToken, TrustProblem};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::process::{Process, is_root, lock_of, role, skip};
use crate::support::store::{
    FILE, StoreDirectory, accepts, fault, find, issue, render, set_mode, side_by_side,
    write_private,
};

const NOBODY: u32 = 65534;

/// Opening the store fails with this text. `{}` in it is the store's file.
#[track_caller]
fn assert_refused(case: &str, directory: &StoreDirectory, expected: &str) {
    let expected = expected.replace("{}", directory.file().to_str().unwrap());
    let error = FileTokenStore::open(directory.file()).unwrap_err();
    assert_eq!(error.to_string(), expected, "{case}");
}

pub fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn what_is_not_a_regular_file_is_refused_and_nobody_waits_for_it() {
    type Make = fn(&Path);
    const NO_FILE: &str = "failed to trust the token store `{}`: it is not a regular file; move it away, or name another file";
    let cases: [(&str, Make, &str); 7] = [
        ("a directory", |path| fs::create_dir(path).unwrap(), NO_FILE),
        ("a pipe", make_pipe, NO_FILE),
        ("a link to a device", |path| symlink("/dev/zero", path).unwrap(), NO_FILE),
        ("a link to a terminal", |path| symlink("/dev/ptmx", path).unwrap(), NO_FILE),
        (
            "a socket",
            |path| drop(UnixListener::bind(path).unwrap()),
            "failed to open `{}`: No such device or address (os error 6)",
        ),
        (
            "a loop of links",
            |path| symlink(FILE, path).unwrap(),
            "failed to open `{}`: Too many levels of symbolic links (os error 40)",
        ),
        (
            "a sparse file of 2 GiB",
            |path| {
                write_private(path, "");
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(2 << 30).unwrap();
            },
            "failed to read the token store `{}`: it has 2147483648 bytes, and at most 33554432 are read; delete expired tokens",
        ),
    ];
    side_by_side(cases, |(case, make, expected)| {
        let directory = StoreDirectory::new();
        make(&directory.file());
        let began = Instant::now();
        assert_refused(case, &directory, expected);
        assert!(began.elapsed().as_millis() < 1000, "{case}");
    });
}

#[test]
fn a_file_or_directory_that_others_can_write_to_is_refused() {
    let file = "failed to trust the token store `{}`: others can write to it (mode MODE); first see that its tokens are yours, then: chmod go-w '{}'";
    let place = "failed to trust the token store `{}`: everybody can put files into its directory (mode MODE); first see that its tokens are yours, then: chmod o-w 'PLACE'";
    for (file_mode, directory_mode, expected) in [
        (0o600, 0o700, None),
        (0o644, 0o755, None),
        (0o400, 0o500, None),
        (0o600, 0o775, None),
        (0o600, 0o1777, None),
        (0o620, 0o700, Some(file.replace("MODE", "0620"))),
        (0o602, 0o700, Some(file.replace("MODE", "0602"))),
        (0o666, 0o700, Some(file.replace("MODE", "0666"))),
        (0o600, 0o777, Some(place.replace("MODE", "0777"))),
        (0o600, 0o702, Some(place.replace("MODE", "0702"))),
    ] {
        let directory = StoreDirectory::with(render([]));
        set_mode(&directory.file(), file_mode);
        set_mode(directory.path(), directory_mode);
        let case = format!("{file_mode:o} in {directory_mode:o}");
        match expected {
            None => drop(directory.open()),
            Some(expected) => {
                let expected = expected.replace("PLACE", directory.path().to_str().unwrap());
                assert_refused(&case, &directory, &expected);
            }
        }
        set_mode(directory.path(), 0o700);
    }
}

#[test]
fn each_directory_that_a_link_leads_through_has_to_be_safe() {
    let directory = StoreDirectory::new();
    let [open_to_all, safe] = ["open", "safe"].map(|name| directory.path().join(name));
    fs::create_dir(&open_to_all).unwrap();
    fs::create_dir(&safe).unwrap();
    write_private(&safe.join("tokens"), render([]));
    symlink("../safe/tokens", open_to_all.join("link")).unwrap();
    symlink("open/link", directory.file()).unwrap();
    drop(directory.open());
    set_mode(&open_to_all, 0o777);
    let error = FileTokenStore::open(directory.file()).unwrap_err();
    let FileStoreError::Untrusted { path, problem } = fault(&error) else { panic!("{error}") };
    assert_eq!(*path, directory.file());
    let mode = FileMode::new(0o777);
    assert_eq!(*problem, TrustProblem::DirectoryWritable { path: open_to_all, mode });
}

#[test]
fn a_link_stays_a_link_and_its_target_is_replaced() {
    let directory = StoreDirectory::new();
    let target = directory.path().join("dotfiles/tokens.json");
    symlink("dotfiles/tokens.json", directory.file()).unwrap();
    // Dangling at first: an empty store, and the target is made.
    let store = directory.open_quick();
    assert_eq!(store.list().unwrap(), []);
    let first = store.create(NewToken::new()).unwrap();
    let _ = store.create(NewToken::new()).unwrap();
    assert!(directory.file().symlink_metadata().unwrap().is_symlink());
    assert!(target.symlink_metadata().unwrap().is_file());
    assert_eq!(FileTokenStore::open(&target).unwrap().list().unwrap().len(), 2);
    assert!(accepts(&store, &first.token));
    assert_eq!(directory.entries(), [FILE, "dotfiles"]);
    assert!(lock_of(&target).exists(), "the lock is beside the file, whatever link points to it");
}

#[test]
fn a_file_or_directory_of_another_user_is_an_error() {
    if !is_root() {
        return skip("files of other users take root");
    }
    let directory = StoreDirectory::with(render([]));
    chown(directory.file(), Some(NOBODY), None).unwrap();
    assert_refused(
        "file",
        &directory,
        "failed to trust the token store `{}`: `{}` belongs to user 65534, and this process runs as user 0; \
         run it as user 65534, or: chown 0 '{}'",
    );
    chown(directory.file(), Some(0), None).unwrap();
    chown(directory.path(), Some(NOBODY), None).unwrap();
    let expected = "failed to trust the token store `{}`: `PLACE` belongs to user 65534, and this process \
                    runs as user 0; run it as user 65534, or: chown 0 'PLACE'";
    let place = directory.path().to_str().unwrap();
    assert_refused("directory", &directory, &expected.replace("PLACE", place));
}

#[test]
fn an_unreadable_file_is_an_error_and_a_file_of_root_is_trusted() {
    if !is_root() {
        return skip("running as another user takes root");
    }
    let open_as_nobody = |directory: &StoreDirectory| {
        let mut command = role("open", &directory.file(), "");
        command.uid(NOBODY).gid(NOBODY);
        let mut process = Process::start(&mut command);
        process.report()
    };
    let directory = StoreDirectory::with(render([]));
    set_mode(directory.path(), 0o755);
    let denied = format!(
        "failed to open `{}`: Permission denied (os error 13)",
        directory.file().display(),
    );
    let Some(report) = open_as_nobody(&directory) else {
        return skip("this program cannot be run as another user where it lies");
    };
    assert_eq!(report, denied);
    set_mode(&directory.file(), 0o644);
    assert_eq!(open_as_nobody(&directory).as_deref(), Some("opened"));
    set_mode(directory.path(), 0o700);
    assert_eq!(open_as_nobody(&directory), Some(denied));
}

#[test]
fn a_file_that_its_owner_cannot_read_or_write_is_an_error() {
    if !is_root() {
        return skip("running as another user takes root");
    }
    const DENIED: &str = "Permission denied (os error 13)";
    for (case, file_mode, directory_mode, lock_mode, expected) in [
        ("all is well", 0o600, 0o700, 0o600, "created"),
        ("the file", 0o000, 0o700, 0o600, "failed to open `{}/auth-tokens.json`: DENIED"),
        ("no search", 0o600, 0o000, 0o600, "failed to open `{}/auth-tokens.json`: DENIED"),
        ("no new files", 0o600, 0o500, 0o600, "failed to create a temporary file in `{}`: DENIED"),
        (
            "the lock",
            0o600,
            0o700,
            0o400,
            "failed to open the lock file `{}/auth-tokens.json.lock`: DENIED",
        ),
    ] {
        let directory = StoreDirectory::with(render([]));
        let lock = lock_of(&directory.file());
        fs::write(&lock, "").unwrap();
        for (path, mode) in [
            (directory.file(), file_mode),
            (lock, lock_mode),
            (directory.path().to_owned(), directory_mode),
        ] {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            set_mode(&path, mode);
        }
        let mut command = role("create", &directory.file(), "");
        command.uid(NOBODY).gid(NOBODY);
        let Some(report) = Process::start(&mut command).report() else {
            return skip("this program cannot be run as another user where it lies");
        };
        let expected =
            expected.replace("{}", directory.path().to_str().unwrap()).replace("DENIED", DENIED);
        assert_eq!(report, expected, "{case}");
    }
}

#[test]
fn a_lock_that_is_not_a_regular_file_is_an_error_and_nothing_is_written() {
    type Make = fn(&Path);
    let cases: [(&str, Make, &str); 4] = [
        ("a directory", |path| fs::create_dir(path).unwrap(), "Is a directory (os error 21)"),
        (
            "a link",
            |path| symlink("elsewhere", path).unwrap(),
            "Too many levels of symbolic links (os error 40)",
        ),
        ("a pipe", make_pipe, "it is not a regular file"),
        (
            "a link to a device",
            |path| symlink("/dev/null", path).unwrap(),
            "Too many levels of symbolic links (os error 40)",
        ),
    ];
    for (case, make, why) in cases {
        let directory = StoreDirectory::with(render([]));
        let lock = lock_of(&directory.file());
        make(&lock);
        let before = directory.bytes();
        let error = directory.open_quick().create(NewToken::new()).unwrap_err();
        let expected = format!("failed to open the lock file `{}`: {why}", lock.display());
        assert_eq!(error.to_string(), expected, "{case}");
        assert_eq!(directory.bytes(), before, "{case}");
        assert!(!directory.path().join("elsewhere").exists(), "{case}");
    }
}

/// In a directory that everybody can write to, another user may own the link and the file it points to.
#[test]
fn the_link_of_a_stranger_is_not_followed() {
    use std::os::unix::fs::{lchown, symlink};

    let directory = StoreDirectory::with(render([]));
    let shared = directory.path().join("shared");
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    let link = shared.join("tokens");
    symlink(directory.file(), &link).unwrap();
    assert!(FileTokenStore::open(&link).is_ok());
    if let Err(error) = lchown(&link, Some(65534), None) {
        eprintln!("skipped: the link cannot be given away: {error}");
        return;
    }
    // No `chown` is advised: it would give away the file that the link points to.
    let error = FileTokenStore::open(&link).unwrap_err().to_string();
    let expected = "failed to trust the token store `LINK`: `LINK` is a link that user 65534 made; see where \
                    it points: ls -l 'LINK'; then remove it";
    assert_eq!(error, expected.replace("LINK", link.to_str().unwrap()));
}

#[test]
fn the_hint_for_a_file_names_the_file_and_not_the_link() {
    let directory = StoreDirectory::new();
    let target = directory.path().join("target");
    write_private(&target, render([]));
    symlink("target", directory.file()).unwrap();
    let refused = || {
        let error = FileTokenStore::open(directory.file()).unwrap_err().to_string();
        let problems = FileTokenStore::trust_problems(directory.file()).unwrap();
        assert!(error.ends_with(&problems[0].to_string()), "{error}");
        error
    };
    set_mode(&target, 0o620);
    let hint = format!("chmod go-w '{}'", target.display());
    assert!(refused().ends_with(&hint), "{}", refused());
    set_mode(&target, 0o600);
    if !is_root() {
        return skip("files of other users take root");
    }
    chown(&target, Some(NOBODY), None).unwrap();
    let hint = format!("chown 0 '{}'", target.display());
    assert!(refused().ends_with(&hint), "{}", refused());
}

#[test]
fn those_who_could_read_the_file_still_can_and_nobody_else() {
    let directory = StoreDirectory::with(render([]));
    for before in [0o600, 0o640, 0o644, 0o604, 0o755] {
        set_mode(&directory.file(), before);
        let _ = directory.open_quick().create(NewToken::new()).unwrap();
        let mode = fs::metadata(directory.file()).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, before, "after {before:o}");
    }
}

#[test]
fn a_server_without_descriptors_cannot_tell_and_can_again_when_it_has_some() {
    let (token, record) = issue(1).remove(0);
    let directory = StoreDirectory::with(render([&record]));
    fs::write(directory.path().join("secret"), token.expose_secret()).unwrap();
    let mut process = Process::start(&mut role("starve", &directory.file(), ""));
    while process.report().is_some() {}
    process.finish();
}

/// In its own process, because the limit applies to the process.
pub fn without_descriptors(path: &Path) {
    let secret = fs::read_to_string(path.with_file_name("secret")).unwrap();
    let token: opencode_auth::Token = secret.parse().unwrap();
    let store = FileTokenStore::open(path).unwrap();
    let app =
        Router::new().route("/config", get(async || "ok")).layer(AuthLayer::new(store.clone()));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    // Without a descriptor there is no new connection, so that the only one has to last.
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    runtime.spawn(async { axum::serve(listener, app).await.unwrap() });
    let mut ask = || {
        // The view that decided the last request must not decide this one.
        thread::sleep(Duration::from_millis(20));
        write!(stream, "GET /config HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {secret}\r\n\r\n")
            .unwrap();
        let mut response = [0; 4096];
        let length = stream.read(&mut response).unwrap();
        String::from_utf8_lossy(&response[..length]).into_owned()
    };
    assert!(ask().starts_with("HTTP/1.1 200 OK\r\n"));
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let (response, starved) = (ask(), find(&store, &token.digest()));
    setrlimit(Resource::Nofile, limit).unwrap();
    let error = starved.unwrap_err().to_string();
    let expected =
        format!("failed to open `{}`: Too many open files (os error 24)", path.display());
    assert_eq!(error, expected);
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
    assert!(response.contains("\r\nretry-after: 1\r\n"), "{response}");
    let response = ask();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}
