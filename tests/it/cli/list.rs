use std::fs::{self, File};
use std::time::Instant;

use snapbox::str;
use time::Duration;

use super::support::{BINARY, Home, Outcome, can_run, closed_pipe, set_mode, token};

/// One second more, so that it is still that many days when the binary reads the clock.
const A_LITTLE: Duration = Duration::seconds(30);

fn home() -> Home {
    Home::with_tokens(&[
        token('a', "laptop", Some(Duration::days(89) + A_LITTLE)),
        token('b', "ci", Some(-Duration::days(3) - A_LITTLE)),
        token('c', "漢字", None).replace(r#""read","write","execute""#, r#""read""#),
        token('d', "dashboard-prod", Some(Duration::hours(12) + A_LITTLE)),
        token('e', "", Some(Duration::days(1000))).replace(r#""name": "", "#, ""),
    ])
}

#[test]
fn columns_are_aligned_and_the_next_expiry_is_marked() {
    let home = home();
    let outcome = home.run(&["list"]);
    outcome.is(
        0,
        str![[r#"
ID            NAME            PERMISSIONS         CREATED     EXPIRES
[ID]  laptop          read,write,execute  [TODAY]  in 89 days
[ID]  ci              read,write,execute  [TODAY]  expired 3 days ago
[ID]  漢字            read                [TODAY]  never
[ID]  dashboard-prod  read,write,execute  [TODAY]  in 12 hours (next)
[ID]  -               read,write,execute  [TODAY]  in 2 years

"#]],
        "",
    );
    let widths: Vec<_> =
        outcome.stdout.lines().map(unicode_width::UnicodeWidthStr::width).collect();
    assert!(widths.iter().all(|width| *width <= 80), "{widths:?}");
    assert!(outcome.stdout.lines().all(|line| line.trim_end() == line));
}

#[test]
fn json_has_the_records_and_no_digest() {
    let home = Home::with_tokens(&[
        token('a', "laptop", Some(Duration::days(89))),
        token('b', "", None).replace(r#""name": "", "#, ""),
    ]);
    home.run(&["list", "--json"]).is(
        0,
        str![[r#"
[
  {
    "id": "[ID]",
    "name": "laptop",
    "permissions": [
      "read",
      "write",
      "execute"
    ],
    "created_at": "[TIME]",
    "expires_at": "[TIME]"
  },
  {
    "id": "[ID]",
    "name": null,
    "permissions": [
      "read",
      "write",
      "execute"
    ],
    "created_at": "[TIME]",
    "expires_at": null
  }
]

"#]],
        "",
    );
}

#[test]
fn an_empty_list_says_so() {
    let home = Home::new();
    home.run(&["list"]).is(0, "", str![[r#"
There are no tokens: the file `[HOME]/.config/opencode/auth-tokens.json` does not exist. Create a token with: opencode-auth token create

"#]]);
    home.run(&["list", "--json"]).is(
        0,
        str![[r#"
[]

"#]],
        "",
    );
    home.write(r#"{"version": 1, "tokens": []}"#);
    home.run(&["list"]).is(0, "", str![[r#"
There are no tokens: the file `[HOME]/.config/opencode/auth-tokens.json` has none. Create a token with: opencode-auth token create

"#]]);
}

#[test]
fn reading_takes_no_lock_and_writes_nothing() {
    let home = home();
    let names = || {
        let entries = fs::read_dir(home.store_directory()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    set_mode(&home.store_directory(), 0o500);
    set_mode(&home.store_path(), 0o400);
    assert_eq!(home.run(&["list"]).code, 0);
    assert_eq!(names(), ["auth-tokens.json"]);
    set_mode(&home.store_directory(), 0o700);

    let lock = File::create(home.store_directory().join("auth-tokens.json.lock")).unwrap();
    lock.lock().unwrap();
    let began = Instant::now();
    assert_eq!(home.run(&["list"]).code, 0);
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
fn tokens_on_a_read_only_file_system_are_listed() {
    let home = home();
    let script =
        r#"cd "$1" && mount --bind . . && mount -o remount,bind,ro . && opencode-auth token list"#;
    if !can_run("unshare", &["-rm", "sh", "-c", "mount --bind /tmp /tmp"]) {
        return;
    }
    let mut unshare = home.program("unshare");
    unshare.args(["-rm", "sh", "-c", script, "sh"]).arg(home.store_directory());
    let outcome = Outcome::of(&mut unshare);
    assert_eq!((outcome.code, &*outcome.stderr), (0, ""));
    assert_eq!(outcome.stdout, home.run(&["list"]).stdout);
}

#[test]
fn closing_the_pipe_early_is_not_a_failure() {
    Outcome::of(home().command(&["list"]).stdout(closed_pipe())).is(0, "", "");
    let Some(full) = super::support::full_device() else { return };
    Outcome::of(home().command(&["list"]).stdout(full)).is(
        1,
        "",
        str![[r#"
error: failed to write to standard output: No space left on device (os error 28)

"#]],
    );
}

#[test]
fn a_broken_file_is_an_error_with_its_place() {
    let home = Home::new();
    home.write("{\"version\": 1,\n \"tokens\": [1]}");
    home.run(&["list"]).is(1, "", str![[r#"
error: failed to read the token store `[HOME]/.config/opencode/auth-tokens.json`: line 2, column 13: an object for each token expected; fix the file, or move it away to begin with an empty store

"#]]);
    home.run(&["create"]).is(1, "", str![[r#"
error: failed to read the token store `[HOME]/.config/opencode/auth-tokens.json`: line 2, column 13: an object for each token expected; fix the file, or move it away to begin with an empty store

"#]]);
}

/// What a terminal is sent by `opencode-auth token list` with these variables.
fn in_terminal(home: &Home, variables: &[(&str, &str)]) -> String {
    let mut script = home.program("script");
    script.args(["-qec", &format!("{BINARY} token list"), "/dev/null"]);
    Outcome::of(script.envs(variables.iter().copied())).stdout
}

#[test]
fn colours_are_for_terminals() {
    const RED: &str = "\u{1b}[31m";
    let home = home();
    for forced in ["CLICOLOR_FORCE", "FORCE_COLOR"] {
        let piped = Outcome::of(home.command(&["list"]).env(forced, "1"));
        assert!(!piped.stdout.contains('\u{1b}'), "{forced}");
    }
    if !can_run("script", &["-qec", "true", "/dev/null"]) {
        return;
    }
    let coloured = in_terminal(&home, &[]);
    let expired = coloured.lines().find(|line| line.contains(" ci ")).unwrap();
    assert!(expired.starts_with(RED), "{coloured:?}");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!in_terminal(&home, &[plain]).contains('\u{1b}'), "{plain:?}");
    }
}

#[test]
fn a_token_that_a_file_has_as_a_name_is_not_shown() {
    let secret = "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw";
    let home = Home::with_tokens(&[token('a', secret, None), token('b', "ci", None)]);
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["check"],
        &["delete", "cccccc"],
        &["rotate", "aaaaaa"],
        &["delete", "aaaaaa"],
    ] {
        let outcome = home.run(arguments);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(&secret[..16]), "{arguments:?}: {said}");
        let shows_name = ["list", "rotate"].contains(&arguments[0]) || arguments[1..] == ["aaaaaa"];
        assert_eq!(said.contains("<contains a token>"), shows_name, "{said}");
    }
}
