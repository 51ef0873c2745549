use time::UtcDateTime;

use super::*;
use crate::permission::Permissions;
use crate::record::{Expiry, NewToken, TokenRecord};
use crate::token::TokenDigest;

/// A file with a token for each set of permissions, and fields of a later version.
fn good_file() -> Vec<u8> {
    let mut document = Document::default();
    let now = UtcDateTime::now();
    for (number, set) in ["read", "write", "execute", "read,write", "read,write,execute"]
        .map(|words| words.parse::<Permissions>().unwrap())
        .into_iter()
        .enumerate()
    {
        let mut new = NewToken::new().permissions(set);
        if number != 0 {
            new = new.name(format!("é {number}")).expires(Expiry::Never);
        }
        document.create(&new, now).unwrap();
    }
    let unknown =
        || vec![("later".into(), RawValue::from_string(r#"{"n": 1e400}"#.into()).unwrap())];
    document.unknown = unknown();
    document.entries[1].unknown = unknown();
    serialize(&document).unwrap()
}

/// How many values of the token are not what they were.
fn differences(before: &Entry, after: &Entry) -> usize {
    let (old, new) = (&before.record, &after.record);
    let unknown = |entry: &Entry| format!("{:?}", entry.unknown);
    [
        old.id() != new.id(),
        old.digest() != new.digest(),
        old.created_at() != new.created_at(),
        old.expires_at() != new.expires_at(),
        // A name whose field's name was hit is an unknown field from then on.
        old.name() != new.name() || unknown(before) != unknown(after),
    ]
    .into_iter()
    .filter(|differs| *differs)
    .count()
}

#[test]
fn a_changed_byte_is_refused_or_changes_the_one_value_that_it_hit_and_never_a_permission() {
    let good = good_file();
    let before = parse(&good).unwrap();
    let mut accepted = 0;
    for position in 0..good.len() {
        let mut damaged = good.clone();
        for byte in (0..=u8::MAX).filter(|byte| *byte != good[position]) {
            damaged[position] = byte;
            let Ok(after) = parse(&damaged) else { continue };
            accepted += 1;
            let shown = String::from_utf8_lossy(&damaged);
            assert_eq!(after.entries.len(), before.entries.len(), "byte {position}: {shown}");
            let mut changed = 0;
            for (old, new) in before.entries.iter().zip(&after.entries) {
                changed += differences(old, new);
                let permissions = (old.record.permissions(), new.record.permissions());
                assert_eq!(permissions.0, permissions.1, "byte {position}: {shown}");
            }
            changed +=
                usize::from(format!("{:?}", before.unknown) != format!("{:?}", after.unknown));
            assert!(changed <= 1, "byte {position}: {shown}");
        }
    }
    // Digits of ids, digests and times, letters of names, and space between values.
    assert!(accepted > 5 * (12 + 64) * 15, "{accepted}");
}

#[test]
fn a_serialized_store_parses_to_the_same_store() {
    let good = good_file();
    assert_eq!(serialize(&parse(&good).unwrap()).unwrap(), good);
}

fn digest_with(number: u32, at: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    digest
}

/// Those who choose the digests must not be able to make servers slow.
#[test]
fn digests_that_begin_alike_are_read_as_quickly_as_others() {
    let records = |digest: fn(u32) -> [u8; 32]| {
        let mut document = Document::default();
        let now = UtcDateTime::now();
        for number in 0..20_000_u32 {
            let id = format!("{number:012x}").parse().unwrap();
            let digest = TokenDigest::from_bytes(digest(number));
            let record = TokenRecord::new(id, None, digest, Permissions::READ, now, None).unwrap();
            document.entries.push(Entry { record, unknown: Vec::new() });
        }
        serialize(&document).unwrap()
    };
    let time = |file: Vec<u8>| {
        let began = std::time::Instant::now();
        assert_eq!(parse(&file).unwrap().into_records().len(), 20_000);
        began.elapsed()
    };
    let different = time(records(|number| digest_with(number, 0)));
    let alike = time(records(|number| digest_with(number, 28)));
    assert!(alike < different * 5, "{alike:?} instead of {different:?}");
}
