use std::fs;

use snapbox::str;
use time::Duration;

use super::support::{Home, token};

fn home() -> Home {
    Home::with_tokens(&[
        token('a', "laptop", Some(Duration::days(5))),
        token('b', "ci", Some(-Duration::days(5))),
        token('c', "漢字", None),
        token('d', "old", Some(-Duration::hours(1))),
    ])
}

#[track_caller]
fn assert_left(home: &Home, names: &[&str]) {
    let records = home.records();
    let left: Vec<_> = records.iter().map(|record| record.name().unwrap()).collect();
    assert_eq!(left, names);
}

#[test]
fn tokens_are_deleted_by_id_name_or_beginning_of_the_id() {
    let home = home();
    home.run(&["delete", "aaaaaaaaaaaa"]).is(
        0,
        "",
        str![[r#"
Deleted the token [ID] (laptop).
Servers deny it from now on and end its open streams.

"#]],
    );
    home.run(&["delete", "漢字"]).is(
        0,
        "",
        str![[r#"
Deleted the token [ID] (漢字).
Servers deny it from now on and end its open streams.

"#]],
    );
    home.run(&["delete", "bbbbbb"]).is(
        0,
        "",
        str![[r#"
Deleted the token [ID] (ci).
Servers deny it from now on and end its open streams.

"#]],
    );
    assert_left(&home, &["old"]);
}

#[test]
fn a_deleted_token_is_unknown() {
    let home = Home::new();
    let secret = home.create(&["--name", "laptop"]);
    assert!(home.knows(&secret));
    assert_eq!(home.run(&["delete", "laptop"]).code, 0);
    assert!(!home.knows(&secret));
}

#[test]
fn several_tokens_are_deleted_at_once() {
    let home = home();
    home.run(&["delete", "ci", "laptop", "ci"]).is(
        0,
        "",
        str![[r#"
Deleted the token [ID] (laptop).
Deleted the token [ID] (ci).
Servers deny them from now on and end their open streams.

"#]],
    );
    assert_left(&home, &["漢字", "old"]);
}

#[test]
fn nothing_is_deleted_if_one_token_is_not_found() {
    let home = home();
    home.run(&["delete", "ci", "nobody"]).is(1, "", str![[r#"
error: failed to delete any of these tokens: no token has the id or name `nobody`; list the tokens with: opencode-auth token list

"#]]);
    home.run(&["delete", "nobody"]).is(1, "", str![[r#"
error: failed to delete the token: no token has the id or name `nobody`; list the tokens with: opencode-auth token list

"#]]);
    // Too short for the beginning of an id.
    home.run(&["delete", "aaaaa"]).is(1, "", str![[r#"
error: failed to delete the token: no token has the id or name `aaaaa` (of the beginning of an id, at least 6 characters are needed); list the tokens with: opencode-auth token list

"#]]);
    home.run(&["delete", ""]).is(1, "", str![[r#"
error: failed to delete the token: no token has the id or name ``; list the tokens with: opencode-auth token list

"#]]);
    assert_left(&home, &["laptop", "ci", "漢字", "old"]);
}

#[test]
fn an_ambiguous_beginning_lists_the_candidates() {
    let tokens = [token('a', "one", None), token('b', "two", None)];
    let home = Home::with_tokens(&tokens.map(|token| {
        token.replacen("aaaaaaaaaaaa", "abcdef000001", 1).replacen(
            "bbbbbbbbbbbb",
            "abcdef000002",
            1,
        )
    }));
    let outcome = home.run(&["delete", "abcdef"]);
    outcome.is(1, "", str![[r#"
error: failed to delete the token: `abcdef` can mean several tokens: [ID] (one), [ID] (two); give one of these ids

"#]]);
    assert!(
        outcome.stderr.contains("abcdef000001 (one), abcdef000002 (two)"),
        "{}",
        outcome.stderr
    );
    assert_left(&home, &["one", "two"]);
}

#[test]
fn expired_tokens_are_deleted() {
    let home = home();
    home.run(&["delete", "--expired"]).is(
        0,
        "",
        str![[r#"
Deleted the token [ID] (ci).
Deleted the token [ID] (old).
Servers deny them from now on and end their open streams.

"#]],
    );
    assert_left(&home, &["laptop", "漢字"]);
    home.run(&["delete", "--expired"]).is(
        0,
        "",
        str![[r#"
No token is expired. Nothing was deleted.

"#]],
    );
    assert_left(&home, &["laptop", "漢字"]);
}

#[test]
fn delete_requires_an_argument() {
    let home = home();
    home.run(&["delete"]).is(
        2,
        "",
        str![[r#"
error: the following required arguments were not provided:
  <ID|NAME|--expired>

Usage: opencode-auth token delete <ID|NAME|--expired>

For more information, try '--help'.

"#]],
    );
    home.run(&["delete", "--expired", "ci"]).is(
        2,
        "",
        str![[r#"
error: the argument '--expired' cannot be used with '[ID|NAME]...'

Usage: opencode-auth token delete <ID|NAME|--expired>

For more information, try '--help'.

"#]],
    );
    assert_left(&home, &["laptop", "ci", "漢字", "old"]);
}

#[test]
fn a_token_given_as_a_name_is_not_repeated() {
    let home = Home::new();
    let token = home.create(&[]);
    for id_or_name in [token.clone(), format!("Bearer {token}"), format!("{token}x")] {
        let outcome = home.run(&["delete", &id_or_name]);
        outcome.is(1, "", str![[r#"
error: failed to delete the token: the argument looks like a token; give the token's id or name, or pass the token on standard input: printf %s "$TOKEN" | opencode-auth token delete -

"#]]);
        assert!(!outcome.stderr.contains(&token[..8]), "{}", outcome.stderr);
    }
    assert!(home.knows(&token));
}

#[test]
fn deleting_from_a_missing_store_creates_nothing() {
    let home = Home::new();
    home.run(&["delete", "ci"]).is(1, "", str![[r#"
error: failed to delete the token: no token has the id or name `ci`; list the tokens with: opencode-auth token list

"#]]);
    home.run(&["delete", "--expired"]).is(
        0,
        "",
        str![[r#"
No token is expired. Nothing was deleted.

"#]],
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
