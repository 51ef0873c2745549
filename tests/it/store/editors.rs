//! A file that is edited with the programs that people have, while requests come in.

use std::process::{Command, Stdio};

use crate::store::editing::{edit_under_load, with_shell};
use crate::support::process::skip;

/// How vim replaces the content of `$FILE` with that of `$NEW`.
fn vim(settings: &str) -> String {
    format!(r#"vim --clean -es -c '{settings}' -c '%!cat $NEW' -c wq "$FILE" < /dev/null"#)
}

/// The keys for nano: cut all lines, read a file, write, exit.
const NANO: &str = r#"{ sleep 0.2; printf '\033\\\033a\033/\013\022%s\r\017\r\030' "$NEW"; } |
    TERM=xterm script -qec "nano --ignorercfiles --nonewlines '$FILE'" /dev/null > /dev/null"#;

/// Like an editor that first sets the size of the file and then overwrites it.
const IN_PLACE: &str = r#"truncate -s "$(stat -c %s "$NEW")" "$FILE" &&
    dd if="$NEW" of="$FILE" bs=64 conv=notrunc status=none"#;

#[test]
fn a_token_that_stays_is_allowed_and_one_that_is_taken_out_is_not_with_any_editor() {
    let cases: [(&str, &str, String); 16] = [
        ("vim", "vim", vim("")),
        ("vim without a backup", "vim", vim("set nowritebackup")),
        ("vim, in place", "vim", vim("set backupcopy=yes")),
        ("vim, in place, without a backup", "vim", vim("set backupcopy=yes nowritebackup")),
        ("vim, by renaming", "vim", vim("set backupcopy=no")),
        ("ed", "ed", r#"printf '%s\n' ,d "0r $NEW" w q | ed -s "$FILE""#.into()),
        ("nano", "nano", NANO.into()),
        ("sed -i", "sed", r#"sed -i -e "1r $NEW" -e d "$FILE""#.into()),
        (
            "perl -i",
            "perl",
            r#"perl -i -ne 'BEGIN { open N, $ENV{NEW}; @new = <N> } print @new if $. == 1' "$FILE""#
                .into(),
        ),
        ("tee", "tee", r#"tee "$FILE" < "$NEW" > /dev/null"#.into()),
        ("cp --remove-destination", "cp", r#"cp --remove-destination "$NEW" "$FILE""#.into()),
        ("install", "install", r#"install -m 600 "$NEW" "$FILE""#.into()),
        ("mv", "mv", r#"mv "$NEW" "$FILE""#.into()),
        ("dd", "dd", r#"dd if="$NEW" of="$FILE" status=none"#.into()),
        ("dd in small pieces", "dd", r#"dd if="$NEW" of="$FILE" bs=64 status=none"#.into()),
        ("dd, in place", "dd", IN_PLACE.into()),
    ];
    for (case, program, script) in cases {
        if !is_installed(program) {
            skip(&format!("{program} is not installed"));
            continue;
        }
        let editor = with_shell(script);
        // The programs take long to start, and leave the file bad for some milliseconds at most: no 503 is
        // due, however long an edit took.
        let unavailable = || edit_under_load(case, 6, &editor).unavailable;
        let counts: Vec<_> = (0..5).map(|_| unavailable()).take_while(|count| *count > 0).collect();
        assert!(counts.len() < 5, "{case}: 503 for a file that was good, {counts:?} times");
    }
}

fn is_installed(program: &str) -> bool {
    let mut shell = Command::new("sh");
    let found = shell.args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
    found.unwrap().success()
}
