use std::fs;

use snapbox::str;
use time::Duration;

use super::support::{Answer, Home, closed_pipe, full_device, token};

#[test]
fn the_new_secret_works_and_the_old_one_does_not() {
    let home = Home::new();
    let old = home.create(&["--name", "ci", "--permissions", "read", "--expires", "30d"]);
    let before = home.records().remove(0);
    let answer = home.run(&["rotate", "ci"]);
    answer.is(
        0,
        str![[r#"
[TOKEN]

"#]],
        str![[r#"
Rotated the token [ID] (ci): its old secret is refused from now on.
  permissions  read
  expires      [TIME], in 30 days
  stored in    [HOME]/.config/opencode/auth-tokens.json (as a hash)
The token is shown only this once. With it in the variable TOKEN, try:
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/config

"#]],
    );

    assert!(home.knows(answer.stdout.trim_end()));
    assert!(!home.knows(&old));
    let after = home.records().remove(0);
    assert_eq!(
        (after.id(), after.name(), after.permissions()),
        (before.id(), before.name(), before.permissions()),
    );
    assert_eq!(after.expires_at(), Some(after.created_at() + Duration::days(30)));
}

#[test]
fn a_token_is_named_by_its_id_its_name_or_the_beginning_of_its_id() {
    let home = Home::new();
    home.create(&["--name", "ci"]);
    let id = home.records()[0].id();
    for key in [id.as_str(), "ci", &id.as_str()[..6]] {
        assert_eq!(home.run(&["rotate", key]).code, 0, "{key}");
    }
}

#[test]
fn json_has_the_token_and_its_record() {
    let home = Home::new();
    home.create(&["--name", "ci"]);
    home.run(&["rotate", "ci", "--json"]).is(
        0,
        str![[r#"
{
  "token": "[TOKEN]",
  "id": "[ID]",
  "name": "ci",
  "permissions": [
    "read",
    "write",
    "execute"
  ],
  "created_at": "[TIME]",
  "expires_at": "[TIME]"
}

"#]],
        str![],
    );
}

#[test]
fn the_old_record_is_put_back_if_the_new_secret_could_not_be_written_out() {
    let home = Home::new();
    let old = home.create(&["--name", "ci"]);
    // What a later version may keep in the file is put back as well.
    let content = fs::read_to_string(home.store_path()).unwrap();
    home.write(
        &content.replace("null}", "null, \"x\": 1.0}").replace(r#"Z"}"#, r#"Z", "x": 1.0}"#),
    );
    let before = fs::read_to_string(home.store_path()).unwrap();
    assert!(before.contains(r#""x": 1.0"#));

    for arguments in [&["rotate", "ci"][..], &["rotate", "ci", "--json"]] {
        let answer = Answer::of(home.command(arguments).stdout(closed_pipe()));
        answer.is(1, "", str![[r#"
error: failed to write the new token to standard output: Broken pipe (os error 32); the old one was put back and works as before

"#]]);
        assert_eq!(fs::read_to_string(home.store_path()).unwrap(), before);

        let Some(full) = full_device() else { continue };
        let answer = Answer::of(home.command(arguments).stdout(full));
        answer.is(1, "", str![[r#"
error: failed to write the new token to standard output: No space left on device (os error 28); the old one was put back and works as before

"#]]);
        assert_eq!(fs::read_to_string(home.store_path()).unwrap(), before);
    }
    assert!(home.knows(&old));
}

#[test]
fn a_token_that_is_not_there_is_not_rotated() {
    let home = Home::with_tokens(&[token('a', "ci", None)]);
    home.run(&["rotate", "nobody"]).is(1, "", str![[r#"
error: failed to rotate the token: no token has the id or name `nobody`; see them with: opencode-auth token list

"#]]);
    home.run(&["rotate"]).is(
        2,
        "",
        str![[r#"
error: the following required arguments were not provided:
  <ID|NAME>

Usage: opencode-auth token rotate <ID|NAME>

For more information, try '--help'.

"#]],
    );
    home.run(&["rotate", "oct_not-quite-a-token"]).is(1, "", str![[r#"
error: failed to rotate the token: no token has this id or name: it looks like a token itself; give the token's id or its name; see them with: opencode-auth token list

"#]]);
}
