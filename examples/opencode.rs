//! A small `opencode`: `opencode serve` is a guarded server, `opencode auth token …` are the token
//! commands.
//!
//! ```sh
//! alias opencode='cargo run --quiet --features cli --example opencode --'
//! TOKEN=$(opencode auth token create --name laptop)
//! opencode serve &
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/config
//! ```
//!
//! Everything that concerns this crate is in the lines marked "auth".
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use axum::Router;
use axum::routing::{get, post};
use clap::Parser;
use opencode_auth::cli::{Context, TokenCommand}; // auth
use opencode_auth::{AuthLayer, FileTokenStore, Principal}; // auth

/// A small opencode
#[derive(Parser)]
#[command(name = "opencode", version)]
enum Opencode {
    /// Start the server
    Serve {
        /// The address to listen on. Only this computer can reach the default
        #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
        hostname: IpAddr,
        /// The port to listen on
        #[arg(long, default_value_t = 4096)]
        port: u16,
    },
    /// Manage who may use the server
    #[command(subcommand)]
    Auth(Auth),
}

#[derive(clap::Subcommand)]
enum Auth {
    Token(TokenCommand), // auth
}

fn main() -> ExitCode {
    match Opencode::parse() {
        Opencode::Auth(Auth::Token(command)) => {
            let context = Context::new().url("http://127.0.0.1:4096/session"); // auth
            command.run_with::<Opencode>(&context).into() // auth
        }
        Opencode::Serve { hostname, port } => match serve(hostname, port) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

#[tokio::main]
async fn serve(hostname: IpAddr, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/config", get(async || "{}\n"))
        .route("/session", get(async || "[]\n").post(async || "a session\n"))
        .route("/pty", post(shell))
        .layer(AuthLayer::new(FileTokenStore::open_default()?)); // auth

    let listener = tokio::net::TcpListener::bind((hostname, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn shell(principal: Principal) -> String {
    format!("a shell for the token {}\n", principal.name().unwrap_or(principal.id().as_str()))
}
