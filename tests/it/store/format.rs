//! The file's format as a whole: what is an error, with its position and message.

use crate::support::store::{assert_refused, side_by_side};

#[test]
fn a_file_that_is_not_one_object_is_refused() {
    const NOT_JSON: &str = "the file is not one complete JSON object";
    let cases = [
        ("a list", "[]", (1, 2), "a JSON object expected"),
        ("the fields in a list", "[1, []]", (1, 1), "a JSON object expected"),
        ("null", "null", (1, 4), "a JSON object expected"),
        ("text", r#""tokens""#, (1, 8), "a JSON object expected"),
        ("two documents", "{\"version\":1,\"tokens\":[]}\n{}", (2, 1), NOT_JSON),
        ("bytes behind", "{\"version\":1,\"tokens\":[]}x", (1, 26), NOT_JSON),
        ("NUL behind", "{\"version\":1,\"tokens\":[]}\0", (1, 26), NOT_JSON),
        ("comment", "{\"version\":1,// one\n\"tokens\":[]}", (1, 14), NOT_JSON),
        ("comma too many", "{\"version\":1,\"tokens\":[],}", (1, 26), NOT_JSON),
        ("single quotes", "{'version':1,'tokens':[]}", (1, 2), NOT_JSON),
        ("field without a name", "{1:2}", (1, 2), NOT_JSON),
        ("half a surrogate pair", r#"{"version":1,"tokens":[],"\ud800":1}"#, (1, 33), NOT_JSON),
    ];
    side_by_side(cases, |(case, content, place, problem)| {
        assert_refused(case, content, place, problem);
    });
    assert_refused("UTF-16", b"\xff\xfe{\0}\0", (1, 1), "the file is not UTF-8");
    assert_refused(
        "Latin-1 in a name",
        b"{\"version\":1,\n\"tokens\":[{\"name\":\"caf\xe9\"}]}",
        (2, 23),
        "the file is not UTF-8",
    );
}

#[test]
fn another_version_or_shape_is_an_error() {
    const OTHER_VERSION: &str =
        "this is not version 1 of the format; it takes another version of this program";
    let cases = [
        ("version 2", r#"{"version":2,"tokens":[]}"#, (1, 12), OTHER_VERSION),
        ("version 10", r#"{"version":10,"tokens":[]}"#, (1, 13), OTHER_VERSION),
        ("version as text", r#"{"version":"1","tokens":[]}"#, (1, 14), OTHER_VERSION),
        ("version 1.0", r#"{"version":1.0,"tokens":[]}"#, (1, 14), OTHER_VERSION),
        ("version 1e0", r#"{"version":1e0,"tokens":[]}"#, (1, 14), OTHER_VERSION),
        ("version true", r#"{"version":true,"tokens":[]}"#, (1, 15), OTHER_VERSION),
        (
            "version 01",
            r#"{"version":01,"tokens":[]}"#,
            (1, 13),
            "the file is not one complete JSON object",
        ),
        ("no version", r#"{"tokens":[]}"#, (1, 13), "the field `version` is missing"),
        ("no tokens", r#"{"version":1}"#, (1, 13), "the field `tokens` is missing"),
        ("nothing", "{}", (1, 2), "the field `version` is missing"),
        ("tokens null", r#"{"version":1,"tokens":null}"#, (1, 26), "a list of tokens expected"),
        ("tokens by id", r#"{"version":1,"tokens":{}}"#, (1, 24), "a list of tokens expected"),
        (
            "a token as text",
            r#"{"version":1,"tokens":["oct_"]}"#,
            (1, 29),
            "an object for each token expected",
        ),
        (
            "a token as a list",
            r#"{"version":1,"tokens":[["a"]]}"#,
            (1, 24),
            "an object for each token expected",
        ),
        (
            "version twice",
            r#"{"version":1,"version":1,"tokens":[]}"#,
            (1, 24),
            "a field appears twice",
        ),
        (
            "tokens twice",
            r#"{"version":1,"tokens":[],"tokens":[]}"#,
            (1, 37),
            "a field appears twice",
        ),
        (
            "version twice, escaped",
            r#"{"version":1,"vers\u0069on":1,"tokens":[]}"#,
            (1, 29),
            "a field appears twice",
        ),
        (
            "unknown field twice",
            r#"{"version":1,"x":1,"tokens":[],"x":1}"#,
            (1, 34),
            "a field appears twice",
        ),
        (
            "unknown field twice, escaped",
            r#"{"version":1,"x":1,"tokens":[],"\u0078":1}"#,
            (1, 39),
            "a field appears twice",
        ),
    ];
    side_by_side(cases, |(case, content, place, problem)| {
        assert_refused(case, content, place, problem);
    });
}

#[test]
fn invisible_characters_are_named() {
    let cases = [
        ("nothing", "", (1, 1), "the file is empty"),
        ("a line break", "\n", (1, 1), "the file is empty"),
        ("blank lines", " \n\n", (1, 1), "the file is empty"),
        (
            "a byte order mark",
            "\u{feff}{\"version\": 1, \"tokens\": []}",
            (1, 1),
            "the file begins with a byte order mark, which cannot be seen; save it as UTF-8 without one",
        ),
        (
            "a no-break space before a value",
            "{\"version\":\u{a0}1, \"tokens\": []}",
            (1, 12),
            "there is a character that cannot be seen, U+00A0; replace it by a space",
        ),
        (
            "a zero width space before a field",
            "{\"version\": 1,\n\u{200b}\"tokens\": []}",
            (2, 1),
            "there is a character that cannot be seen, U+200B; replace it by a space",
        ),
        ("a letter", "{\"version\": 1, x}", (1, 16), "the file is not one complete JSON object"),
    ];
    side_by_side(cases, |(case, content, place, problem)| {
        assert_refused(case, content, place, problem);
    });
}
