//! The values that people and programs write down: tokens, ids, permissions, expiries, names.

use std::time::Duration;

use opencode_auth::{
    Expiry, MemoryTokenStore, NameError, NewToken, NewTokenError, ParseExpiryError,
    ParsePermissionsError, ParseTokenError, ParseTokenIdError, Permission, Permissions, Token,
    TokenDigest, TokenId, TokenRecord,
};
use time::UtcDateTime;
use time::macros::utc_datetime;

const READ: Permissions = Permissions::READ;
const WRITE: Permissions = Permissions::WRITE;
const EXECUTE: Permissions = Permissions::EXECUTE;

#[test]
fn permissions_are_words() {
    for (text, permission) in
        [("read", Permission::Read), ("write", Permission::Write), ("execute", Permission::Execute)]
    {
        assert_eq!(text.parse(), Ok(permission));
        assert_eq!(permission.as_str(), text);
        assert_eq!(permission.to_string(), text);
        assert_eq!(serde_json::to_string(&permission).unwrap(), format!("\"{text}\""));
    }
    for text in ["", "Read", "read ", "r", "all", "read,write"] {
        let refused = ParsePermissionsError::Unknown(text.to_owned());
        assert_eq!(text.parse::<Permission>(), Err(refused));
    }
}

#[test]
fn a_set_of_permissions_is_a_list_of_words() {
    for (text, set, shown) in [
        ("read", READ, "read"),
        ("execute , read", READ | EXECUTE, "read,execute"),
        ("write,read", READ | WRITE, "read,write"),
        (" read,write,execute ", Permissions::ALL, "read,write,execute"),
    ] {
        assert_eq!(text.parse(), Ok(set), "{text}");
        assert_eq!(set.to_string(), shown);
        assert_eq!(set.iter().collect::<Permissions>(), set);
        let words: Vec<_> = set.iter().map(Permission::as_str).collect();
        assert_eq!(serde_json::to_string(&set).unwrap(), serde_json::to_string(&words).unwrap());
    }
    assert_eq!(format!("[{READ:>6}]"), "[  read]");
    assert_eq!(format!("{:?}", READ | EXECUTE), "{Read, Execute}");
    assert_eq!(Permissions::NONE.to_string(), "");
    assert_eq!(Permissions::default(), Permissions::NONE);
    for (text, error, message) in [
        (
            "",
            ParsePermissionsError::Empty,
            "no permission is given: give one or more of read, write, execute, separated by commas",
        ),
        (
            "read,,write",
            ParsePermissionsError::Unknown(String::new()),
            "`` is not a permission: give one or more of read, write, execute, separated by commas",
        ),
        (
            "read,wr\u{1b}ite",
            ParsePermissionsError::Unknown("wr\u{1b}ite".into()),
            r"`wr\u{1b}ite` is not a permission: give one or more of read, write, execute, separated by commas",
        ),
        (
            "read, read",
            ParsePermissionsError::Repeated(Permission::Read),
            "the permission `read` is given twice",
        ),
    ] {
        assert_eq!(text.parse::<Permissions>(), Err(error.clone()));
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn sets_of_permissions_are_sets() {
    let sets = [Permissions::NONE, READ, WRITE, EXECUTE, READ | WRITE, Permissions::ALL];
    for (position, set) in sets.into_iter().enumerate() {
        assert_eq!(set.is_empty(), position == 0);
        assert!(
            set.contains(set) && set.contains(Permissions::NONE) && Permissions::ALL.contains(set)
        );
        assert_eq!(set.difference(set), Permissions::NONE);
        assert_eq!(set.union(Permissions::ALL), Permissions::ALL);
        let mut same = set;
        same |= set;
        assert_eq!(same, set);
        same |= READ;
        assert_eq!(same, set.union(READ));
    }
    assert!(
        !READ.contains(WRITE) && !(READ | WRITE).contains(EXECUTE) && !READ.contains(READ | WRITE)
    );
    assert_eq!(Permissions::ALL.difference(WRITE), READ | EXECUTE);
    assert_eq!(READ | WRITE | EXECUTE, Permissions::ALL);
    assert_eq!(Permissions::from(Permission::Execute), EXECUTE);
}

#[test]
fn a_token_is_32_characters_and_nothing_else() {
    let token = Token::generate().unwrap();
    let text = token.expose_secret();
    assert_eq!(text.len(), 32);
    assert_eq!(text.parse::<Token>().unwrap().expose_secret(), text);
    assert_eq!(text.parse::<Token>().unwrap().digest(), token.digest());
    assert_ne!(Token::generate().unwrap().expose_secret(), text);
    for text in [
        "",
        "oct_",
        &text[..31],
        &text[1..],
        &format!("{text} "),
        &format!(" {text}"),
        &text.to_uppercase(),
        &text.replacen("oct_", "OCT_", 1),
        // The checksum is right, but the prefix is another one, bits after the 128th are not zero, or
        // characters are outside of the alphabet.
        "ock_AAAAAAAAAAAAAAAAAAAAAA0-6DwQ",
        "oct_AAAAAAAAAAAAAAAAAAAAAB1pmmjw",
        "oct_AAAAAAAAAA!AAAAAAAAAAAZ8KbPQ",
        "oct_+AAAAAAAAAAAAAAAAAAAAAmlKpsQ",
        "oct_AAAAAAAAAAAAAAAAAAAA/AtO6xHA",
        "oct_AAAAAAAAAAAAAAAAAAAAA=FiPKIg",
        "oct_!!AAAAAAAAAAAAAAAAAAAAbmguGA",
        "oct_AAAAA.AAAAAAAAAAAAAAAA-veT7g",
        "oct_AAAAAAAAAAAAAAAAAAAAARyy626w",
        "oct_AAAAAAAAAAAAAAAAAAAAA_tZ_KVg",
    ] {
        assert_eq!(text.parse::<Token>().err(), Some(ParseTokenError), "{text}");
    }
    assert_eq!(
        ParseTokenError.to_string(),
        "not a token: it was mistyped, truncated, or made by another program"
    );
}

#[test]
fn a_digest_is_the_sha_256_of_the_text() {
    let token: Token = "oct_AAAAAAAAAAAAAAAAAAAAAAT5D3NQ".parse().unwrap();
    let digest = token.digest();
    assert_eq!(digest.as_bytes()[..8], [0x34, 0x93, 0x50, 0x7a, 0xf7, 0xc3, 0x93, 0x06]);
    assert_eq!(TokenDigest::from_bytes(*digest.as_bytes()), digest);
    assert_ne!(TokenDigest::from_bytes([0; 32]), digest);
}

#[test]
fn an_id_is_12_lower_case_hexadecimal_characters() {
    let new_id = || NewToken::new().issue(UtcDateTime::now()).unwrap().1.id();
    let id = new_id();
    assert!(id.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(format!("{id:?}"), format!("TokenId({})", id.as_str()));
    assert_eq!(format!("{id:>14}"), format!("  {id}"));
    assert_ne!(new_id(), id);
    for text in ["", "0123456789a", "0123456789abc", "0123456789aB", "0123456789ag", "éééééé"]
    {
        assert_eq!(text.parse::<TokenId>(), Err(ParseTokenIdError), "{text}");
    }
    assert_eq!(
        ParseTokenIdError.to_string(),
        "not a token id: it has 12 lower-case hexadecimal characters"
    );
}

#[test]
fn an_expiry_is_a_time_from_now_a_date_or_never() {
    let after = |seconds| Expiry::After(Duration::from_secs(seconds));
    for (text, expiry) in [
        ("never", Expiry::Never),
        ("12h", after(12 * 3600)),
        ("90d", after(90 * 86_400)),
        ("2w", after(14 * 86_400)),
        ("1y", after(365 * 86_400)),
        ("0d", after(0)),
        ("007d", after(7 * 86_400)),
        ("2027-01-31", Expiry::At(utc_datetime!(2027-01-31 00:00))),
        ("2027-01-31T10:00:00Z", Expiry::At(utc_datetime!(2027-01-31 10:00))),
        ("2027-01-31T10:00:00+02:00", Expiry::At(utc_datetime!(2027-01-31 08:00))),
    ] {
        assert_eq!(text.parse(), Ok(expiry), "{text}");
    }
    for text in [
        "",
        "d",
        "h",
        "-1d",
        "+1d",
        "1.5d",
        "1 d",
        "90",
        "90D",
        "90m",
        "Never",
        "1é",
        "é",
        "１d",
        "99999999999999999999d",
        "18446744073709551615y",
        "2027-02-30",
        "2027-13-01",
        "2027-1-1",
        "2027-01-31T10:00:00",
        "0000-00-00",
        "9999-12-31T23:59:59-23:59",
    ] {
        assert_eq!(text.parse::<Expiry>(), Err(ParseExpiryError), "{text}");
    }
    assert_eq!(Expiry::default(), Expiry::days(90));
    assert_eq!(Expiry::days(90), after(90 * 86_400));
    assert_eq!(Expiry::hours(2), after(7_200));
}

#[test]
fn a_new_token_has_all_permissions_for_90_days_and_no_name() {
    let now = utc_datetime!(2026-11-23 08:00:00.75);
    let (token, record) = NewToken::new().issue(now).unwrap();
    assert_eq!(record.name(), None);
    assert_eq!(record.permissions(), Permissions::ALL);
    assert_eq!(record.created_at(), utc_datetime!(2026-11-23 08:00));
    assert_eq!(record.expires_at(), Some(utc_datetime!(2027-02-21 08:00)));
    assert_eq!(*record.digest(), token.digest());
    assert_eq!(
        serde_json::to_value(&record).unwrap(),
        serde_json::json!({
            "id": record.id().as_str(),
            "name": null,
            "permissions": ["read", "write", "execute"],
            "created_at": "2026-11-23T08:00:00Z",
            "expires_at": "2027-02-21T08:00:00Z",
        })
    );
    let never = NewToken::default().name("ci").expires(Expiry::Never).permissions(READ);
    let (_, record) = never.issue(now).unwrap();
    assert_eq!((record.name(), record.expires_at()), (Some("ci"), None));
    assert!(!record.is_expired(utc_datetime!(9999-12-31 23:59:59)));
}

#[test]
fn a_record_is_expired_from_its_second_on() {
    let now = utc_datetime!(2026-11-23 08:00);
    let (_, record) = NewToken::new().expires(Expiry::hours(1)).issue(now).unwrap();
    for (at, expired) in [
        (utc_datetime!(2026-11-23 08:00), false),
        (utc_datetime!(2026-11-23 08:59:59.999_999_999), false),
        (utc_datetime!(2026-11-23 09:00), true),
        (utc_datetime!(2030-01-01 00:00), true),
    ] {
        assert_eq!(record.is_expired(at), expired, "{at}");
    }
}

#[test]
fn an_invalid_new_token_is_an_error_and_nothing_is_created() {
    let store = MemoryTokenStore::new();
    let at = |time| NewToken::new().expires(Expiry::At(time));
    let name = |name: &str| NewToken::new().name(name);
    let expiry = "the expiry must be in the future";
    let beyond = "the expiry is beyond the year 9999: use never instead";
    let unprintable =
        "a token's name cannot contain control or formatting characters, but this one contains";
    for (new, message) in [
        (
            NewToken::new().permissions(Permissions::NONE),
            "a token needs at least one of the permissions read, write and execute".to_owned(),
        ),
        (NewToken::new().expires(Expiry::days(0)), expiry.into()),
        (NewToken::new().expires(Expiry::After(Duration::from_millis(999))), expiry.into()),
        (at(UtcDateTime::now()), expiry.into()),
        (at(utc_datetime!(1970-01-01 00:00)), expiry.into()),
        (NewToken::new().expires(Expiry::days(u32::MAX)), beyond.into()),
        (NewToken::new().expires(Expiry::After(Duration::MAX)), beyond.into()),
        (name(""), "a token's name cannot be empty: omit it, or give 1 to 64 characters".into()),
        (name(&"é".repeat(65)), "a token's name has at most 64 characters".into()),
        (name(&"x".repeat(1 << 20)), "a token's name has at most 64 characters".into()),
        (name("a\nb"), format!("{unprintable} U+000A")),
        (name("a\u{7f}"), format!("{unprintable} U+007F")),
        (name("\u{1b}[31m"), format!("{unprintable} U+001B")),
        (name("a\u{202e}b"), format!("{unprintable} U+202E")),
        (name("a\u{2028}b"), format!("{unprintable} U+2028")),
        (name("a\u{2029}b"), format!("{unprintable} U+2029")),
        (name("\u{feff}a"), format!("{unprintable} U+FEFF")),
    ] {
        let refused = store.create(new).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
    assert_eq!(store.list(), []);
    for name in
        ["x", "a b", "ci-1 (laptop)", "日本", "é".repeat(64).as_str(), "🦀".repeat(64).as_str()]
    {
        let _ = store.create(NewToken::new().name(name)).unwrap();
    }
    assert_eq!(store.list().len(), 6);
}

#[test]
fn a_record_of_your_own_store_is_checked() {
    let (token, made) = NewToken::new().issue(utc_datetime!(2026-11-23 08:00)).unwrap();
    let new = |name, permissions, created_at, expires_at| {
        TokenRecord::new(made.id(), name, token.digest(), permissions, created_at, expires_at)
    };
    let then = utc_datetime!(2026-11-23 08:00:00.5);
    let year_minus_one = utc_datetime!(-0001-01-01 00:00);
    let record = new(Some("a"), READ, then, Some(then)).unwrap();
    assert_eq!(record.created_at(), utc_datetime!(2026-11-23 08:00));
    assert_eq!(record.expires_at(), Some(utc_datetime!(2026-11-23 08:00)));
    assert!(new(None, READ, utc_datetime!(0000-01-01 00:00), None).is_ok());
    assert!(matches!(new(None, Permissions::NONE, then, None), Err(NewTokenError::NoPermissions)));
    assert!(matches!(new(None, READ, year_minus_one, None), Err(NewTokenError::TimeOutOfRange)));
    assert!(matches!(
        new(None, READ, then, Some(year_minus_one)),
        Err(NewTokenError::TimeOutOfRange)
    ));
    assert!(matches!(new(Some(""), READ, then, None), Err(NewTokenError::Name(NameError::Empty))));
}

#[test]
fn names_that_look_alike_are_the_same_name() {
    let store = MemoryTokenStore::new();
    let _ = store.create(NewToken::new().name("ci-Straße é")).unwrap();
    for name in ["ci-Straße é", "CI-STRASSE É", "ci-strasse e\u{301}", "ｃi-Straße\u{a0}é"] {
        let refused = store.create(NewToken::new().name(name)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a token named `ci-Straße é` exists already; delete it first, or rotate it for a new secret"
        );
    }
    assert_eq!(store.delete("CI-strasse É").unwrap().records.len(), 1);
}

#[test]
fn a_new_name_has_no_white_space_at_its_ends_and_looks_like_no_id_or_option() {
    let white_space = "a token's name cannot begin or end with white space";
    let option =
        "a token's name cannot begin with `-`, because commands would take it for an option";
    let id = "a token's name cannot consist of 6 or more hexadecimal characters, because it would look \
              like an id";
    for (name, message) in [
        ("ci ", white_space),
        (" ci", white_space),
        ("ci\u{3000}", white_space),
        ("-", option),
        ("--expired", option),
        ("9daf1b", id),
        ("9DAF1B99", id),
        ("0123456789ab", id),
        ("0123456789abcdef", id),
    ] {
        let refused = NewToken::new().name(name).issue(UtcDateTime::now()).unwrap_err();
        assert_eq!(refused.to_string(), message, "{name:?}");
    }
    for name in ["9daf1", "9daf1b-ci", "a b", "a-"] {
        assert!(NewToken::new().name(name).issue(UtcDateTime::now()).is_ok(), "{name:?}");
    }
}

fn record(name: &str, id: &str, digest: u8) -> TokenRecord {
    let digest = TokenDigest::from_bytes([digest; 32]);
    let created_at = utc_datetime!(2026-11-23 08:00);
    TokenRecord::new(id.parse().unwrap(), Some(name), digest, READ, created_at, None).unwrap()
}

#[test]
fn a_text_that_can_mean_two_tokens_is_ambiguous_and_an_id_in_full_is_not() {
    let store = MemoryTokenStore::new();
    store.insert(record("9daf1b99", "aaaaaaaaaaaa", 1));
    store.insert(record("ci", "9daf1b990000", 2));
    store.insert(record("ci ", "bbbbbbbbbbbb", 3));
    store.insert(record("CI", "cccccccccccc", 4));
    for (text, message) in [
        (
            "9daf1b99",
            "`9daf1b99` can mean several tokens: aaaaaaaaaaaa (9daf1b99), 9daf1b990000 (ci)",
        ),
        (
            "ci",
            "`ci` can mean several tokens: 9daf1b990000 (ci), bbbbbbbbbbbb (ci ), cccccccccccc (CI)",
        ),
    ] {
        assert_eq!(store.delete(text).unwrap_err().to_string(), message);
        assert_eq!(store.rotate(text).unwrap_err().to_string(), message);
    }
    for id in ["aaaaaaaaaaaa", "9daf1b990000", "bbbbbbbbbbbb"] {
        assert_eq!(store.delete(id).unwrap().records[0].id().as_str(), id);
    }
    assert_eq!(store.delete("ci").unwrap().records.len(), 1);
}

#[test]
fn a_rotation_keeps_a_date_and_starts_a_duration_again() {
    let store = MemoryTokenStore::new();
    let date = utc_datetime!(9998-12-05 00:00);
    for (name, expiry) in
        [("date", Expiry::At(date)), ("never", Expiry::Never), ("days", Expiry::days(30))]
    {
        let created = store.create(NewToken::new().name(name).expires(expiry)).unwrap().record;
        assert_eq!(created.has_fixed_expiry(), name == "date");
        for _ in 0..2 {
            let rotated = store.rotate(name).unwrap().record;
            let expected = match expiry {
                Expiry::At(date) => Some(date),
                Expiry::Never => None,
                _ => Some(rotated.created_at() + time::Duration::days(30)),
            };
            assert_eq!(rotated.expires_at(), expected, "{name}");
            assert_eq!(rotated.has_fixed_expiry(), name == "date");
        }
    }
    let rotated = store.rotate_with_expiry("days", Expiry::At(date)).unwrap().record;
    assert_eq!((rotated.expires_at(), rotated.has_fixed_expiry()), (Some(date), true));
    let rotated = store.rotate_with_expiry("days", Expiry::Never).unwrap().record;
    assert_eq!((rotated.expires_at(), rotated.has_fixed_expiry()), (None, false));
}

#[test]
fn a_rotation_revives_an_expired_token_only_with_a_new_expiry() {
    let store = MemoryTokenStore::new();
    let then = utc_datetime!(2026-11-23 08:00);
    for (name, expiry) in
        [("date", Expiry::At(utc_datetime!(2026-11-24 00:00))), ("hours", Expiry::hours(16))]
    {
        let (_, record) = NewToken::new().name(name).expires(expiry).issue(then).unwrap();
        store.insert(record.clone());
        let refused = store.rotate(name).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "the token {} expired at 2026-11-24T00:00:00Z; give a new expiry to revive it",
                record.id()
            )
        );
        assert!(store.list().contains(&record));
        let revived = store.rotate_with_expiry(name, Expiry::days(1)).unwrap().record;
        assert!(!revived.is_expired(UtcDateTime::now()));
    }
}

#[test]
fn a_name_that_contains_a_token_is_redacted() {
    let record = record("oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw", "aaaaaaaaaaaa", 1);
    assert_eq!(record.name(), Some("<contains a token>"));
    assert!(!serde_json::to_string(&record).unwrap().contains("oct_"));
    assert!(!format!("{record:?}").contains("oct_"));
}

#[test]
fn debug_of_an_error_begins_with_its_sentence() {
    for (debug, expected) in [
        (
            format!("{:?}", "x".parse::<Permissions>().unwrap_err()),
            "`x` is not a permission: give one or more of read, write, execute, separated by commas \
             [Unknown]",
        ),
        (
            format!("{:?}", "x".parse::<Token>().map(drop).unwrap_err()),
            "not a token: it was mistyped, truncated, or made by another program [ParseTokenError]",
        ),
        (
            format!("{:?}", "x".parse::<TokenId>().unwrap_err()),
            "not a token id: it has 12 lower-case hexadecimal characters [ParseTokenIdError]",
        ),
        (
            format!("{:?}", NewToken::new().name("-").issue(UtcDateTime::now()).unwrap_err()),
            "a token's name cannot begin with `-`, because commands would take it for an option \
             [LooksLikeOption]",
        ),
        (
            format!(
                "{:?}",
                NewToken::new().expires(Expiry::days(0)).issue(UtcDateTime::now()).unwrap_err()
            ),
            "the expiry must be in the future [ExpiryInThePast]",
        ),
    ] {
        assert_eq!(debug, expected);
    }
}
