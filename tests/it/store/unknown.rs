//! What a later version may add to a file, and what damage may do to one.

use opencode_auth::{FileStoreError, FormatProblem};

use crate::support::store::{StoreDirectory, fault, named, refusal, side_by_side};

/// A value that survives only as the bytes that it is.
const ODD: &str = r#"{ "n":123456789012345678901234567890.10e+400 ,"n" : -0, "s":"\u00e9\/\ud800",  "deep":[[ [ null]]] }"#;

#[test]
fn values_of_unknown_fields_survive_every_change_byte_for_byte_and_in_order() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let content = format!(
        r#"{{"zebra":{ODD},"version":1,"deep":{deep},"tokens":[
{{"owner":{ODD},"id":"0123456789ab","name":"kept","digest":"sha256:{}","note":"a  b","permissions":["read"],
"created_at":"2026-11-23T08:00:00Z","expires_at":"2027-02-21T08:00:00Z","apple":[ 1,2 ]}},
{{"id":"0123456789ac","name":"gone","digest":"sha256:{}","permissions":["read"],
"created_at":"2026-11-23T08:00:00Z","expires_at":null,"owner":"gone"}}],"apple":"é \u00e9"}}"#,
        "0".repeat(64),
        "1".repeat(64),
    );
    let directory = StoreDirectory::with(&content);
    let store = directory.open_quick();
    let _ = store.create(named("new")).unwrap();
    let _ = store.rotate("kept").unwrap();
    let _ = store.delete("gone").unwrap();
    let _ = store.delete("new").unwrap();
    let written = String::from_utf8(directory.bytes()).unwrap();
    let token = written.lines().nth(3).unwrap();
    let fields = format!(r#", "owner": {ODD}, "note": "a  b", "apple": [ 1,2 ]}}"#);
    assert!(token.ends_with(&fields), "{token}");
    let around =
        format!("  ],\n  \"zebra\": {ODD},\n  \"deep\": {deep},\n  \"apple\": \"é \\u00e9\"\n}}\n");
    assert!(written.ends_with(&around), "{}", written.replace(&deep, "<deep>"));
    assert!(!written.contains("gone"));
}

#[test]
fn a_file_cut_short_anywhere_is_refused_and_not_written_to() {
    let directory = StoreDirectory::new();
    let store = directory.open_quick();
    let _ = store.create(named("é\u{1f600}")).unwrap();
    let whole = directory.bytes();
    // Without its last byte, which is a line break, the file is still whole.
    side_by_side(0..whole.len() - 1, |length| {
        let cut = &whole[..length];
        let error = refusal(cut);
        let problem = match fault(&error) {
            FileStoreError::Format { problem, .. } => *problem,
            other => panic!("cut to {length} bytes: {other}"),
        };
        let expected = match str::from_utf8(cut) {
            Ok("") => FormatProblem::Empty,
            Ok(_) => FormatProblem::NotJson,
            Err(_) => FormatProblem::NotUtf8,
        };
        assert_eq!(problem, expected, "cut to {length} bytes");
    });
}
