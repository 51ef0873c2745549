//! `FileTokenStore`: what its functions do, and when they fail without a write.

use std::time::Duration;

use opencode_auth::{
    ChangeError, Durability, Expiry, FileStoreError, FileTokenStore, NewToken, Permissions,
    TokenRecord,
};
use time::UtcDateTime;
use time::macros::utc_datetime;

use crate::support::store::{
    FILE, StoreDirectory, accepts, fault, issue, named, names, render, side_by_side,
};

#[test]
fn a_missing_file_is_an_empty_store_and_the_first_create_makes_it() {
    let directory = StoreDirectory::new();
    let store = FileTokenStore::open(directory.path().join("new/er").join(FILE)).unwrap();
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(directory.entries(), [""; 0]);

    let created = store.create(NewToken::new()).unwrap();
    assert!(matches!(created.durability, Durability::Confirmed));
    assert!(accepts(&store, &created.token));
    assert_eq!(store.list().unwrap(), [created.record]);
    #[cfg(unix)]
    for (path, mode) in [
        ("new", 0o40700),
        ("new/er", 0o40700),
        ("new/er/auth-tokens.json", 0o100_600),
        ("new/er/auth-tokens.json.lock", 0o100_600),
    ] {
        use std::os::unix::fs::MetadataExt as _;
        let found = directory.path().join(path).metadata().unwrap().mode();
        assert_eq!(found, mode, "{path}: {found:o}");
    }
}

#[test]
fn a_new_token_has_the_requested_values_and_defaults_for_the_rest() {
    let directory = StoreDirectory::new();
    let store = directory.open_quick();
    let before = UtcDateTime::now().replace_nanosecond(0).unwrap();
    let plain = store.create(NewToken::new()).unwrap().record;
    let asked = NewToken::new()
        .name("ci")
        .permissions(Permissions::READ)
        .expires(Expiry::At(utc_datetime!(9999-12-31 23:59:59.5)));
    let asked = store.create(asked).unwrap().record;
    assert_eq!((plain.name(), plain.permissions()), (None, Permissions::ALL));
    assert!(plain.created_at() >= before && plain.created_at() <= UtcDateTime::now());
    assert_eq!(plain.expires_at(), Some(plain.created_at() + time::Duration::days(90)));
    assert_eq!((asked.name(), asked.permissions()), (Some("ci"), Permissions::READ));
    assert_eq!(asked.expires_at(), Some(utc_datetime!(9999-12-31 23:59:59)));
    assert_eq!(directory.open().list().unwrap(), [plain, asked]);
}

#[test]
fn an_impossible_change_is_an_error_and_nothing_is_written() {
    let long = "x".repeat(65);
    let token = issue(1).remove(0).0;
    let is_token = "a token's name is not secret, but this one may contain a token: `oct_` and 12 or more of its characters";
    let blank = "a token's name needs a visible character";
    let controls =
        "a token's name cannot contain control or formatting characters, but this one contains";
    let cases = [
        (
            "empty",
            named(""),
            "a token's name cannot be empty: omit it, or give 1 to 64 characters".to_owned(),
        ),
        ("long", named(&long), "a token's name has at most 64 characters".to_owned()),
        (
            "very long",
            named(&"é".repeat(1 << 20)),
            "a token's name has at most 64 characters".to_owned(),
        ),
        ("NUL", named("a\0b"), format!("{controls} U+0000")),
        ("line break", named("a\nb"), format!("{controls} U+000A")),
        ("ANSI escape", named("\u{1b}[2J"), format!("{controls} U+001B")),
        ("right to left", named("a\u{202e}b"), format!("{controls} U+202E")),
        ("a token", named(token.expose_secret()), is_token.to_owned()),
        // The checksum is missing.
        ("a token cut short", named(&token.expose_secret()[..26]), is_token.to_owned()),
        (
            "half a token",
            named(&format!("my {}", &token.expose_secret()[..16])),
            is_token.to_owned(),
        ),
        ("a space", named(" "), blank.to_owned()),
        ("no-break spaces", named("\u{a0}\u{2003}"), blank.to_owned()),
        ("a Hangul filler", named("\u{3164}"), blank.to_owned()),
        ("a braille blank", named("\u{2800} \u{ffa0}"), blank.to_owned()),
        ("a variation selector", named("\u{fe0f}"), blank.to_owned()),
        ("an accent", named("\u{301}"), blank.to_owned()),
        (
            "a dash",
            named("-"),
            "a token's name cannot begin with `-`, because commands would take it for an option"
                .to_owned(),
        ),
        (
            "taken",
            named("taken"),
            "a token named `taken` exists already; delete it first, or rotate it for a new secret"
                .to_owned(),
        ),
        (
            "no permissions",
            named("n").permissions(Permissions::NONE),
            "a token needs at least one of the permissions read, write and execute".to_owned(),
        ),
        (
            "past",
            named("n").expires(Expiry::At(utc_datetime!(2020-01-01 0:00))),
            "the expiry must be in the future".to_owned(),
        ),
        (
            "now",
            named("n").expires(Expiry::At(UtcDateTime::now())),
            "the expiry must be in the future".to_owned(),
        ),
        (
            "less than a second",
            named("n").expires(Expiry::After(Duration::from_millis(999))),
            "the expiry must be in the future".to_owned(),
        ),
        (
            "beyond 9999",
            named("n").expires(Expiry::days(3_000_000)),
            "the expiry is beyond the year 9999: use never instead".to_owned(),
        ),
        (
            "beyond all",
            named("n").expires(Expiry::After(Duration::MAX)),
            "the expiry is beyond the year 9999: use never instead".to_owned(),
        ),
    ];
    side_by_side(cases, |(case, new, message)| {
        let directory = StoreDirectory::new();
        let store = directory.open_quick();
        let _ = store.create(named("taken")).unwrap();
        let before = directory.bytes();
        assert_eq!(store.create(new.clone()).unwrap_err().to_string(), message, "{case}");
        assert_eq!(directory.bytes(), before, "{case}");
        assert_eq!(directory.entries(), [FILE, "auth-tokens.json.lock"], "{case}");

        // If nothing exists yet, nothing is created, not even a directory.
        if case != "taken" {
            let absent = FileTokenStore::open(directory.path().join("absent").join(FILE)).unwrap();
            assert_eq!(absent.create(new).unwrap_err().to_string(), message, "{case}");
            assert!(!directory.path().join("absent").exists(), "{case}");
        }
    });
}

#[test]
fn a_name_that_is_invalid_for_a_new_token_is_valid_in_a_file() {
    let directory = StoreDirectory::new();
    let store = directory.open_quick();
    for name in ["e\u{301}", "oct_backup", "my oct_ token of the office"] {
        assert_eq!(store.create(named(name)).unwrap().record.name(), Some(name));
    }
    // What is there already is read, whatever its name.
    let file = String::from_utf8(directory.bytes()).unwrap();
    std::fs::write(
        directory.file(),
        file.replace("oct_backup", "oct_AAECAwQFBgcI").replace("e\u{301}", " "),
    )
    .unwrap();
    assert_eq!(names(&store)[..2], [" ", "<contains a token>"]);
    // A change keeps it as it is.
    let _ = store.delete("my oct_ token of the office").unwrap();
    assert!(String::from_utf8(directory.bytes()).unwrap().contains("\"oct_AAECAwQFBgcI\""));
}

#[test]
fn deleting_or_rotating_in_a_store_that_is_not_there_makes_nothing() {
    let directory = StoreDirectory::new();
    let store = FileTokenStore::open(directory.path().join("absent").join(FILE)).unwrap();
    let not_found = "no token has the id or name `ci`";
    assert_eq!(store.delete("ci").unwrap_err().to_string(), not_found);
    assert_eq!(store.delete_many(&["ci"]).unwrap_err().to_string(), not_found);
    assert_eq!(store.rotate("ci").unwrap_err().to_string(), not_found);
    assert_eq!(store.delete_expired().unwrap().records, []);
    assert_eq!(store.delete_many::<&str>(&[]).unwrap().records, []);
    assert_eq!(directory.entries(), [""; 0]);
}

/// A store of tokens with these ids and names.
fn store_of(tokens: &[(&str, Option<&str>)]) -> (StoreDirectory, FileTokenStore) {
    let records: Vec<_> = issue(tokens.len())
        .into_iter()
        .zip(tokens)
        .map(|((token, _), (id, name))| {
            let now = UtcDateTime::now();
            TokenRecord::new(
                id.parse().unwrap(),
                *name,
                token.digest(),
                Permissions::ALL,
                now,
                None,
            )
            .unwrap()
        })
        .collect();
    let directory = StoreDirectory::with(render(&records));
    let store = directory.open_quick();
    (directory, store)
}

#[test]
fn a_text_is_an_id_or_else_the_only_name_or_beginning_of_an_id() {
    let tokens = [
        ("aaaaaa000001", Some("bbbbbb000001")),
        ("bbbbbb000001", Some("aaaaaa")),
        ("aaaaaa000002", None),
        ("cccccc000001", Some("Laptop")),
        ("dddddd000001", Some("oct_")),
    ];
    for (case, key, expected) in [
        ("an id goes before a name", "bbbbbb000001", Ok("bbbbbb000001")),
        (
            "a name that is also a beginning",
            "aaaaaa",
            Err(
                "`aaaaaa` can mean several tokens: aaaaaa000001 (bbbbbb000001), bbbbbb000001 (aaaaaa), aaaaaa000002",
            ),
        ),
        ("a beginning that only one has", "cccccc", Ok("cccccc000001")),
        (
            "a longer beginning",
            "aaaaaa00000",
            Err("`aaaaaa00000` can mean several tokens: aaaaaa000001 (bbbbbb000001), aaaaaa000002"),
        ),
        (
            "a beginning that is too short",
            "ccccc",
            Err(
                "no token has the id or name `ccccc` (of the beginning of an id, at least 6 characters are needed)",
            ),
        ),
        ("more than an id", "cccccc0000010", Err("no token has the id or name `cccccc0000010`")),
        ("too short for either", "lap", Err("no token has the id or name `lap`")),
        ("case does not count in names", "laptop", Ok("cccccc000001")),
        ("nothing", "", Err("no token has the id or name ``")),
        ("a line break is shown as one", "a\nb", Err(r"no token has the id or name `a\nb`")),
        ("a name that looks like a token", "oct_", Ok("dddddd000001")),
        (
            "a token",
            "oct_secret-or-so",
            Err(
                "no token has this id or name: it looks like a token itself; give the token's id or its name",
            ),
        ),
    ] {
        let (directory, store) = store_of(&tokens);
        let before = directory.bytes();
        let deleted = store.delete(key);
        match expected {
            Ok(id) => assert_eq!(deleted.unwrap().records[0].id().as_str(), id, "{case}"),
            Err(message) => {
                assert_eq!(deleted.unwrap_err().to_string(), message, "{case}");
                assert_eq!(store.rotate(key).unwrap_err().to_string(), message, "{case}");
                assert_eq!(directory.bytes(), before, "{case}");
            }
        }
    }
}

#[test]
fn several_tokens_are_deleted_together_or_not_at_all() {
    let tokens = ["a", "b", "c"].map(|name| {
        (
            ["aaaaaa000001", "bbbbbb000001", "cccccc000001"]
                [usize::from(name.as_bytes()[0] - b'a')],
            Some(name),
        )
    });
    let (directory, store) = store_of(&tokens);
    let before = directory.bytes();
    let error = store.delete_many(&["a", "nobody"]).unwrap_err();
    assert!(matches!(error, ChangeError::NotFound { id_or_name } if id_or_name == "nobody"));
    assert_eq!(directory.bytes(), before);
    // One token may be meant twice.
    let deleted = store.delete_many(&["c", "a", "aaaaaa"]).unwrap();
    let deleted: Vec<_> = deleted.records.iter().map(TokenRecord::name).collect();
    assert_eq!(deleted, [Some("a"), Some("c")]);
    assert_eq!(names(&store), ["b"]);
}

#[test]
fn rotating_keeps_everything_but_the_secret_and_starts_the_lifetime_again() {
    let directory = StoreDirectory::new();
    let store = directory.open_quick();
    let first = store.create(named("ci").expires(Expiry::hours(1))).unwrap();
    let _ = store.create(named("other")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let rotated = store.rotate("ci").unwrap();
    assert_eq!(rotated.replaced, first.record);
    assert!(matches!(rotated.durability, Durability::Confirmed));
    assert_eq!(rotated.record.digest(), &rotated.token.digest());
    assert_ne!(rotated.record.digest(), first.record.digest());
    assert_eq!(rotated.record.id(), first.record.id());
    assert_eq!(rotated.record.permissions(), first.record.permissions());
    assert!(rotated.record.created_at() > first.record.created_at());
    let lifetime = rotated.record.expires_at().unwrap() - rotated.record.created_at();
    assert_eq!(lifetime, time::Duration::hours(1));
    assert!(!accepts(&store, &first.token));
    assert!(accepts(&store, &rotated.token));
    assert_eq!(names(&store), ["ci", "other"]);
}

#[test]
fn only_expired_tokens_are_deleted_as_such() {
    let records: Vec<_> = issue(4)
        .iter()
        .zip([None, Some(1), Some(60), Some(2)])
        .map(|((token, record), expires)| {
            let expires = expires
                .map(|minutes| utc_datetime!(2026-01-01 0:00) + time::Duration::minutes(minutes));
            let created = utc_datetime!(2026-01-01 0:00);
            TokenRecord::new(record.id(), None, token.digest(), Permissions::READ, created, expires)
                .unwrap()
        })
        .collect();
    let directory = StoreDirectory::with(render(&records));
    let store = directory.open_quick();
    let live = store.create(named("live")).unwrap().record;
    assert_eq!(store.list().unwrap().len(), 5);
    assert_eq!(store.delete_expired().unwrap().records, records[1..]);
    assert_eq!(store.list().unwrap(), [records[0].clone(), live]);
    let before = directory.bytes();
    assert_eq!(store.delete_expired().unwrap().records, []);
    assert_eq!(directory.bytes(), before);
}

#[test]
fn the_store_is_where_its_path_is_at_the_start_and_says_so() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    assert_eq!(store.path(), directory.file());
    assert!(FileTokenStore::open("relative.json").unwrap().path().is_absolute());
    let debug = format!("{store:?}");
    assert_eq!(debug, format!("FileTokenStore {{ path: {:?}, .. }}", directory.file()));
    let error = FileTokenStore::open("").unwrap_err();
    assert!(matches!(fault(&error), FileStoreError::Io { action: "open", .. }), "{error}");
}

/// Temporary files that a killed writer left are removed; files of others, and of the store next door,
/// are not.
#[test]
fn the_next_change_removes_only_what_a_killed_one_left() {
    let directory = StoreDirectory::new();
    let store = directory.open_quick();
    let kept = [
        ".auth-tokens.json.AbC123.tmp",
        ".auth-tokens.json.backup.tmp",
        ".auth-tokens.json.opencode-auth-.tmp",
        ".auth-tokens.json.opencode-auth-backup.tmp",
        ".auth-tokens.json.opencode-auth-AbC123AbC123.bak",
        ".auth-tokens.json.opencode-auth-AbC123AbC12-.tmp",
        ".auth-tokens.json.opencode-auth-AbC123AbC1234.tmp",
        ".auth-tokens.json.mine.opencode-auth-AbC123AbC123.tmp",
        ".auth-tokens.json.swp",
        ".auth-tokens.jsonAbC123.tmp",
        ".other.json.opencode-auth-AbC123AbC123.tmp",
        "auth-tokens.json.AbC123.tmp",
        "auth-tokens.json~",
    ];
    let left = ["AbC123AbC123", "zzzzzzzzzzzz"]
        .map(|random| format!(".auth-tokens.json.opencode-auth-{random}.tmp"));
    for name in kept.into_iter().chain(left.iter().map(String::as_str)) {
        std::fs::write(directory.path().join(name), "").unwrap();
    }
    std::fs::create_dir(directory.path().join(".auth-tokens.json.opencode-auth-AbC124AbC124.tmp"))
        .unwrap();
    let _ = store.create(NewToken::new()).unwrap();
    let mut expected: Vec<_> = kept.map(str::to_owned).into();
    expected.extend(
        [".auth-tokens.json.opencode-auth-AbC124AbC124.tmp", FILE, "auth-tokens.json.lock"]
            .map(str::to_owned),
    );
    expected.sort();
    assert_eq!(directory.entries(), expected);
}
