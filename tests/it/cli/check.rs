use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, lchown, symlink};

use snapbox::str;
use time::Duration;

use super::support::{Home, set_mode, token};

/// A user that every system has, and that these tests do not run as.
const DAEMON: u32 = 1;

#[test]
fn a_store_that_is_fine() {
    let home = Home::new();
    home.run(&["check"]).is(
        0,
        str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Fine: there is no file yet, so that no token is valid.
Create one with: opencode-auth token create

"#]],
        "",
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "it changes nothing");

    home.write(r#"{"version": 1, "tokens": []}"#);
    home.run(&["check"]).is(
        0,
        str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Fine: its format is right, and nobody but you or root can write to it.
It holds no token.

"#]],
        "",
    );
    let home = Home::with_tokens(&[token('a', "one", None)]);
    home.run(&["check"]).is(
        0,
        str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Fine: its format is right, and nobody but you or root can write to it.
It holds 1 token, none expired.

"#]],
        "",
    );
    let home = Home::with_tokens(&[
        token('a', "one", None),
        token('b', "two", Some(-Duration::DAY)),
        token('c', "three", Some(-Duration::DAY)),
    ]);
    home.run(&["check"]).is(
        0,
        str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Fine: its format is right, and nobody but you or root can write to it.
It holds 3 tokens, 2 of them expired.
Delete what is expired with: opencode-auth token delete --expired

"#]],
        "",
    );
    assert_eq!(fs::read_dir(home.store_directory()).unwrap().count(), 1, "it changes nothing");
}

#[test]
fn everything_that_is_wrong_with_the_modes_is_told_at_once() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    set_mode(&home.store_path(), 0o666);
    set_mode(&home.store_directory(), 0o777);
    home.run(&["check"]).is(1, str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Wrong: everybody can put files into its directory (mode 0777); first see that its tokens are yours, then: chmod o-w '[HOME]/.config/opencode'
Wrong: others can write to it (mode 0666); first see that its tokens are yours, then: chmod go-w '[HOME]/.config/opencode/auth-tokens.json'
Until that is mended the file is not used: servers do not start, or answer 503.

"#]], "");
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: everybody can put files into its directory (mode 0777); first see that its tokens are yours, then: chmod o-w '[HOME]/.config/opencode'

"#]]);
    assert_eq!(fs::metadata(home.store_path()).unwrap().mode() & 0o777, 0o666);
}

#[test]
fn a_format_that_is_wrong() {
    let home = Home::new();
    home.write("{\"version\": 2, \"tokens\": []}");
    home.run(&["check"]).is(1, str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Wrong: failed to read the token store `[HOME]/.config/opencode/auth-tokens.json`: line 1, column 13: this is not version 1 of the format; it takes another version of this program; fix the file, or move it away to begin with an empty store

"#]], "");
    home.write("");
    home.run(&["check"]).is(1, str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Wrong: failed to read the token store `[HOME]/.config/opencode/auth-tokens.json`: line 1, column 1: the file is not one complete JSON object; fix the file, or move it away to begin with an empty store

"#]], "");
    fs::remove_file(home.store_path()).unwrap();
    fs::create_dir(home.store_path()).unwrap();
    home.run(&["check"]).is(
        1,
        str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Wrong: it is not a regular file; move it away, or name another file
Until that is mended the file is not used: servers do not start, or answer 503.

"#]],
        "",
    );
}

#[test]
fn a_store_of_somebody_else_names_the_user_to_run_as() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    if let Err(error) = chown(home.store_path(), Some(DAEMON), None) {
        eprintln!("skipped: only root can give a file away: {error}");
        return;
    }
    home.run(&["check"]).is(1, str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Wrong: it belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)
Until that is mended the file is not used: servers do not start, or answer 503.

"#]], "");
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: it belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)

"#]]);
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: it belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)

"#]]);
}

#[test]
fn a_link_of_somebody_else_is_to_be_removed_and_not_to_be_given_away() {
    let home = Home::new();
    fs::create_dir_all(home.store_directory()).unwrap();
    symlink("/etc/passwd", home.store_path()).unwrap();
    if let Err(error) = lchown(home.store_path(), Some(DAEMON), None) {
        eprintln!("skipped: only root can give a link away: {error}");
        return;
    }
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: `[HOME]/.config/opencode/auth-tokens.json` is a link that user 1 (daemon) made; see where it leads: ls -l '[HOME]/.config/opencode/auth-tokens.json'; then remove it

"#]]);
}

#[test]
fn root_makes_no_store_in_the_home_of_somebody_else() {
    let home = Home::new();
    if let Err(error) = chown(home.path(), Some(DAEMON), None) {
        eprintln!("skipped: only root can give a directory away: {error}");
        return;
    }
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: the directory `[HOME]` belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)

"#]]);
    home.run(&["check"]).is(1, str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Wrong: the directory `[HOME]` belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)
Until that is mended the file is not used: servers do not start, or answer 503.

"#]], "");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_lock_that_is_held_is_told() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let lock = fs::File::create(home.store_directory().join("auth-tokens.json.lock")).unwrap();
    lock.lock().unwrap();
    let answer = home.run(&["check"]);
    answer.is(
        0,
        str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Fine: its format is right, and nobody but you or root can write to it.
It holds 1 token, none expired.
Note: somebody is changing the tokens at the moment, or was stopped while at it: changes have to wait.

"#]],
        "",
    );
    drop(lock);
    assert!(!home.run(&["check"]).stdout.contains("Note"));
}

#[test]
fn a_lock_file_that_is_none() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let lock = home.store_directory().join("auth-tokens.json.lock");
    symlink("elsewhere", &lock).unwrap();
    home.run(&["check"]).is(1, str![[r#"
The tokens are in [HOME]/.config/opencode/auth-tokens.json
Fine: its format is right, and nobody but you or root can write to it.
It holds 1 token, none expired.
Wrong: the lock file `[HOME]/.config/opencode/auth-tokens.json.lock` is not a regular file, so that tokens cannot be changed; move it away: mv '[HOME]/.config/opencode/auth-tokens.json.lock' '[HOME]/.config/opencode/auth-tokens.json.lock'.old

"#]], "");
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to open the lock file `[HOME]/.config/opencode/auth-tokens.json.lock`: Too many levels of symbolic links (os error 40)

"#]]);
}
