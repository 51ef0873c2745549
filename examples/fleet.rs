//! One server of a fleet. All of its servers share the tokens of a PostgreSQL database.
//!
//! ```sh
//! export URL="postgres://$USER@localhost/opencode?realm=fleet"
//! opencode-auth token init --store "$URL"
//! TOKEN=$(opencode-auth token create --store "$URL" --name ci)
//! cargo run --features postgres --example fleet -- "$URL" 127.0.0.1:4096 &
//! cargo run --features postgres --example fleet -- "$URL" 127.0.0.1:4097 &
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4097/config
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use opencode_auth::{AuthLayer, Policy, PostgresTokenStore, Principal};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(address)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: fleet URL ADDRESS");
        return ExitCode::from(2);
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match serve(&url, &address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(url: &str, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    // A server that cannot read its tokens does not start.
    let store = PostgresTokenStore::open(url).await?;
    let router = Router::new()
        .route("/config", get(async |principal: Principal| format!("hello, {}\n", principal.id())))
        .layer(AuthLayer::new(store).policy(Policy::opencode()));
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
