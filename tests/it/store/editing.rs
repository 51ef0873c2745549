//! A file that is edited by hand while requests come in, and one that stays broken or missing.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opencode_auth::{FileTokenStore, StoreError, Token, TokenRecord};

use crate::store::trust::make_pipe;
use crate::support::hammer::Hammer;
use crate::support::process::shared_clock;
use crate::support::store::{
    StoreDirectory, accepts, find, issue, render, set_mode, write_private,
};

const MILLISECOND: i128 = 1_000_000;
/// The freshness window, and what a clock read late may add.
const WINDOW: i128 = 10 * MILLISECOND;
/// How long a file is bad before requests are told so, less the same.
const SETTLING: i128 = 95 * MILLISECOND;

/// One edit of the file: when its old content was certainly gone, and when the new one was whole.
#[derive(Clone, Copy)]
struct Edit {
    began: i128,
    old_is_gone: i128,
    ended: i128,
}

/// Replaces the content and returns the time when the old content was gone.
pub type Editor = dyn Fn(&Path, &str) -> i128;

/// Truncates, writes a part, waits, and writes the rest, as editors do that keep the file.
fn truncate_and_write(pause: Duration) -> impl Fn(&Path, &str) -> i128 {
    move |path, content| {
        let mut file = fs::File::create(path).unwrap();
        let old_is_gone = shared_clock();
        thread::sleep(pause);
        let (first, second) = content.split_at(content.len() / 2);
        file.write_all(first.as_bytes()).unwrap();
        thread::sleep(pause);
        file.write_all(second.as_bytes()).unwrap();
        old_is_gone
    }
}

/// With a command that finds the new content in `$NEW`, and the file in `$FILE`.
pub fn with_shell(script: impl Into<String>) -> impl Fn(&Path, &str) -> i128 {
    let script = script.into();
    move |path, content| {
        let new = path.with_file_name("new");
        write_private(&new, content);
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", &script]).env("NEW", new).env("FILE", path).status();
        let ended = shared_clock();
        assert!(status.unwrap().success(), "{script}");
        assert_eq!(fs::read_to_string(path).unwrap(), content, "{script}");
        ended
    }
}

/// As Kubernetes does with the files of a secret: `tokens -> ..data/tokens`, `..data -> ..1`, and then
/// `..data` is exchanged and `..1` removed.
fn kubernetes(path: &Path, content: &str) -> i128 {
    let directory = path.parent().unwrap();
    let data = directory.join("..data");
    let old = fs::read_link(&data).ok().map(|old| directory.join(old));
    let new = PathBuf::from(format!("..{}", shared_clock()));
    fs::create_dir(directory.join(&new)).unwrap();
    write_private(&directory.join(&new).join("tokens"), content);
    let exchanged = directory.join("..data_tmp");
    symlink(&new, &exchanged).unwrap();
    fs::rename(&exchanged, &data).unwrap();
    let old_is_gone = shared_clock();
    if !path.is_symlink() {
        let _ = fs::remove_file(path);
        symlink("..data/tokens", path).unwrap();
    }
    if let Some(old) = old {
        fs::remove_dir_all(old).unwrap();
    }
    old_is_gone
}

/// How many requests were told 503.
pub struct Refused {
    pub unavailable: usize,
    /// Those that met no edit of 100 ms: that is for a process that was kept from looking while the file
    /// was good.
    pub unexplained: usize,
}

/// Has an editor add and remove tokens while clients send requests with them and with one that stays.
pub fn edit_under_load(case: &str, rounds: usize, editor: &Editor) -> Refused {
    let tokens = issue(rounds + 1);
    let record = |token: usize| &tokens[token].1;
    let directory = StoreDirectory::new();
    let path = directory.file();
    if case == "kubernetes" {
        let _ = editor(&path, &render([record(0)]));
    } else {
        write_private(&path, render([record(0)]));
    }
    let current = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&current);
    let hammer = Hammer::start(directory.open(), &tokens, move |number| {
        // The token that stays, the one that comes or goes now, and the one before it.
        seen.load(Ordering::Relaxed).saturating_sub(number % 2) * usize::from(number % 3 != 0)
    });
    let edit = |content: String| {
        let began = shared_clock();
        let old_is_gone = editor(&path, &content);
        let ended = shared_clock();
        thread::sleep(Duration::from_millis(15));
        Edit { began, old_is_gone, ended }
    };
    let mut edits = Vec::new();
    let mut gone = vec![i128::MAX; tokens.len()];
    let mut present = None;
    // Every other token comes in the place of one, so that the file keeps its length.
    let one_or_none = |token: usize| [Some(token), None].into_iter().take(1 + (token + 1) % 2);
    for next in (1..tokens.len()).flat_map(one_or_none) {
        current.store(next.or(present).unwrap_or_default(), Ordering::Relaxed);
        let made = edit(render([Some(0), next].into_iter().flatten().map(record)));
        if let Some(before) = present {
            gone[before] = made.old_is_gone;
        }
        present = next;
        edits.push(made);
    }
    let told = hammer.stop();

    let mut unexplained = 0;
    let mut allowed = vec![0; tokens.len()];
    for told in &told {
        let late = told.started - gone[told.token];
        match told.status {
            200 => {
                assert!(late <= WINDOW, "{case}: token {} allowed {late} ns late", told.token);
                allowed[told.token] += 1;
            }
            401 => assert_ne!(told.token, 0, "{case}: the token that stays was refused"),
            503 => {
                let met = |edit: &Edit| {
                    edit.ended - edit.began > SETTLING
                        && told.started < edit.ended + WINDOW
                        && told.answered > edit.began
                };
                unexplained += usize::from(!edits.iter().any(met));
            }
            status => panic!("{case}: {status}"),
        }
    }
    let accepted = allowed[1..].iter().filter(|count| **count > 0).count();
    assert!(accepted > 0, "{case}: {accepted} of {rounds} tokens were accepted while there");
    let counted = |status| told.iter().filter(|told| told.status == status).count();
    eprintln!(
        "{case}: {} times 200, {} times 401, {} times 503",
        counted(200),
        counted(401),
        counted(503)
    );
    Refused { unavailable: counted(503), unexplained }
}

#[test]
fn a_kept_token_is_allowed_and_a_removed_one_is_not_with_every_editor() {
    let milliseconds = Duration::from_millis;
    let cases: [(&str, usize, Box<Editor>); 7] = [
        ("truncate and write", 20, Box::new(truncate_and_write(Duration::ZERO))),
        ("truncate and write in 4 ms", 15, Box::new(truncate_and_write(milliseconds(2)))),
        ("truncate and write in 40 ms", 8, Box::new(truncate_and_write(milliseconds(20)))),
        ("truncate and write in 300 ms", 2, Box::new(truncate_and_write(milliseconds(150)))),
        ("cat", 12, Box::new(with_shell(r#"cat < "$NEW" > "$FILE""#))),
        ("cp", 12, Box::new(with_shell(r#"cp "$NEW" "$FILE""#))),
        ("kubernetes", 20, Box::new(kubernetes)),
    ];
    for (case, rounds, editor) in &cases {
        let unexplained = || edit_under_load(case, *rounds, editor.as_ref()).unexplained;
        let counts: Vec<_> = (0..5).map(|_| unexplained()).take_while(|count| *count > 0).collect();
        assert!(counts.len() < 5, "{case}: 503 for a file that was good, {counts:?} times");
    }
}

/// An open store with one token. Its last refresh is so long ago that the next request refreshes it.
fn open_with_one() -> (StoreDirectory, FileTokenStore, Token, TokenRecord) {
    let (token, record) = issue(1).remove(0);
    let directory = StoreDirectory::with(render([&record]));
    let store = directory.open();
    assert!(accepts(&store, &token));
    thread::sleep(Duration::from_millis(15));
    (directory, store, token, record)
}

/// The result of a look-up, and how long it took in milliseconds.
fn timed(store: &FileTokenStore, token: &Token) -> (Result<bool, StoreError>, u128) {
    let began = Instant::now();
    let found = find(store, &token.digest());
    (found.map(|record| record.is_some()), began.elapsed().as_millis())
}

/// The result of a look-up that does not wait. The quickest of several counts, because the machine may be busy.
#[track_caller]
fn at_once(store: &FileTokenStore, token: &Token) -> Result<bool, StoreError> {
    let mut waits = Vec::new();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(15));
        let (found, waited) = timed(store, token);
        if waited < 50 {
            return found;
        }
        waits.push(waited);
    }
    panic!("waited {waits:?} ms")
}

#[test]
fn a_file_that_stays_bad_is_an_error_after_100_ms_and_then_at_once_until_it_is_good() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 6] = [
        ("torn", |path| fs::write(path, "{\"version\": 1, \"tok").unwrap()),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("writable", |path| set_mode(path, 0o666)),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a pipe", |path| {
            fs::remove_file(path).unwrap();
            make_pipe(path);
        }),
        ("endless", |path| {
            fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        }),
    ];
    for (case, damage) in cases {
        let (directory, store, token, record) = open_with_one();
        damage(&directory.file());
        let (first, waited) = timed(&store, &token);
        let first = first.expect_err(case).to_string();
        assert!((95..1000).contains(&waited), "{case}: {waited} ms");
        assert_eq!(at_once(&store, &token).unwrap_err().to_string(), first, "{case}");
        // What is no file cannot be written to.
        let _ = fs::remove_dir(directory.file());
        if directory.file().symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            fs::remove_file(directory.file()).unwrap();
        }
        write_private(&directory.file(), render([&record]));
        assert!(at_once(&store, &token).unwrap(), "{case}");
    }
}

#[test]
fn a_file_that_stays_missing_is_an_empty_store_after_100_ms() {
    let (directory, store, token, record) = open_with_one();
    fs::remove_file(directory.file()).unwrap();
    let (found, waited) = timed(&store, &token);
    assert!(!found.unwrap());
    assert!((95..1000).contains(&waited), "{waited} ms");
    assert!(!at_once(&store, &token).unwrap());
    write_private(&directory.file(), render([&record]));
    thread::sleep(Duration::from_millis(15));
    assert!(accepts(&store, &token));
}

/// Sends a request while the file is half written, and completes the file soon after. Returns whether the
/// request was allowed, or `None` if the machine was too busy to complete the file in time.
fn ask_while_torn(holds_token: bool) -> Option<bool> {
    let (directory, store, token, record) = open_with_one();
    let whole = if holds_token { render([&record]) } else { render([]) };
    let (first, second) = whole.split_at(whole.len() / 2);
    let mut file = fs::File::create(directory.file()).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    let asking = thread::spawn(move || timed(&store, &token));
    thread::sleep(Duration::from_millis(40));
    file.write_all(second.as_bytes()).unwrap();
    let (found, waited) = asking.join().unwrap();
    (35..95).contains(&waited).then(|| found.unwrap())
}

/// The edit may be the revocation, so nothing is decided by what the file said before.
#[test]
fn a_request_waits_while_the_file_is_half_written() {
    for holds_token in [true, false] {
        let found = (0..20).find_map(|_| ask_while_torn(holds_token));
        assert_eq!(found, Some(holds_token));
    }
}
