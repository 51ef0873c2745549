use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, lchown, symlink};

use snapbox::str;
use time::Duration;

use super::support::{BINARY, Home, Outcome, can_run, set_mode, token};

/// A user that every system has, and that these tests do not run as.
const DAEMON: u32 = 1;

#[test]
fn a_good_store_is_fine() {
    let home = Home::new();
    home.run(&["check"]).is(
        0,
        str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the file does not exist yet, so no token is valid.
Create a token with: opencode-auth token create

"#]],
        "",
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "it changes nothing");

    home.write(r#"{"version": 1, "tokens": []}"#);
    home.run(&["check"]).is(
        0,
        str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has no tokens.

"#]],
        "",
    );
    let home = Home::with_tokens(&[token('a', "one", None)]);
    home.run(&["check"]).is(
        0,
        str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has 1 token, none expired.

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
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has 3 tokens, 2 of them expired.
Delete the expired tokens with: opencode-auth token delete --expired

"#]],
        "",
    );
    assert_eq!(fs::read_dir(home.store_directory()).unwrap().count(), 1, "it changes nothing");
}

#[test]
fn all_wrong_modes_are_reported_at_once() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    set_mode(&home.store_path(), 0o666);
    set_mode(&home.store_directory(), 0o777);
    home.run(&["check"]).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Wrong: everybody can put files into its directory (mode 0777); first see that its tokens are yours, then: chmod o-w '[HOME]/.config/opencode'
Wrong: others can write to it (mode 0666); first see that its tokens are yours, then: chmod go-w '[HOME]/.config/opencode/auth-tokens.json'
Until this is fixed, servers do not start, or respond with 503.

"#]], "");
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: everybody can put files into its directory (mode 0777); first see that its tokens are yours, then: chmod o-w '[HOME]/.config/opencode'

"#]]);
    assert_eq!(fs::metadata(home.store_path()).unwrap().mode() & 0o777, 0o666);
}

#[test]
fn a_wrong_format_is_reported() {
    let home = Home::new();
    home.write("{\"version\": 2, \"tokens\": []}");
    home.run(&["check"]).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Wrong: failed to read the token store `[HOME]/.config/opencode/auth-tokens.json`: line 1, column 13: this is not version 1 of the format; it takes another version of this program; fix the file, or move it away to begin with an empty store

"#]], "");
    home.write("");
    home.run(&["check"]).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Wrong: failed to read the token store `[HOME]/.config/opencode/auth-tokens.json`: line 1, column 1: the file is empty; fix the file, or move it away to begin with an empty store

"#]], "");
    fs::remove_file(home.store_path()).unwrap();
    fs::create_dir(home.store_path()).unwrap();
    home.run(&["check"]).is(
        1,
        str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Wrong: it is not a regular file; move it away, or name another file
Until this is fixed, servers do not start, or respond with 503.

"#]],
        "",
    );
}

#[test]
fn the_store_of_another_user_names_that_user() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    if let Err(error) = chown(home.store_path(), Some(DAEMON), None) {
        eprintln!("skipped: only root can give a file away: {error}");
        return;
    }
    home.run(&["check"]).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Wrong: it belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)
Until this is fixed, servers do not start, or respond with 503.

"#]], "");
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: it belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)

"#]]);
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: it belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)

"#]]);
}

#[test]
fn the_hint_for_a_link_of_another_user_removes_it() {
    let home = Home::new();
    fs::create_dir_all(home.store_directory()).unwrap();
    symlink("/etc/passwd", home.store_path()).unwrap();
    if let Err(error) = lchown(home.store_path(), Some(DAEMON), None) {
        eprintln!("skipped: only root can give a link away: {error}");
        return;
    }
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: `[HOME]/.config/opencode/auth-tokens.json` is a link that user 1 (daemon) made; see where it points: ls -l '[HOME]/.config/opencode/auth-tokens.json'; then remove it

"#]]);
}

#[test]
fn root_creates_no_store_in_the_home_of_another_user() {
    let home = Home::new();
    if let Err(error) = chown(home.path(), Some(DAEMON), None) {
        eprintln!("skipped: only root can give a directory away: {error}");
        return;
    }
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to trust the token store `[HOME]/.config/opencode/auth-tokens.json`: the directory `[HOME]` belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)

"#]]);
    home.run(&["check"]).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Wrong: the directory `[HOME]` belongs to user 1 (daemon), and this process runs as user 0 (root); run it as user 1 (daemon)
Until this is fixed, servers do not start, or respond with 503.

"#]], "");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_held_lock_is_reported() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let lock = fs::File::create(home.store_directory().join("auth-tokens.json.lock")).unwrap();
    lock.lock().unwrap();
    let outcome = home.run(&["check"]);
    outcome.is(
        0,
        str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has 1 token, none expired.
Note: another process is changing the tokens, or was stopped during a change. Other changes wait for it.

"#]],
        "",
    );
    drop(lock);
    // A child that another test has just forked shares the lock until it executes its program.
    let is_free = || !home.run(&["check"]).stdout.contains("Note");
    assert!((0..20).any(|_| is_free()));
}

#[test]
fn a_lock_file_that_is_not_a_file_is_reported() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let lock = home.store_directory().join("auth-tokens.json.lock");
    symlink("elsewhere", &lock).unwrap();
    home.run(&["check"]).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has 1 token, none expired.
Wrong: the lock file `[HOME]/.config/opencode/auth-tokens.json.lock` is not a regular file, so tokens cannot be changed; move it away: mv '[HOME]/.config/opencode/auth-tokens.json.lock' '[HOME]/.config/opencode/auth-tokens.json.lock'.old

"#]], "");
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to open the lock file `[HOME]/.config/opencode/auth-tokens.json.lock`: Too many levels of symbolic links (os error 40)

"#]]);
}

#[test]
fn a_variable_with_a_similar_name_is_pointed_out() {
    let home = Home::new();
    let mut command = home.command(&["check"]);
    Outcome::of(command.env("OPENCODE_AUTH_TOKEN", "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw")).is(0, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Note: the variable OPENCODE_AUTH_TOKEN is set. It does not name the token file. The variable OPENCODE_AUTH_TOKENS does, with an S at the end.
Fine: the file does not exist yet, so no token is valid.
Create a token with: opencode-auth token create

"#]], "");
    for (arguments, variables, reason) in [
        (&["check", "--store", "/srv/t.json"][..], &[][..], "named by --store"),
        (&["check"], &[("OPENCODE_AUTH_TOKENS", "/srv/t.json")], "named by OPENCODE_AUTH_TOKENS"),
    ] {
        let outcome = Outcome::of(home.command(arguments).envs(variables.iter().copied()));
        assert!(
            outcome.stdout.starts_with(&format!("The token file is /srv/t.json ({reason}).\n"))
        );
    }
}

#[test]
fn a_token_from_the_future_is_pointed_out_and_create_warns() {
    let home = Home::new();
    home.write(
        &format!("{{\"version\": 1, \"tokens\": [{}]}}", token('a', "ci", None))
            .replace("created_at\": \"20", "created_at\": \"90"),
    );
    let outcome = home.run(&["check"]);
    let note = "Note: the token aaaaaaaaaaaa (ci) was created in the future, at 90";
    assert!(outcome.stdout.contains(note), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with("This clock or the one that created it is wrong.\n"));
    for arguments in [&["create"][..], &["rotate", "ci", "--json"]] {
        let outcome = home.run(arguments);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with("warning: the clock reads 20"), "{}", outcome.stderr);
        let words = "Z, but the token aaaaaaaaaaaa (ci) was created at 90";
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}

#[test]
fn a_directory_that_cannot_be_created_is_reported() {
    let home = Home::new();
    fs::write(home.path().join(".config"), "a file").unwrap();
    let outcome = home.run(&["check"]);
    let create = home.run(&["create"]);
    assert_eq!((outcome.code, create.code), (1, 1), "{}", outcome.stdout);
    let wrong = "Wrong: tokens cannot be changed: failed to create the directory `";
    assert!(outcome.stdout.contains(wrong), "{}", outcome.stdout);
}

/// Runs a shell script in its own user and mount namespace, with the store's directory as `$1`.
fn in_namespace(home: &Home, script: &str) -> Option<Outcome> {
    if !can_run("unshare", &["-rm", "sh", "-c", "mount --bind /tmp /tmp"]) {
        return None;
    }
    let mut unshare = home.program("unshare");
    unshare.args(["-rm", "sh", "-ec", script, "sh"]).arg(home.store_directory());
    Some(Outcome::of(&mut unshare))
}

#[test]
fn a_file_that_cannot_be_replaced_is_reported() {
    for (script, wrong) in [
        (
            "cd \"$1\"; mount --bind auth-tokens.json auth-tokens.json",
            "Wrong: tokens cannot be changed: the file is mounted by itself, so it cannot be replaced; \
             mount its directory instead",
        ),
        (
            "mkdir full; mount -t tmpfs -o size=8k,nr_inodes=8 none full; chmod 700 full; \
             cp \"$1\"/* full; chmod 600 full/*; \
             cat /dev/zero > full/zeros 2>/dev/null || true; mount --bind full \"$1\"",
            "Wrong: tokens cannot be changed: failed to write a temporary file in ",
        ),
    ] {
        let home = Home::with_tokens(&[token('a', "one", None)]);
        let script = format!("{script}; opencode-auth token check; opencode-auth token create");
        let Some(outcome) = in_namespace(&home, &script) else { return };
        assert!(outcome.stdout.contains(wrong), "{outcome:?}");
        // `check` ended the script, because it failed.
        assert_eq!((outcome.code, &*outcome.stderr), (1, ""));
        assert_eq!(fs::read_dir(home.store_directory()).unwrap().count(), 1);
    }
}

#[test]
fn an_immutable_file_is_reported() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    let path = home.store_path();
    let path = path.to_str().unwrap();
    if !can_run("chattr", &["+i", path]) {
        return;
    }
    let outcome = home.run(&["check"]);
    let create = home.run(&["create"]);
    assert!(can_run("chattr", &["-i", path]));
    outcome.is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has 1 token, none expired.
Wrong: tokens cannot be changed: the file is immutable, so it cannot be replaced; make it mutable: sudo chattr -ia '[HOME]/.config/opencode/auth-tokens.json'

"#]], "");
    assert_eq!(create.code, 1);
}

#[test]
fn a_file_system_without_locks_is_reported() {
    let home = Home::with_tokens(&[token('a', "one", None)]);
    if !can_run("strace", &["-qq", "-e", "inject=flock:error=ENOLCK", "true"]) {
        return;
    }
    let mut strace = home.program("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=flock:error=ENOLCK"]);
    Outcome::of(strace.args([BINARY, "token", "check"])).is(1, str![[r#"
The token file is [HOME]/.config/opencode/auth-tokens.json (the default; --store or OPENCODE_AUTH_TOKENS names another one).
Fine: the format is right, and only you or root can write to the file.
It has 1 token, none expired.
Wrong: tokens cannot be changed: failed to lock a file in `[HOME]/.config/opencode`: No locks available (os error 37)

"#]], "");
    assert_eq!(fs::read_dir(home.store_directory()).unwrap().count(), 1);
}
