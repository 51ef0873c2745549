//! `opencode-auth policy`.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use clap::CommandFactory as _;
use opencode_auth::cli::{PolicyCommand, TokenCommand, name_examples};
use snapbox::str;

use super::support::{BINARY, Home, Outcome, closed_pipe};

fn run(arguments: &[&str], input: &str) -> Outcome {
    let home = Home::new();
    let mut command = home.program(BINARY);
    command.arg("policy").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

const DOCUMENT: &str = r##"{"openapi": "3.1.0", "paths": {
    "/session/{id}": {"get": {}}, "/skills": {"post": {}}, "/x": {"$ref": "#/x"}
}}"##;

#[test]
fn operations_are_grouped_by_what_they_require() {
    let outcome = run(&["--policy", "opencode-v2", "--mount", "/v1"], "");
    assert_eq!((outcome.code, &*outcome.stderr), (0, ""));
    let headings: Vec<_> =
        outcome.stdout.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    assert_eq!(
        headings.join("\n"),
        "\
read: 64 operations
write: 36 operations
read,execute: 2 operations
write,execute: 37 operations
read,write,execute: 4 operations
read,write,execute: every other request"
    );
    let row = "  POST    /v1/api/pair                  server.pair";
    assert!(outcome.stdout.lines().any(|line| line == row), "{}", outcome.stdout);
    let both = run(&[], "").stdout;
    assert_eq!(both.lines().filter(|line| line.starts_with("  ")).count(), 285);
    assert!(both.lines().any(|line| line.ends_with(" session.prompt")), "{both}");
}

#[test]
fn policies_without_a_table_are_described() {
    run(&["--policy", "by-method"], "").is(
        0,
        str![[r#"
read: every GET, HEAD and OPTIONS
write: every POST, PUT, PATCH and DELETE
read,write,execute: every other request

"#]],
        "",
    );
    run(&["--policy", "default"], "").is(0, str![[r#"
read: every GET, HEAD and OPTIONS
write: every POST, PUT, PATCH and DELETE
execute in addition: everything under /pty, /session, /message, /api/pty, /api/session and /api/message
read,write,execute: every other request

"#]], "");
}

#[test]
fn one_request_is_explained() {
    run(&["explain", "POST", "/session/ses_1/message"], "").is(
        0,
        str![[r#"
POST /session/ses_1/message requires write,execute.
  rule          operation session.prompt
  operation     POST /session/{sessionID}/message
  audited for   opencode 1.18
  experimental  no

"#]],
        "",
    );
    run(&["explain", "GET", "/experimental/worktree?directory=/tmp"], "").is(
        0,
        str![[r#"
GET /experimental/worktree requires read.
  rule          operation worktree.list
  operation     GET /experimental/worktree
  audited for   opencode 1.18
  experimental  yes

"#]],
        "",
    );
    run(&["explain", "GET", "//config"], "").is(
        0,
        str![[r#"
GET //config requires read,write,execute.
  rule          ambiguous path: empty segment

"#]],
        "",
    );
    run(&["explain", "--mount", "/v1", "GET", "/config"], "").is(
        0,
        str![[r#"
GET /config requires read,write,execute.
  rule          outside the mount

"#]],
        "",
    );
    run(&["--policy", "default", "explain", "GET", "/api/pty/1"], "").is(
        0,
        str![[r#"
GET /api/pty/1 requires read,execute.
  rule          prefix /api/pty

"#]],
        "",
    );
    run(&["explain", "--policy", "by-method", "PURGE", "/a"], "").is(
        0,
        str![[r#"
PURGE /a requires read,write,execute.
  rule          unknown method

"#]],
        "",
    );
    run(&["explain", "GET", "config"], "").is(
        2,
        "",
        str![[r#"
error: invalid value 'config' for '<PATH>': a path begins with a slash

For more information, try '--help'.

"#]],
    );
    for (method, problem) in [
        ("get", "methods are case-sensitive: did you mean GET?"),
        ("Options", "methods are case-sensitive: did you mean OPTIONS?"),
        ("G(T", "it is not an HTTP method"),
    ] {
        let error = format!(
            "error: invalid value '{method}' for '<METHOD>': {problem}\n\n\
             For more information, try '--help'.\n"
        );
        run(&["explain", method, "/config"], "").is(2, "", error);
    }
    run(&["explain", "GET", "/x/oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw"], "").is(
        0,
        str![[r#"
GET <contains a token> requires read,write,execute.
  rule          unknown operation

"#]],
        "",
    );
}

#[test]
fn a_document_that_differs_is_a_failure() {
    let outcome = run(&["check", "-"], DOCUMENT);
    assert_eq!((outcome.code, &*outcome.stderr), (1, ""));
    assert!(outcome.stdout.contains("Known to the policy, not in the document: 284\n"));
    run(&["check", "-", "--policy", "default"], DOCUMENT).is(
        1,
        str![[r#"
In the document, not understood: 1
  `$ref` of `/x`

"#]],
        "",
    );
    let same = DOCUMENT.replace("$ref", "x-ref");
    run(&["check", "-", "--policy", "default"], &same).is(
        0,
        str![[r#"
No difference: the policy knows the 2 operations of the document.

"#]],
        "",
    );
    let v2 = run(&["check", "-", "--audited-for", "2.0"], DOCUMENT);
    assert!(v2.stdout.contains("Known to the policy, not in the document: 143\n"));
    assert_eq!(v2.code, 1);
}

#[test]
fn a_document_that_cannot_be_read_is_a_failure() {
    run(&["check", "-"], &DOCUMENT[..50]).is(1, "", str![[r#"
error: failed to read the OpenAPI document: it is not JSON: EOF while parsing a string at line 2 column 18

"#]]);
    run(&["check", "missing.json"], "").is(
        1,
        "",
        str![[r#"
error: failed to read the file `missing.json`: No such file or directory (os error 2)

"#]],
    );
    let home = Home::new();
    fs::write(home.path().join("api.json"), "{}").unwrap();
    let mut command = home.program(BINARY);
    Outcome::of(command.args(["policy", "check", "api.json"])).is(1, "", str![[r#"
error: failed to read the OpenAPI document: it has no field `openapi`; give one of version 3.0 or 3.1

"#]]);
}

#[test]
fn own_routes_are_audited() {
    let routes = "# ours\n\nPOST /api/v1/sessions/{sid}/prompt\nGET /api/v1/config\n\
        POST /api/v1/session/{sid}\nGET /other\n";
    run(&["audit", "--policy", "default", "--mount", "/api/v1"], routes).is(
        0,
        str![[r#"
POST  /api/v1/sessions/{sid}/prompt  write               method
  warning: `sessions` may run code, and execute is not required
GET   /api/v1/config                 read                method
POST  /api/v1/session/{sid}          write,execute       prefix /session
GET   /other                         read,write,execute  outside the mount

"#]],
        "",
    );
    run(&["audit"], "GET /a\nget /b\n").is(
        1,
        "",
        str![[r#"
error: line 2: `get` is not an HTTP method; methods are case-sensitive: did you mean GET?

"#]],
    );
    run(&["audit"], "").is(0, "", "");
}

#[test]
fn each_policy_command_explains_itself() {
    run(&["--help"], "").is(
        0,
        str![[r#"
Show what requests require, and compare that with a server

Usage: opencode-auth policy [OPTIONS] [COMMAND]

Commands:
  explain  Say what one request requires, and by which rule
  check    Compare the policy with an OpenAPI document
  audit    Say what each route on standard input requires
  help     Print this message or the help of the given subcommand(s)

Options:
      --policy <POLICY>  The policy: opencode, opencode-v2, default or by-method [default: opencode]
      --mount <PATH>     The path under which the API is served
  -h, --help             Print help

Without a command, it prints the policy's operations.

Examples:
  opencode-auth policy
  opencode-auth policy explain POST /session/ses_1/message
  opencode-auth policy --policy default --mount /api/v1 audit < routes.txt

Exit codes:
  0  the command succeeded
  1  it failed, or check found a difference
  2  wrong usage

"#]],
        "",
    );
    for command in ["explain", "check", "audit"] {
        let help = run(&[command, "--help"], "");
        assert_eq!((help.code, &*help.stderr), (0, ""), "{command}");
        assert!(help.stdout.contains("\nExample"), "{}", help.stdout);
    }
}

#[test]
fn examples_name_the_program_of_the_host() {
    #[derive(clap::Parser)]
    #[command(name = "my-server")]
    enum Program {
        #[command(subcommand)]
        Auth(Auth),
    }

    #[derive(clap::Subcommand)]
    enum Auth {
        Review(PolicyCommand),
        Token(TokenCommand),
    }

    for (arguments, example) in [
        (
            &["review", "--help"][..],
            "\n  my-server auth review explain POST /session/ses_1/message\n",
        ),
        (
            &["review", "explain", "--help"],
            "  my-server auth review explain POST /session/ses_1/message\n",
        ),
        (&["review", "check", "--help"], " | my-server auth review check -\n"),
        (&["review", "audit", "--help"], "\n  my-server auth review audit --policy default "),
        (&["token", "path", "--help"], "\"$(my-server auth token path)\"\n"),
    ] {
        let typed = [&["my-server", "auth"], arguments].concat();
        let command = name_examples(Program::command());
        let help = command.try_get_matches_from(typed).unwrap_err().to_string();
        assert!(help.contains(example), "{help}");
        assert!(!help.contains("opencode-auth") && !help.contains("opencode auth"), "{help}");
    }
}

#[test]
fn closing_the_pipe_early_is_not_an_error() {
    let home = Home::new();
    let mut command = home.program(BINARY);
    Outcome::of(command.arg("policy").stdout(closed_pipe()).stderr(Stdio::piped())).is(0, "", "");
}
