//! The token commands on a store in PostgreSQL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use opencode_auth::PostgresTokenStore;

use crate::shared_cluster;
use crate::support::{LEASE, is_known, open};

pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `opencode-auth token` with its own home directory.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Outcome {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_opencode-auth"));
    command.arg("token").args(arguments).env_clear().env("HOME", home.path());
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let outcome = Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(
        !format!("{}{}", outcome.stdout, outcome.stderr).contains("s3cret"),
        "{}",
        outcome.stderr
    );
    outcome
}

#[track_caller]
fn done(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    outcome
}

#[tokio::test]
async fn every_command_works_on_a_database() {
    let cluster = shared_cluster!();
    let database = cluster.database();
    // The cluster trusts everybody, so the password only shows that it is not repeated.
    let url =
        format!("postgres://postgres:s3cret@127.0.0.1:{}/{database}?realm=team", cluster.port);
    let shown = url.replace(":s3cret", "");
    let store = ["--store", &url];
    let on_store = |arguments: &[&str]| run(&[arguments, &store].concat(), &[], "");

    assert_eq!(done(run(&["init", "--print"], &[], "")).stdout, PostgresTokenStore::SCHEMA);
    let outcome = on_store(&["list"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("the database has no tables for tokens"), "{}", outcome.stderr);
    let outcome = on_store(&["check"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains("Wrong: failed to use the token store"), "{}", outcome.stdout);

    for _ in 0..2 {
        let outcome = done(on_store(&["init"]));
        let hint = format!(
            "The tables are there. Create a token with: opencode-auth token --store '{shown}' create\n"
        );
        assert_eq!(outcome.stderr, hint);
    }
    cluster.psql(
        &database,
        &format!("UPDATE opencode_auth.realms SET lease_ms = {}", LEASE.as_millis()),
    );
    let empty = format!(
        "There are no tokens: the realm at `{shown}` has none. Create a token with: opencode-auth token \
         --store '{shown}' create\n"
    );
    assert_eq!(done(on_store(&["list"])).stderr, empty);
    let server = open(&url).await;

    let created = done(on_store(&["create", "--name", "ci", "--permissions", "read"]));
    let token: opencode_auth::Token = created.stdout.trim().parse().unwrap();
    assert!(
        created.stderr.contains(&format!("stored in    {shown} (as a hash)")),
        "{}",
        created.stderr
    );
    assert!(is_known(&server, &token).await);
    let list = done(on_store(&["list", "--json"])).stdout;
    assert!(
        list.contains(r#""name":"ci","permissions":["read"]"#) || list.contains(r#""name": "ci""#),
        "{list}"
    );
    assert!(done(on_store(&["list"])).stdout.contains("ci"));

    let variable = [("OPENCODE_AUTH_TOKENS", &*url)];
    let identified = done(run(&["identify"], &variable, token.expose_secret()));
    assert!(
        identified.stdout.contains("(ci)") || identified.stdout.contains("ci"),
        "{}",
        identified.stdout
    );
    assert_eq!(done(run(&["path"], &variable, "")).stdout, format!("{shown}\n"));

    let checked = done(run(&["check"], &variable, "")).stdout;
    let version = cluster.psql(&database, "SHOW server_version");
    let expected = [
        &*format!("The tokens are in {shown} (named by OPENCODE_AUTH_TOKENS)."),
        &*format!("The server is PostgreSQL {version}. You are the role `postgres`."),
        "The connection is not encrypted.",
        "The database's clock differs from this one by",
        "Note: this role can change the tokens. The role of a server needs only SELECT.",
        "Fine: the realm's format is right. Its version is 1, and its lease is 200 ms.",
        "It has 1 token, none expired.",
    ];
    assert_eq!(checked.lines().count(), expected.len(), "{checked}");
    for (line, expected) in checked.lines().zip(expected) {
        // How much the clocks differ is not the same each time.
        let line = if expected.ends_with("by") { &line[..expected.len()] } else { line };
        assert_eq!(line, expected);
    }

    let rotated = done(on_store(&["rotate", "ci", "--expires", "30d"]));
    let renewed: opencode_auth::Token = rotated.stdout.trim().parse().unwrap();
    assert!(!is_known(&server, &token).await);
    assert!(is_known(&server, &renewed).await);
    let outcome = on_store(&["delete", "unknown"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    let hint = format!("list the tokens with: opencode-auth token --store '{shown}' list");
    assert!(outcome.stderr.contains(&hint), "{}", outcome.stderr);
    done(run(&["delete", "-"], &variable, renewed.expose_secret()));
    assert!(!is_known(&server, &renewed).await);
    assert!(done(on_store(&["delete", "--expired"])).stderr.contains("No token is expired."));
}

#[tokio::test]
async fn the_variables_of_libpq_say_what_the_url_leaves_out() {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let port = cluster.port.to_string();
    let variables = [
        ("OPENCODE_AUTH_TOKENS", "postgres://"),
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
        ("PGDATABASE", &database),
        ("PGPASSWORD", "s3cret"),
    ];
    let shown = format!("postgres://postgres@127.0.0.1:{port}/{database}?realm=default");
    assert_eq!(done(run(&["path"], &variables, "")).stdout, format!("{shown}\n"));
    done(run(&["create", "--name", "ci"], &variables, ""));
    assert!(done(run(&["list"], &variables, "")).stdout.contains("ci"));

    // The URL wins.
    let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let wrong = [("PGHOST", "h"), ("PGPORT", "1"), ("PGUSER", "u"), ("PGDATABASE", "d")];
    assert!(done(run(&["list", "--store", &url], &wrong, "")).stdout.contains("ci"));

    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (variable, value, message) in [
        ("PGSSLMODE", "prefer", "`sslmode` (or PGSSLMODE) is `verify-full`"),
        ("PGSSLMODE", "verify-full", "does not support TLS"),
        ("PGSSLCERT", "/c", "`sslcert` and `sslkey` (or PGSSLCERT and PGSSLKEY) belong together"),
        ("PGTARGETSESSIONATTRS", "standby", "PGTARGETSESSIONATTRS) is `primary`"),
        ("PGCONNECT_TIMEOUT", "soon", "PGCONNECT_TIMEOUT is a number of seconds"),
        ("PGHOSTADDR", "::1,::1", "`hostaddr` (or PGHOSTADDR) names one address for each host"),
        ("PGCHANNELBINDING", "require", "`channel_binding=require` is not supported"),
        ("PGREQUIREAUTH", "scram-sha-256", "the variable PGREQUIREAUTH is not supported"),
        ("PGREQUIREPEER", "postgres", "the variable PGREQUIREPEER is not supported"),
        ("PGSSLCRL", "/crl", "the variable PGSSLCRL is not supported"),
        ("PGSSLCRLDIR", "/crl", "the variable PGSSLCRLDIR is not supported"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3", "the variable PGSSLMINPROTOCOLVERSION is not"),
    ] {
        let outcome = run(&["list", "--store", &url], &[(variable, value)], "");
        assert_eq!((outcome.code, &*outcome.stdout), (1, ""), "{variable}");
        assert!(outcome.stderr.contains(message), "{variable}: {}", outcome.stderr);
    }
    let outcome = run(&["list", "--store", "postgres://127.0.0.1/d"], &[("PGPORT", "1,2")], "");
    assert!(outcome.stderr.contains("(or PGPORT) names one port"), "{}", outcome.stderr);
    // To libpq these are no limit. Here the limit is the default.
    for seconds in ["0", "-1"] {
        done(run(&["list", "--store", &url], &[("PGCONNECT_TIMEOUT", seconds)], ""));
    }
    for harmless in [("PGCHANNELBINDING", "prefer"), ("PGSSLCRL", "")] {
        done(run(&["list", "--store", &url], &[harmless], ""));
    }
    let elsewhere = url.replace("127.0.0.1", "db.example.org");
    done(run(&["list", "--store", &elsewhere], &[("PGHOSTADDR", "127.0.0.1")], ""));
    let certificates = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", missing)];
    let outcome = run(&["list", "--store", &url], &certificates, "");
    assert!(outcome.stderr.contains("certificates to trust cannot be read"), "{}", outcome.stderr);
    let outcome = run(&["list", "--store", &url], &[("PGPASSFILE", missing)], "");
    assert!(outcome.stderr.contains("the password file cannot be used"), "{}", outcome.stderr);
    let outcome = run(&["list", "--store", "postgres:///d"], &[], "");
    assert!(
        outcome.stderr.contains("names no host, and neither does PGHOST"),
        "{}",
        outcome.stderr
    );
}

/// Without the file that it names, the system's certificates would be trusted.
#[test]
fn a_variable_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt as _;

    for variable in ["PGSSLROOTCERT", "PGSSLMODE", "PGHOST", "PGUSER", "PGPASSWORD", "PGPASSFILE"] {
        let output = Command::new(env!("CARGO_BIN_EXE_opencode-auth"))
            .args(["token", "path", "--store", "postgres://"])
            .env_clear()
            .env("PGHOST", "db.example.org")
            .env(variable, std::ffi::OsStr::from_bytes(b"/ca\xff.pem"))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{variable}");
        assert!(stderr.contains(&format!("{variable} is not UTF-8")), "{variable}: {stderr}");
    }
}

#[test]
fn only_the_url_makes_a_connection_to_another_machine_plain() {
    let variable = [("PGSSLMODE", "disable")];
    let path = |url| run(&["path", "--store", url], &variable, "");
    for url in [
        "postgres://localhost/t",
        "postgres:///t?host=/run",
        "postgres://h/t?hostaddr=127.0.0.1",
        "postgres://h/t?sslmode=disable",
    ] {
        done(path(url));
    }
    for url in
        ["postgres://h/t", "postgres://localhost,h/t", "postgres://localhost/t?hostaddr=10.0.0.1"]
    {
        let outcome = path(url);
        assert_eq!((outcome.code, &*outcome.stdout), (1, ""), "{url}");
        assert!(
            outcome.stderr.contains("write `sslmode=disable` in the URL"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn init_is_for_databases() {
    let outcome = run(&["init"], &[], "");
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("only a store in PostgreSQL has tables"), "{}", outcome.stderr);
}

#[test]
fn a_url_that_cannot_be_used_is_not_repeated() {
    let url = "postgres://u:s3cret@h:port/d";
    for command in ["list", "check", "path"] {
        let outcome = run(&[command, "--store", url], &[], "");
        assert_eq!(outcome.code, 1, "{command}");
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("percent-encode"), "{said}");
    }
}
