//! The server of `scripts/e2e.sh`: one router on three ports of the loopback address, bare, behind one
//! static token, and behind the layer. Says where, then serves until its input ends.
#![allow(
    clippy::print_stdout,
    clippy::result_large_err,
    reason = "a program for a script, which reads what it prints; what a refusal is, is tower-http's choice"
)]

use std::error::Error;
use std::io::Read as _;

use axum::Router;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use opencode_auth::{AuthLayer, FileTokenStore, NewToken};
use tokio::net::TcpListener;
use tower_http::validate_request::ValidateRequestHeaderLayer;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = FileTokenStore::open(directory.path().join("auth-tokens.json"))?;
    let token = store.create(NewToken::new().name("load"))?.token;
    let expected: HeaderValue = format!("Bearer {}", token.expose_secret()).parse()?;
    println!("token {}", token.expose_secret());

    let router = || {
        Router::new()
            .route("/config", get(async || "config"))
            .route("/session", get(async || "sessions"))
            .route("/session/{id}", get(async || "session"))
    };
    let fixed = ValidateRequestHeaderLayer::custom(move |request: &mut Request| {
        if request.headers().get(AUTHORIZATION) == Some(&expected) {
            return Ok(());
        }
        Err(StatusCode::UNAUTHORIZED.into_response())
    });
    for (name, app) in [
        ("bare", router()),
        ("static", router().layer(fixed)),
        ("guarded", router().layer(AuthLayer::new(store))),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{name} http://{}", listener.local_addr()?);
        tokio::spawn(async { axum::serve(listener, app).await });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
