//! What is read from a file and written again is the same file to every reader.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use opencode_auth::fuzzing::round_trip;
use serde_json::value::RawValue;

type Object<'a> = BTreeMap<String, &'a RawValue>;

const OF_A_STORE: [&str; 2] = ["version", "tokens"];
const OF_A_TOKEN: [&str; 6] = ["id", "name", "digest", "permissions", "created_at", "expires_at"];

fuzz_target!(|file: &[u8]| {
    let Some((records, once)) = round_trip(file) else { return };
    let (again, twice) = round_trip(&once).expect("what was written is read");
    assert_eq!(records, again);
    assert_eq!(once, twice);

    // A reader that takes more agrees, and sees all other fields' values as they were.
    let (before, after) = (object(file), object(&once));
    assert_eq!(before["version"].get(), "1");
    assert!(same(&before, &after, &OF_A_STORE));
    let tokens = |object: &Object<'_>| -> Vec<Box<RawValue>> {
        serde_json::from_str(object["tokens"].get()).expect("a list")
    };
    let (before, after) = (tokens(&before), tokens(&after));
    assert_eq!((before.len(), after.len()), (records.len(), records.len()));
    for (position, record) in records.iter().enumerate() {
        let (before, after) =
            (object(before[position].get().as_bytes()), object(after[position].get().as_bytes()));
        assert!(same(&before, &after, &OF_A_TOKEN));
        let id: String = serde_json::from_str(before["id"].get()).expect("a string");
        assert_eq!(id, record.id().as_str());
        let permissions: Vec<String> =
            serde_json::from_str(before["permissions"].get()).expect("strings");
        let mut held: Vec<_> = record.permissions().iter().map(|held| held.as_str()).collect();
        let mut written: Vec<_> = permissions.iter().map(String::as_str).collect();
        held.sort_unstable();
        written.sort_unstable();
        assert_eq!(held, written);
    }
});

fn object(json: &[u8]) -> Object<'_> {
    serde_json::from_slice(json).expect("an object")
}

/// Whether all fields but the known ones are the same, byte for byte.
fn same(before: &Object<'_>, after: &Object<'_>, known: &[&str]) -> bool {
    let unknown = |object: &Object<'_>| -> Vec<(String, String)> {
        let fields = object.iter().filter(|(field, _)| !known.contains(&field.as_str()));
        fields.map(|(field, value)| (field.clone(), value.get().to_owned())).collect()
    };
    unknown(before) == unknown(after)
}
