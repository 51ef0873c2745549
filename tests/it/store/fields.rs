//! The fields of tokens in the file: which are errors, and how the others are parsed and serialized.

use opencode_auth::{Expiry, FileStoreError, FileTokenStore, FormatProblem, NewToken, Permissions};
use time::macros::utc_datetime;

use crate::support::store::{StoreDirectory, assert_refused, fault, hex, refusal, side_by_side};

const ID: &str = "0123456789ab";
const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "sha256:ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A good token, and what a good file is, with a gap for each case.
const GOOD_TOKEN: [(&str, &str); 6] = [
    ("id", r#""0123456789ab""#),
    ("name", r#""laptop""#),
    ("digest", r#""sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff""#),
    ("permissions", r#"["read","write"]"#),
    ("created_at", r#""2026-11-23T08:00:00Z""#),
    ("expires_at", r#""2027-02-21T08:00:00Z""#),
];

/// A good token with one field's value exchanged, or left out if that is empty.
fn token_with(changed: &str, value: &str) -> String {
    let fields =
        GOOD_TOKEN.map(|(field, good)| (field, if field == changed { value } else { good }));
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<_> = fields.map(|(field, value)| format!(r#""{field}":{value}"#)).collect();
    format!("{{{}}}", fields.join(","))
}

/// One token to a line, from line 2 on.
fn file_of(tokens: &[&str]) -> String {
    format!("{{\"version\":1,\"tokens\":[\n{}\n]}}\n", tokens.join(",\n"))
}

#[test]
fn an_invalid_field_is_an_error() {
    const ID_WORDS: &str = "an id has 12 lower-case hexadecimal characters";
    const DIGEST_WORDS: &str = "a digest is `sha256:` and 64 lower-case hexadecimal characters";
    const TIME_WORDS: &str = "a time is an existing one of the exact form 2026-11-23T08:00:00Z";
    const LONG_NAME: &str =
        concat!(r#""0123456789012345678901234567890123456789"#, r#"0123456789012345678901234""#);
    let cases = [
        ("id missing", "id", "", "the field `id` is missing"),
        ("id null", "id", "null", "a string as `id` expected"),
        ("id a number", "id", "12", "a string as `id` expected"),
        ("id short", "id", r#""0123456789a""#, ID_WORDS),
        ("id long", "id", r#""0123456789abc""#, ID_WORDS),
        ("id upper case", "id", r#""0123456789AB""#, ID_WORDS),
        ("id not hexadecimal", "id", r#""0123456789ag""#, ID_WORDS),
        ("name null", "name", "null", "a string as `name` expected"),
        (
            "name empty",
            "name",
            r#""""#,
            "a token's name cannot be empty: omit it, or give 1 to 64 characters",
        ),
        ("name long", "name", LONG_NAME, "a token's name has at most 64 characters"),
        (
            "name with a line break",
            "name",
            r#""a\nb""#,
            "a token's name cannot contain control or formatting characters, but this one contains U+000A",
        ),
        (
            "name with an ANSI escape",
            "name",
            r#""\u001b[31mred""#,
            "a token's name cannot contain control or formatting characters, but this one contains U+001B",
        ),
        (
            "name with DEL",
            "name",
            r#""a\u007f""#,
            "a token's name cannot contain control or formatting characters, but this one contains U+007F",
        ),
        (
            "name with a C1 control",
            "name",
            r#""a\u009b31m""#,
            "a token's name cannot contain control or formatting characters, but this one contains U+009B",
        ),
        (
            "name right to left",
            "name",
            "\"a\u{202e}b\"",
            "a token's name cannot contain control or formatting characters, but this one contains U+202E",
        ),
        (
            "name with a zero-width space",
            "name",
            "\"a\u{200b}b\"",
            "a token's name cannot contain control or formatting characters, but this one contains U+200B",
        ),
        (
            "name with a line separator",
            "name",
            "\"a\u{2028}b\"",
            "a token's name cannot contain control or formatting characters, but this one contains U+2028",
        ),
        (
            "name with a tag character",
            "name",
            "\"a\u{e0041}b\"",
            "a token's name cannot contain control or formatting characters, but this one contains U+E0041",
        ),
        ("digest missing", "digest", "", "the field `digest` is missing"),
        ("digest a list", "digest", "[]", "a string as `digest` expected"),
        ("digest short", "digest", r#""sha256:0011""#, DIGEST_WORDS),
        (
            "digest without its algorithm",
            "digest",
            r#""00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff""#,
            DIGEST_WORDS,
        ),
        (
            "digest of another algorithm",
            "digest",
            r#""sha512:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff""#,
            DIGEST_WORDS,
        ),
        (
            "digest upper case",
            "digest",
            r#""sha256:00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff""#,
            DIGEST_WORDS,
        ),
        (
            "digest one too long",
            "digest",
            r#""sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0""#,
            DIGEST_WORDS,
        ),
        (
            "digest with a sign",
            "digest",
            r#""sha256:+0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff""#,
            DIGEST_WORDS,
        ),
        ("permissions missing", "permissions", "", "the field `permissions` is missing"),
        ("permissions null", "permissions", "null", "a list of strings as `permissions` expected"),
        (
            "permissions as text",
            "permissions",
            r#""read""#,
            "a list of strings as `permissions` expected",
        ),
        (
            "permissions by name",
            "permissions",
            r#"{"read":true}"#,
            "a list of strings as `permissions` expected",
        ),
        ("no permission", "permissions", "[]", "a token has at least one permission"),
        ("permission null", "permissions", "[null]", "a string as a permission expected"),
        (
            "permission unknown",
            "permissions",
            r#"["read","admin"]"#,
            "a permission is read, write or execute",
        ),
        (
            "permission upper case",
            "permissions",
            r#"["Read"]"#,
            "a permission is read, write or execute",
        ),
        (
            "permission with a space",
            "permissions",
            r#"["read "]"#,
            "a permission is read, write or execute",
        ),
        ("permission empty", "permissions", r#"[""]"#, "a permission is read, write or execute"),
        ("permission twice", "permissions", r#"["read","read"]"#, "a permission appears twice"),
        (
            "permission twice, escaped",
            "permissions",
            r#"["read","rea\u0064"]"#,
            "a permission appears twice",
        ),
        ("created_at missing", "created_at", "", "the field `created_at` is missing"),
        ("created_at null", "created_at", "null", "a string as `created_at` expected"),
        ("created_at a number", "created_at", "1795420800", "a string as `created_at` expected"),
        ("expires_at missing", "expires_at", "", "the field `expires_at` is missing"),
        ("expires_at false", "expires_at", "false", "a string or null as `expires_at` expected"),
        ("expires_at never", "expires_at", r#""never""#, TIME_WORDS),
        ("30 February", "created_at", r#""2026-02-30T08:00:00Z""#, TIME_WORDS),
        ("29 February, no leap year", "created_at", r#""2027-02-29T08:00:00Z""#, TIME_WORDS),
        ("month 13", "created_at", r#""2026-13-01T08:00:00Z""#, TIME_WORDS),
        ("hour 24", "expires_at", r#""2026-11-23T24:00:00Z""#, TIME_WORDS),
        ("second 60", "expires_at", r#""2026-12-31T23:59:60Z""#, TIME_WORDS),
        ("year 10000", "expires_at", r#""10000-01-01T00:00:00Z""#, TIME_WORDS),
        ("a signed year", "expires_at", r#""+2026-11-23T08:00:00Z""#, TIME_WORDS),
        (
            "a signed year of the right length",
            "expires_at",
            r#""+999-11-23T08:00:00Z""#,
            TIME_WORDS,
        ),
        ("no zone", "expires_at", r#""2026-11-23T08:00:00""#, TIME_WORDS),
        ("a local zone", "expires_at", r#""2026-11-23T08:00:00+01:00""#, TIME_WORDS),
        ("UTC as an offset", "expires_at", r#""2026-11-23T08:00:00+00:00""#, TIME_WORDS),
        ("lower case", "expires_at", r#""2026-11-23t08:00:00z""#, TIME_WORDS),
        ("a fraction", "expires_at", r#""2026-11-23T08:00:00.5Z""#, TIME_WORDS),
        ("a space", "expires_at", r#""2026-11-23 08:00:00Z""#, TIME_WORDS),
        ("a date alone", "expires_at", r#""2026-11-23""#, TIME_WORDS),
        ("digits that are not ASCII", "expires_at", "\"٢٠٢٦-1-2T0:0:0Z\"", TIME_WORDS),
    ];
    side_by_side(cases, |(case, field, value, problem)| {
        let token = token_with(field, value);
        // What is missing, and a name or set that is no good, shows at the token's end; the rest at the
        // value's, or right behind it.
        let at_the_end = value.is_empty()
            || problem.starts_with("a token's name")
            || problem == "a token has at least one permission"
            || (field, problem) == ("expires_at", TIME_WORDS);
        let column = if at_the_end {
            token.len()
        } else {
            let begin = token.find(&format!(r#""{field}":{value}"#)).unwrap() + field.len() + 3;
            begin
                + match value {
                    "[null]" => value.len() - 1,
                    _ if value.starts_with('{') => 1,
                    _ => value.len(),
                }
        };
        assert_refused(case, file_of(&[&token]), (2, column), problem);
    });
}

#[test]
fn two_tokens_must_differ() {
    let good = token_with("", "");
    let all_but = |kept: &str| {
        GOOD_TOKEN.iter().fold(good.clone(), |token, (field, value)| {
            let other = match *field {
                _ if *field == kept => return token,
                "id" => r#""ba9876543210""#.to_owned(),
                "name" => r#""phone""#.to_owned(),
                "digest" => format!(r#""{OTHER}""#),
                _ => return token,
            };
            token.replace(value, &other)
        })
    };
    let cases = [
        ("id", all_but("id"), "two tokens have the same id"),
        ("name", all_but("name"), "two tokens have the same name"),
        (
            "name, escaped",
            all_but("name").replace("laptop", r"l\u0061ptop"),
            "two tokens have the same name",
        ),
        ("digest", all_but("digest"), "two tokens have the same digest"),
        ("everything", good.clone(), "two tokens have the same id"),
    ];
    side_by_side(cases, |(case, second, problem)| {
        let column = second.len();
        assert_refused(case, file_of(&[&good, &second]), (3, column), problem);
    });
    let neither = all_but("nothing");
    let directory = StoreDirectory::with(file_of(&[&good, &neither]));
    assert_eq!(directory.open().list().unwrap().len(), 2);
}

#[test]
fn a_duplicate_field_in_a_token_is_an_error() {
    side_by_side(GOOD_TOKEN.into_iter().chain([("x", "1")]), |(field, value)| {
        let good = token_with("", "").replace('}', r#","x":1}"#);
        let twice = format!(r#"{},"{field}":{value}}}"#, good.trim_end_matches('}'));
        // The places differ by kind of value; what matters is which line.
        let error = refusal(file_of(&[&twice]));
        let FileStoreError::Format { line: 2, problem: FormatProblem::RepeatedField, .. } =
            fault(&error)
        else {
            panic!("{field}")
        };
    });
}

#[test]
fn valid_fields_are_read_unchanged() {
    let bare = r#"{"expires_at":null,"created_at":"0000-01-01T00:00:00Z","permissions":["execute"],"digest":"DIGEST","id":"ffffffffffff"}"#
        .replace("DIGEST", OTHER);
    let widest = token_with("name", "\"é\u{1f600} 日本 \\\"\\\\ '`$\"")
        .replace("2027-02-21T08:00:00Z", "9999-12-31T23:59:59Z")
        .replace(r#"["read","write"]"#, r#"["execute","read","write"]"#);
    let directory = StoreDirectory::with(file_of(&[&widest, &bare]));
    let records = directory.open().list().unwrap();
    let [first, second] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(first.id().as_str(), ID);
    assert_eq!(first.name(), Some("é\u{1f600} 日本 \"\\ '`$"));
    assert_eq!(hex(first.digest()), DIGEST);
    assert_eq!(first.permissions(), Permissions::ALL);
    assert_eq!(first.created_at(), utc_datetime!(2026-11-23 08:00:00));
    assert_eq!(first.expires_at(), Some(utc_datetime!(9999-12-31 23:59:59)));
    assert_eq!(second.name(), None);
    assert_eq!(hex(second.digest()), OTHER);
    assert_eq!(second.permissions(), Permissions::EXECUTE);
    assert_eq!(second.created_at(), utc_datetime!(0000-01-01 00:00:00));
    assert_eq!(second.expires_at(), None);

    // What is written is the same store, in the one form.
    let store = directory.open_quick();
    let created = store.create(NewToken::new().expires(Expiry::Never)).unwrap().record;
    assert_eq!(store.list().unwrap(), [first.clone(), second.clone(), created.clone()]);
    let written = String::from_utf8(directory.bytes()).unwrap();
    let expected = format!(
        "{{\n  \"version\": 1,\n  \"tokens\": [\n    \
         {{\"id\": \"{ID}\", \"name\": \"é\u{1f600} 日本 \\\"\\\\ '`$\", \"digest\": \"{DIGEST}\", \
         \"permissions\": [\"read\", \"write\", \"execute\"], \"created_at\": \"2026-11-23T08:00:00Z\", \
         \"expires_at\": \"9999-12-31T23:59:59Z\"}},\n    \
         {{\"id\": \"ffffffffffff\", \"digest\": \"{OTHER}\", \"permissions\": [\"execute\"], \
         \"created_at\": \"0000-01-01T00:00:00Z\", \"expires_at\": null}},\n    \
         {{\"id\": \"{}\", \"digest\": \"{}\", \"permissions\": [\"read\", \"write\", \"execute\"], \
         \"created_at\": \"{}\", \"expires_at\": null}}\n  ]\n}}\n",
        created.id(),
        hex(created.digest()),
        serde_json::to_value(&created).unwrap()["created_at"].as_str().unwrap(),
    );
    assert_eq!(written, expected);
}

/// JSON may spell any character as an escape, and then a text is read by another way.
#[test]
fn an_escaped_value_is_the_value() {
    let record = r#"{"version": 1, "tokens": [{
        "id": "0123456789\u0061b",
        "name": "lap\u0074op",
        "digest": "sha256:3493507af7c393067e6aa046cc53bb86df803161c680df3ebbab16403fe68bd\u0030",
        "permissions": ["r\u0065ad"],
        "created_at": "2026-11-23T08\u003a00:00Z",
        "expires_at": "2027-02-21T08\u003a00:00Z"
    }]}"#;
    let directory = StoreDirectory::with(record);
    let records = FileTokenStore::open(directory.file()).unwrap().list().unwrap();
    assert_eq!(
        serde_json::to_value(&records).unwrap(),
        serde_json::json!([{
            "id": "0123456789ab",
            "name": "laptop",
            "permissions": ["read"],
            "created_at": "2026-11-23T08:00:00Z",
            "expires_at": "2027-02-21T08:00:00Z",
        }])
    );
}
