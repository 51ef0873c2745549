//! What is printed at the start.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use opencode_auth::FileTokenStore;

use crate::stub;
use crate::support::{Gateway, PASSWORD, command, send};

#[tokio::test(flavor = "multi_thread")]
async fn empty_store_gets_a_token_and_three_lines_that_work_when_pasted() {
    let (upstream, _) = stub::first().await;
    let directory = tempfile::tempdir().unwrap();
    let mut process = command(&directory)
        .arg(format!("--upstream=http://{upstream}"))
        .env("OPENCODE_SERVER_PASSWORD", PASSWORD)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines: Vec<String> = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| !line.contains("auth_token="))
        .collect();
    let find =
        |start: &str| lines.iter().find(|line| line.trim().starts_with(start)).unwrap().trim();
    let (token, curl) = (find("TOKEN="), find("curl "));
    let pasted = Command::new("sh").arg("-c").arg(format!("{token}\n{curl} -s")).output();
    process.kill().unwrap();
    process.wait().unwrap();
    // Not every machine has curl.
    if let Ok(pasted) = pasted {
        assert_eq!(String::from_utf8(pasted.stdout).unwrap(), r#"{"model":"stub"}"#);
    }
    assert!(find("opencode attach").ends_with("-p $TOKEN"));

    let store = FileTokenStore::open(directory.path().join("tokens.json")).unwrap();
    let tokens = store.list().unwrap();
    assert_eq!(tokens.len(), 1);
    let token = token.strip_prefix("TOKEN=").unwrap();
    assert!(!fs::read_to_string(store.path()).unwrap().contains(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn store_with_tokens_gets_none_and_nothing_is_printed_of_them() {
    let (upstream, _) = stub::first().await;
    let mut gateway = Gateway::start(upstream);
    assert_eq!(send(gateway.request("GET", "/config")).await.status, 200);
    gateway.signal(rustix::process::Signal::INT);
    assert!(gateway.wait().success());
    let rest = gateway.rest_of_output();
    assert!(rest.starts_with("Tokens are those of `"), "{rest}");
    assert_eq!(gateway.store.list().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_without_a_password_gets_a_warning() {
    let health = async || axum::Json(serde_json::json!({ "version": "1.18.33" }));
    let router = axum::Router::new().route("/global/health", axum::routing::get(health));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    let gateway = Gateway::spawn(|command| {
        command.arg(format!("--upstream=http://{upstream}"));
    });
    let warning = "opencode accepts requests without a password";
    assert!(gateway.stderr().contains(warning), "{}", gateway.stderr());
    let (upstream, _) = stub::first().await;
    assert!(!Gateway::start(upstream).stderr().contains(warning));
}
