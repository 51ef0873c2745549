use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use snapbox::str;

use super::support::{Home, Outcome};

/// Runs the command with this text on standard input.
fn with_input(home: &Home, arguments: &[&str], input: &str) -> Outcome {
    let mut command = home.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_token_on_standard_input_is_identified() {
    let home = Home::new();
    home.create(&["--name", "other"]);
    let token = home.create(&["--name", "ci", "--permissions", "read", "--expires", "never"]);
    for input in [token.clone(), format!("  {token}\r\n")] {
        let outcome = with_input(&home, &["identify"], &input);
        outcome.is(
            0,
            str![[r#"
The token is [ID] (ci).
  permissions  read
  created      [TIME]
  expires      never
Delete it with: opencode-auth token delete [ID]

"#]],
            "",
        );
        assert!(!outcome.stdout.contains(&token));
    }
    with_input(&home, &["identify", "--json"], &token).is(
        0,
        str![[r#"
{
  "id": "[ID]",
  "name": "ci",
  "permissions": [
    "read"
  ],
  "created_at": "[TIME]",
  "expires_at": null
}

"#]],
        "",
    );
}

#[test]
fn a_token_on_standard_input_is_deleted_or_rotated() {
    let home = Home::new();
    home.create(&["--name", "other"]);
    let token = home.create(&["--name", "ci"]);
    let rotated = with_input(&home, &["rotate", "-", "--json"], &token);
    let json: serde_json::Value = serde_json::from_str(&rotated.stdout).unwrap();
    let new = json["token"].as_str().unwrap();
    assert!(home.knows(new) && !home.knows(&token));
    with_input(&home, &["delete", "-"], new).is(
        0,
        "",
        str![[r#"
Deleted the token [ID] (ci).
Servers deny it from now on and end its open streams.

"#]],
    );
    assert_eq!(home.records().len(), 1);
}

#[test]
fn only_one_token_of_this_store_is_accepted() {
    let home = Home::new();
    let token = home.create(&["--name", "ci"]);
    let before = fs::read(home.store_path()).unwrap();
    for arguments in [&["identify"][..], &["delete", "-"], &["rotate", "-"]] {
        with_input(&home, arguments, "oct_AAAAAAAAAAAAAAAAAAAAAAT5D3NQ").is(1, "", str![[r#"
error: the store `[HOME]/.config/opencode/auth-tokens.json` does not have this token: it was deleted or rotated, or it belongs to another store

"#]]);
        with_input(&home, arguments, " \n").is(
            1,
            "",
            str![[r#"
error: failed to read a token from standard input: it is empty

"#]],
        );
        for input in [
            &token[..31],
            &format!("{token}\n{token}"),
            &format!("Bearer {token}"),
            &"x".repeat(1 << 20),
        ] {
            with_input(&home, arguments, input).is(1, "", str![[r#"
error: failed to read a token from standard input: not a token: it was mistyped, truncated, or made by another program; give one token and nothing else

"#]]);
        }
    }
    home.run(&["identify", &token]).is(
        2,
        "",
        str![[r#"
error: an argument that is not understood looks like a token and is not repeated here

For more information, try '--help'.

"#]],
    );
    assert_eq!(fs::read(home.store_path()).unwrap(), before);
}
