//! Help, completions, and which file it is.

use std::fs;

use snapbox::str;

use super::support::{BINARY, Home, Outcome, set_mode};

const COMMANDS: [&str; 9] =
    ["create", "list", "delete", "rotate", "identify", "path", "check", "init", "completions"];

#[test]
fn each_command_explains_itself_with_an_example_in_80_columns() {
    let home = Home::new();
    for command in COMMANDS {
        let long = home.run(&[command, "--help"]);
        assert_eq!((long.code, &*long.stderr), (0, ""), "{command}");
        let example = format!("opencode-auth token {command}");
        let (_, examples) = long.stdout.split_once("\nExample").expect(command);
        assert!(examples.contains(&example), "{examples}");
        assert_eq!(home.run(&[command, "-h"]).stdout, long.stdout);
        for line in long.stdout.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
    home.run(&["create", "--help"]).is(
        0,
        str![[r#"
Create a token and print it once

Usage: opencode-auth token create [OPTIONS]

Options:
      --name <NAME>         A name that no other token has
      --permissions <LIST>  What the token allows: read, write and execute,
                            separated by commas [default: read,write,execute]
      --expires <WHEN>      When it expires: 12h, 90d, 2w or 1y from now,
                            2027-01-31, a time in the form of RFC 3339,
                            or never [default: 90d]
      --json                Print the token and its record as a JSON object
      --store <PATH>        The token file [default:
                            $OPENCODE_AUTH_TOKENS, else
                            $XDG_CONFIG_HOME/opencode/auth-tokens.json, else
                            ~/.config/opencode/auth-tokens.json]
  -h, --help                Print help

Examples:
  opencode-auth token create --name laptop
  TOKEN=$(opencode-auth token create --permissions read --expires 30d)

"#]],
        "",
    );
    home.run(&["--help"]).is(
        0,
        str![[r#"
Create, list and delete the tokens that clients use

Usage: opencode-auth token [OPTIONS] <COMMAND>

Commands:
  create       Create a token and print it once
  list         List the tokens without their secrets [alias: ls]
  delete       Delete tokens: servers deny them at once [alias: rm]
  rotate       Give a token a new secret: the old one stops working at once
  identify     Say which token standard input holds
  path         Print the path of the token file
  check        Check the token file without changing it
  init         Create the tables of a store in PostgreSQL
  completions  Print completions for a shell
  help         Print this message or the help of the given subcommand(s)

Options:
      --store <PATH>  The token file [default:
                      $OPENCODE_AUTH_TOKENS, else
                      $XDG_CONFIG_HOME/opencode/auth-tokens.json, else
                      ~/.config/opencode/auth-tokens.json]
  -h, --help          Print help

Exit codes:
  0  the command succeeded
  1  it failed and changed nothing, or check found a problem
  2  wrong usage
  3  the change was made, but the disk did not confirm it

"#]],
        "",
    );
}

#[test]
fn no_command_is_wrong_usage_and_shows_the_help() {
    let home = Home::new();
    let no_arguments: [&str; 0] = [];
    let outcome = home.run(&no_arguments);
    assert_eq!((outcome.code, &*outcome.stdout), (2, ""));
    assert_eq!(outcome.stderr, home.run(&["--help"]).stdout);
    home.run(&["lst"]).is(
        2,
        "",
        str![[r#"
error: unrecognized subcommand 'lst'

  tip: some similar subcommands exist: 'ls', 'list'

Usage: opencode-auth token [OPTIONS] <COMMAND>

For more information, try '--help'.

"#]],
    );
}

#[test]
fn the_version_is_that_of_the_crate() {
    let outcome = Outcome::of(Home::new().program(BINARY).arg("--version"));
    assert_eq!(outcome.stdout, format!("opencode-auth {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_those_of_the_program() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = home.run(&["completions", shell]);
        assert_eq!((outcome.code, &*outcome.stderr), (0, ""), "{shell}");
        for word in COMMANDS.into_iter().chain(["opencode-auth", "permissions"]) {
            assert!(outcome.stdout.contains(word), "{shell}: {word}");
        }
    }
    home.run(&["completions", "tcsh"]).is(
        2,
        "",
        str![[r#"
error: invalid value 'tcsh' for '<SHELL>'
  [possible values: bash, elvish, fish, powershell, zsh]

  tip: a similar value exists: 'zsh'

For more information, try '--help'.

"#]],
    );
}

#[test]
fn the_option_wins_over_the_variables() {
    let home = Home::new();
    let path = |arguments: &[&str], variables: &[(&str, &str)]| {
        Outcome::of(home.command(&[&["path"], arguments].concat()).envs(variables.iter().copied()))
    };
    let xdg = ("XDG_CONFIG_HOME", "/xdg");
    let file = ("OPENCODE_AUTH_TOKENS", "/srv/tokens.json");
    path(&[], &[]).is(
        0,
        str![[r#"
[HOME]/.config/opencode/auth-tokens.json

"#]],
        "",
    );
    path(&[], &[xdg]).is(
        0,
        str![[r#"
/xdg/opencode/auth-tokens.json

"#]],
        "",
    );
    path(&[], &[xdg, file]).is(
        0,
        str![[r#"
/srv/tokens.json

"#]],
        "",
    );
    path(&["--store", "/named.json"], &[xdg, file]).is(
        0,
        str![[r#"
/named.json

"#]],
        "",
    );
    path(&["--store", "here.json"], &[]).is(
        0,
        str![[r#"
[HOME]/here.json

"#]],
        "",
    );
    path(&[], &[("OPENCODE_AUTH_TOKENS", ""), ("XDG_CONFIG_HOME", "")]).is(
        0,
        str![[r#"
[HOME]/.config/opencode/auth-tokens.json

"#]],
        "",
    );
    path(&[], &[("OPENCODE_AUTH_TOKENS", "tokens.json")]).is(1, "", str![[r#"
error: failed to find the token store: the variable `OPENCODE_AUTH_TOKENS` is `tokens.json`, which is not an absolute path

"#]]);
    path(&[], &[("XDG_CONFIG_HOME", "config")]).is(1, "", str![[r#"
error: failed to find the token store: the variable `XDG_CONFIG_HOME` is `config`, which is not an absolute path

"#]]);
    path(&["--store", ""], &[]).is(
        2,
        "",
        str![[r#"
error: a value is required for '--store <PATH>' but none was supplied

For more information, try '--help'.

"#]],
    );
    let slash = "a slash at its end makes it a directory; name a file in it";
    for command in ["path", "list", "check", "create"] {
        let outcome = home.run(&[command, "--store", "here/"]);
        outcome.is(1, "", format!("error: failed to open `here/`: {slash}\n"));
        let outcome = home.run(&[command, "--store", "oct_AAECAwQFBgcICQoLDA0ODw"]);
        outcome.is(1, "", str![[r#"
error: failed to find the token store: its path contains a token, which is not repeated here; name the file

"#]]);
    }
    path(&[], &[("OPENCODE_AUTH_TOKENS", "/srv/oct_AAECAwQFBgcICQoLDA0ODw")]).is(1, "", str![[r#"
error: failed to find the token store: its path contains a token, which is not repeated here; name the file

"#]]);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    // A name that looks like a token but is not one.
    for name in ["oct_administrator_of_all_w", "backup_oct_2026-11-24_of_laptop_w"] {
        assert_eq!(home.run(&["create", "--store", name]).code, 0, "{name}");
    }
}

#[test]
fn the_file_can_be_named_before_and_after_the_command() {
    let home = Home::new();
    let store = home.path().join("other.json");
    let store = store.to_str().unwrap();
    assert_eq!(home.run(&["--store", store, "create"]).code, 0);
    assert_eq!(home.run(&["create", "--store", store]).code, 0);
    let outcome = Outcome::of(home.command(&["list"]).env("OPENCODE_AUTH_TOKENS", store));
    assert_eq!(outcome.stdout.lines().count(), 3);
    assert!(!home.store_path().exists());
}

/// What it is in the program's output as well, apart from that of `path`, which a script reads.
#[test]
fn terminal_control_characters_in_a_path_are_escaped() {
    let home = Home::new();
    let directory = home.path().join("\u{1b}[2J\nx");
    fs::create_dir(&directory).unwrap();
    let store = directory.join("tokens");
    let store = store.to_str().unwrap();
    let printable = |outcome: &Outcome| {
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains('\u{1b}') && !said.contains("\nx"), "{said}");
        assert!(said.contains(r"\u{1b}[2J\nx/tokens"), "{said}");
    };
    for command in ["list", "check", "create", "check"] {
        let outcome = home.run(&[command, "--store", store]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        printable(&outcome);
    }
    let path = home.run(&["path", "--store", store]);
    assert_eq!(path.stdout, format!("{store}\n"));
    fs::remove_file(format!("{store}.lock")).unwrap();
    fs::create_dir(format!("{store}.lock")).unwrap();
    printable(&home.run(&["check", "--store", store]));
    set_mode(store.as_ref(), 0o666);
    for command in ["list", "check"] {
        let outcome = home.run(&[command, "--store", store]);
        printable(&outcome);
        // No command to paste would act on another file.
        assert!(
            !format!("{}{}", outcome.stdout, outcome.stderr).contains("chmod go-w '"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_token_in_the_wrong_place_is_not_repeated() {
    let home = Home::new();
    let token = "oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw";
    for arguments in [
        &[token][..],
        &["list", token],
        &["create", "--expires", token],
        &["create", "--permissions", token],
        &["create", "--name", token],
        &["delete", token],
        &["list", "--store", token],
        &["create", "--store", token],
        &["check", "--store", token],
        &["path", "--store", token],
        &["list", "--store", &format!("./x/{}/y", &token[..20])],
        &["delete", "a", &format!("--{token}")],
        &["list", &token[..16]],
        &["list", &token.replacen('o', "%6f", 1)],
        &["create", "--name", &token[..16]],
    ] {
        let output = home.command(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(&token[4..16]), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_path_that_ends_in_an_invisible_character_or_is_a_url_is_refused() {
    let home = Home::new();
    for (value, message) in [
        (
            "/srv/t.json\r",
            r"its path ends in the invisible character U+000D (\r); remove it, also from the variable or the file that the path comes from",
        ),
        (
            "/srv/t.json ",
            "its path ends in the invisible character U+0020 ( ); remove it, also from the variable or the file that the path comes from",
        ),
        (
            "/srv/t.json\n",
            r"its path ends in the invisible character U+000A (\n); remove it, also from the variable or the file that the path comes from",
        ),
        (
            "/srv/t.json\u{a0}",
            r"its path ends in the invisible character U+00A0 (\u{a0}); remove it, also from the variable or the file that the path comes from",
        ),
        (
            "/srv/t.json\u{200b}",
            r"its path ends in the invisible character U+200B (\u{200b}); remove it, also from the variable or the file that the path comes from",
        ),
        ("file:///srv/t.json", "`file://` is a URL, but only the path of a file is supported here"),
        (
            "https://user:password@host/x",
            "`https://` is a URL, but only the path of a file is supported here",
        ),
        #[cfg(not(feature = "postgres"))]
        (
            "postgres://user:password@host/x",
            "`postgres://` is a URL, but only the path of a file is supported here; this program was built without the feature `postgres` of opencode-auth: build it with `--features postgres`, as in `cargo install opencode-auth --features cli,postgres`",
        ),
    ] {
        let expected = format!("error: failed to find the token store: {message}\n");
        for command in ["list", "create", "path", "check"] {
            let outcome = home.run(&[command, "--store", value]);
            assert_eq!((outcome.code, &*outcome.stdout, &*outcome.stderr), (1, "", &*expected));
            let mut command = home.command(&[command]);
            let outcome = Outcome::of(command.env("OPENCODE_AUTH_TOKENS", value));
            assert_eq!((outcome.code, &*outcome.stdout, &*outcome.stderr), (1, "", &*expected));
        }
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_path_is_escaped_for_a_terminal_only() {
    let home = Home::new();
    let store = "/srv/\u{1b}[2J/t.json";
    assert_eq!(home.run(&["path", "--store", store]).stdout, format!("{store}\n"));
    if !super::support::can_run("script", &["-qec", "true", "/dev/null"]) {
        return;
    }
    let mut script = home.program("script");
    script.args(["-qec", &format!("{BINARY} token path --store \"$STORE\""), "/dev/null"]);
    let outcome = Outcome::of(script.env("STORE", store));
    assert_eq!(outcome.stdout, "/srv/\\u{1b}[2J/t.json\r\n");
}

#[test]
fn an_expiry_without_a_unit_gets_a_hint() {
    let home = Home::new();
    home.run(&["create", "--expires", "30"]).is(2, "", str![[r#"
error: invalid value '30' for '--expires <WHEN>': the unit is missing: give 30d for days, 30h for hours, or 30w for weeks

For more information, try '--help'.

"#]]);
}

#[test]
fn ls_and_rm_are_list_and_delete() {
    let home = Home::new();
    home.create(&["--name", "ci"]);
    assert_eq!(home.run(&["ls"]).stdout, home.run(&["list"]).stdout);
    assert_eq!(home.run(&["rm", "ci"]).code, 0);
    assert!(home.records().is_empty());
}

#[test]
fn the_values_of_permissions_are_completed() {
    let home = Home::new();
    for shell in ["bash", "fish", "zsh"] {
        let script = home.run(&["completions", shell]).stdout;
        assert!(
            script.contains("read,write,execute") || script.contains("read\\,write\\,execute"),
            "{shell}"
        );
    }
}
