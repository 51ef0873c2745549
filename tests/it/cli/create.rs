use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use opencode_auth::Permissions;
use snapbox::str;
use time::Duration;

use super::support::{Home, Outcome, closed_pipe, full_device};

#[test]
fn the_token_is_alone_on_standard_output() {
    let home = Home::new();
    let outcome = home.run(&["create"]);
    outcome.is(
        0,
        str![[r#"
[TOKEN]

"#]],
        str![[r#"
Created the token [ID].
  permissions  read,write,execute
  expires      [TIME], in 90 days
  stored in    [HOME]/.config/opencode/auth-tokens.json (as a hash)
The token is shown only this once. To try it, put it into the variable TOKEN and run:
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/config

"#]],
    );
    assert_eq!(outcome.stdout.len(), 33);
    assert!(home.knows(outcome.stdout.trim_end()));

    let [record] = &home.records()[..] else { panic!("one token") };
    assert_eq!((record.name(), record.permissions()), (None, Permissions::ALL));
    assert_eq!(record.expires_at(), Some(record.created_at() + Duration::days(90)));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.store_path()), 0o600);
    assert_eq!(mode(home.store_directory()), 0o700);
}

#[test]
fn every_option_counts() {
    let home = Home::new();
    let outcome = home.run(&[
        "create",
        "--name",
        "a name",
        "--permissions",
        "write,read",
        "--expires",
        "never",
    ]);
    outcome.is(
        0,
        str![[r#"
[TOKEN]

"#]],
        str![[r#"
Created the token [ID] (a name).
  permissions  read,write
  expires      never
  stored in    [HOME]/.config/opencode/auth-tokens.json (as a hash)
The token is shown only this once. To try it, put it into the variable TOKEN and run:
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/config

"#]],
    );
    let [record] = &home.records()[..] else { panic!("one token") };
    assert_eq!(record.name(), Some("a name"));
    assert_eq!(record.permissions(), Permissions::READ | Permissions::WRITE);
    assert_eq!(record.expires_at(), None);
}

#[test]
fn json_has_the_token_and_its_record() {
    let home = Home::new();
    let outcome = home.run(&["create", "--name", "ci", "--permissions", "read", "--json"]);
    outcome.is(
        0,
        str![[r#"
{
  "token": "[TOKEN]",
  "id": "[ID]",
  "name": "ci",
  "permissions": [
    "read"
  ],
  "created_at": "[TIME]",
  "expires_at": "[TIME]"
}

"#]],
        str![],
    );
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(home.knows(json["token"].as_str().unwrap()));
    assert_eq!(json["id"], home.records()[0].id().as_str());
}

#[test]
fn a_shell_captures_the_token() {
    let home = Home::new();
    let mut shell = home.program("sh");
    shell
        .args(["-c", r#"TOKEN=$(opencode-auth token create 2>/dev/null); printf "<%s>" "$TOKEN""#]);
    Outcome::of(&mut shell).is(0, str!["<[TOKEN]>"], str![]);
}

#[test]
fn every_form_of_expiry_is_accepted() {
    let home = Home::new();
    for (form, lifetime) in [
        ("12h", Duration::hours(12)),
        ("1d", Duration::days(1)),
        ("2w", Duration::days(14)),
        ("1y", Duration::days(365)),
    ] {
        home.create(&["--name", form, "--expires", form]);
        let record = home.records().pop().unwrap();
        assert_eq!(record.expires_at(), Some(record.created_at() + lifetime), "{form}");
    }
    for (form, expected) in [
        ("9999-01-31", time::macros::utc_datetime!(9999-01-31 0:00)),
        ("9998-01-31T18:00:00.5+02:00", time::macros::utc_datetime!(9998-01-31 16:00)),
    ] {
        home.create(&["--expires", form]);
        assert_eq!(home.records().pop().unwrap().expires_at(), Some(expected), "{form}");
    }
}

#[test]
fn unparsable_values_are_wrong_usage() {
    let home = Home::new();
    home.run(&["create", "--expires", "soon"]).is(2, "", str![[r#"
error: invalid value 'soon' for '--expires <WHEN>': not an expiry: give a time from now such as 12h, 90d, 2w or 1y, a date such as 2027-01-31, a date and time in the form of RFC 3339, or never

For more information, try '--help'.

"#]]);
    home.run(&["create", "--permissions", "read,delete"]).is(2, "", str![[r#"
error: invalid value 'read,delete' for '--permissions <LIST>': `delete` is not a permission: give one or more of read, write, execute, separated by commas

For more information, try '--help'.

"#]]);
    home.run(&["create", "--permissions", ""]).is(2, "", str![[r#"
error: invalid value '' for '--permissions <LIST>': no permission is given: give one or more of read, write, execute, separated by commas

For more information, try '--help'.

"#]]);
    home.run(&["create", "--permissions", "read,read"]).is(
        2,
        "",
        str![[r#"
error: invalid value 'read,read' for '--permissions <LIST>': the permission `read` is given twice

For more information, try '--help'.

"#]],
    );
    home.run(&["create", "laptop"]).is(
        2,
        "",
        str![[r#"
error: unexpected argument 'laptop' found

Usage: opencode-auth token create [OPTIONS]

For more information, try '--help'.

"#]],
    );
    assert!(!home.store_path().exists());
}

#[test]
fn an_invalid_token_is_not_created() {
    let home = Home::new();
    let token = home.create(&["--name", "laptop"]);
    let before = fs::read(home.store_path()).unwrap();
    let refused = |arguments: &[&str]| home.run(&[&["create"], arguments].concat());

    refused(&["--expires", "2020-01-01"]).is(
        1,
        "",
        str![[r#"
error: failed to create the token: the expiry must be in the future

"#]],
    );
    refused(&["--expires", "9000y"]).is(
        1,
        "",
        str![[r#"
error: failed to create the token: the expiry is beyond the year 9999: use never instead

"#]],
    );
    refused(&["--name", "laptop"]).is(1, "", str![[r#"
error: failed to create the token: a token named `laptop` exists already; delete it first, or rotate it for a new secret

"#]]);
    refused(&["--name", ""]).is(1, "", str![[r#"
error: failed to create the token: a token's name cannot be empty: omit it, or give 1 to 64 characters

"#]]);
    refused(&["--name", &"é".repeat(65)]).is(
        1,
        "",
        str![[r#"
error: failed to create the token: a token's name has at most 64 characters

"#]],
    );
    refused(&["--name", "a\u{1b}[31m"]).is(1, "", str![[r#"
error: failed to create the token: a token's name cannot contain control or formatting characters, but this one contains U+001B

"#]]);
    // Not even a part of it is printed: a terminal or the log of a build would keep it.
    refused(&["--name", &token]).is(1, "", str![[r#"
error: failed to create the token: a token's name is not secret, but this one may contain a token: `oct_` and 12 or more of its characters

"#]]);
    refused(&["--name", &format!("old: {}", &token[..26])]).is(1, "", str![[r#"
error: failed to create the token: a token's name is not secret, but this one may contain a token: `oct_` and 12 or more of its characters

"#]]);

    assert_eq!(fs::read(home.store_path()).unwrap(), before);
}

#[test]
fn a_token_that_cannot_be_printed_is_deleted_again() {
    let home = Home::new();
    home.create(&["--name", "other"]);
    for arguments in [&["create"][..], &["create", "--json"]] {
        let outcome = Outcome::of(home.command(arguments).stdout(closed_pipe()));
        outcome.is(1, "", str![[r#"
error: failed to write the new token to standard output: Broken pipe (os error 32); it was deleted again

"#]]);
        assert_eq!(home.records().len(), 1, "{arguments:?}");

        let Some(full) = full_device() else { continue };
        let outcome = Outcome::of(home.command(arguments).stdout(full));
        outcome.is(1, "", str![[r#"
error: failed to write the new token to standard output: No space left on device (os error 28); it was deleted again

"#]]);
        assert_eq!(home.records().len(), 1, "{arguments:?}");
    }
}

/// The runtime of Rust opens `/dev/null` in the place of a closed stream, to which writing never fails.
#[test]
fn nothing_is_created_or_rotated_if_the_token_would_be_lost() {
    let home = Home::new();
    home.create(&["--name", "ci"]);
    let records = home.records();
    for (arguments, redirection) in [
        ("create", ">&-"),
        ("create --json", ">/dev/null"),
        ("rotate ci", ">&-"),
        ("rotate ci --json", ">/dev/null"),
    ] {
        let script = format!("opencode-auth token {arguments} {redirection}");
        let outcome = Outcome::of(home.program("sh").args(["-c", &script]));
        let what = arguments.split(' ').next().unwrap();
        let expected = format!(
            "error: failed to {what} the token: standard output is closed or /dev/null, and the token \
             would be lost; let it go to a terminal, a pipe or a file\n"
        );
        outcome.is(1, "", expected);
        assert_eq!(home.records(), records, "{script}");
    }
}

#[test]
fn a_closed_standard_error_is_not_a_failure() {
    let home = Home::new();
    let outcome =
        Outcome::of(home.command(&["create"]).stderr(closed_pipe()).stdout(Stdio::piped()));
    outcome.is(
        0,
        str![[r#"
[TOKEN]

"#]],
        "",
    );
    assert!(home.knows(outcome.stdout.trim_end()));
}
