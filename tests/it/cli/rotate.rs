use std::fs;

use snapbox::str;
use time::Duration;

use super::support::{Home, Outcome, closed_pipe, full_device, token};

#[test]
fn the_new_secret_works_and_the_old_one_does_not() {
    let home = Home::new();
    let old = home.create(&["--name", "ci", "--permissions", "read", "--expires", "30d"]);
    let before = home.records().remove(0);
    let outcome = home.run(&["rotate", "ci"]);
    outcome.is(
        0,
        str![[r#"
[TOKEN]

"#]],
        str![[r#"
Rotated the token [ID] (ci). Servers deny the old secret from now on and end its open streams.
  permissions  read
  expires      [TIME], in 30 days
  stored in    [HOME]/.config/opencode/auth-tokens.json (as a hash)
The token is shown only this once. To try it, put it into the variable TOKEN and run:
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/config

"#]],
    );

    assert!(home.knows(outcome.stdout.trim_end()));
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
    for id_or_name in [id.as_str(), "ci", &id.as_str()[..6]] {
        assert_eq!(home.run(&["rotate", id_or_name]).code, 0, "{id_or_name}");
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
fn the_old_record_is_restored_if_the_new_secret_cannot_be_printed() {
    let home = Home::new();
    let old = home.create(&["--name", "ci"]);
    // Fields of a later version are restored as well.
    let content = fs::read_to_string(home.store_path()).unwrap();
    home.write(
        &content.replace("null}", "null, \"x\": 1.0}").replace(r#"Z"}"#, r#"Z", "x": 1.0}"#),
    );
    let before = fs::read_to_string(home.store_path()).unwrap();
    assert!(before.contains(r#""x": 1.0"#));

    for arguments in [&["rotate", "ci"][..], &["rotate", "ci", "--json"]] {
        let outcome = Outcome::of(home.command(arguments).stdout(closed_pipe()));
        outcome.is(1, "", str![[r#"
error: failed to write the new token to standard output: Broken pipe (os error 32); the old one was restored and works as before

"#]]);
        assert_eq!(fs::read_to_string(home.store_path()).unwrap(), before);

        let Some(full) = full_device() else { continue };
        let outcome = Outcome::of(home.command(arguments).stdout(full));
        outcome.is(1, "", str![[r#"
error: failed to write the new token to standard output: No space left on device (os error 28); the old one was restored and works as before

"#]]);
        assert_eq!(fs::read_to_string(home.store_path()).unwrap(), before);
    }
    assert!(home.knows(&old));
}

#[test]
fn a_missing_token_is_not_rotated() {
    let home = Home::with_tokens(&[token('a', "ci", None)]);
    home.run(&["rotate", "nobody"]).is(1, "", str![[r#"
error: failed to rotate the token: no token has the id or name `nobody`; list the tokens with: opencode-auth token list

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
error: failed to rotate the token: the argument looks like a token; give the token's id or name, or pass the token on standard input: printf %s "$TOKEN" | opencode-auth token rotate -

"#]]);
}

#[test]
fn a_date_stays_and_expires_sets_another_one() {
    let home = Home::new();
    home.create(&["--name", "ci", "--expires", "9998-12-05"]);
    let content = fs::read_to_string(home.store_path()).unwrap();
    assert!(
        content.contains(r#""expires_at": "9998-12-05T00:00:00Z", "fixed_expiry": true}"#),
        "{content}"
    );
    for _ in 0..2 {
        assert_eq!(home.run(&["rotate", "ci"]).code, 0);
        assert_eq!(
            home.records()[0].expires_at(),
            Some(time::macros::utc_datetime!(9998-12-05 0:00))
        );
    }
    assert_eq!(home.run(&["rotate", "ci", "--expires", "30d"]).code, 0);
    let record = home.records().remove(0);
    assert_eq!(record.expires_at(), Some(record.created_at() + Duration::days(30)));
    let content = fs::read_to_string(home.store_path()).unwrap();
    assert!(!content.contains("fixed_expiry"), "{content}");
}

#[test]
fn an_expired_token_is_revived_only_by_expires() {
    let home = Home::with_tokens(&[token('a', "ci", Some(-Duration::days(1)))]);
    let before = fs::read(home.store_path()).unwrap();
    home.run(&["rotate", "ci"]).is(1, "", str![[r#"
error: failed to rotate the token: the token [ID] expired at [TIME]; give a new expiry to revive it: opencode-auth token rotate [ID] --expires 90d

"#]]);
    assert_eq!(fs::read(home.store_path()).unwrap(), before);
    assert_eq!(home.run(&["rotate", "ci", "--expires", "1d"]).code, 0);
}
