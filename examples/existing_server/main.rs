//! A server that existed before this crate, with the lines that guard it. They are marked with "auth".
//!
//! ```console
//! $ cargo run --example existing_server -- serve       # until Ctrl-C
//! $ cargo run --example existing_server -- client      # its own client, in another terminal
//! $ cargo run --example existing_server -- sessions    # a command that calls the router in process
//! ```
//!
//! The server's own client does not ask the user for a token: `serve` creates one that lives as long as the
//! process, and leaves it with the URL in a file that only the user can read.

mod connection;
mod router;

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::{self, Body};
use axum::http::{Method, Request};
use opencode_auth::{
    AuthLayer, FileTokenStore, MemoryTokenStore, NewToken, Permissions, Policy, TokenStore,
}; // auth
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;

use self::connection::Connection;

const USAGE: &str = "\
usage: existing_server serve [--listen ADDR]
       existing_server client
       existing_server sessions";

/// How long open requests may take to finish after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).cloned()
    };
    let listen = option("--listen").unwrap_or("127.0.0.1:4096".to_owned());
    let done = match arguments.first().map(String::as_str) {
        Some("serve") => serve(&listen).await,
        Some("client") => client().await,
        Some("sessions") => sessions().await,
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Listens, and guards what it serves.
async fn serve(listen: &str) -> Result<(), AnyError> {
    let listener = TcpListener::bind(listen.parse::<SocketAddr>()?).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);

    let users = FileTokenStore::open_default()?; // auth
    let own = MemoryTokenStore::new(); // auth: tokens that live as long as this process
    let token = own.create(NewToken::new().name("own client"))?.token; // auth
    let app = guarded(router::build(stopped.clone()), (users, own)); // auth
    // Removed when this function returns.
    let _connection = Connection::announce(&connection_file()?, address, token.expose_secret())?; // auth

    let _ = writeln!(io::stdout(), "listening on http://{address}");
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = tokio::signal::ctrl_c().await;
        // Event streams never end by themselves.
        let _ = stop.send(true);
    });
    tokio::select! {
        result = server => result?,
        () = overdue(stopped) => {}
    }
    Ok(())
}

/// Ends some time after the server was told to stop.
async fn overdue(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
    tokio::time::sleep(GRACE).await;
}

/// Beside the token file: in a directory that only the user can write to.
fn connection_file() -> Result<PathBuf, AnyError> {
    Ok(FileTokenStore::default_path()?.with_file_name("connection.json"))
}

/// The router behind the layer, and CORS outside of it. // auth
fn guarded<T: TokenStore + Clone + Send + Sync + 'static>(router: Router, store: T) -> Router {
    let policy = Policy::by_method()
        .mount("/api/v1")
        // Public patterns include the mount. Rules are relative to it.
        .public(Method::GET, "/api/v1/health")
        // "/session" would not match "/sessions": say what your own routes require.
        .rule(Method::POST, "/sessions/{id}/prompt", Permissions::WRITE | Permissions::EXECUTE);
    // `build` has CORS inside. An equal one outside handles preflights and makes denials readable. Both send `Vary`,
    // which means the same twice.
    router.layer(AuthLayer::new(store).policy(policy)).layer(router::cors())
}

/// The server's own client. It finds the URL and a token where the server left them.
async fn client() -> Result<(), AnyError> {
    let connection = Connection::read(&connection_file()?)?;
    let response = connection.get("/api/v1/sessions").await?;
    let _ = writeln!(io::stdout(), "{response}");
    Ok(())
}

/// A command that calls the router in process. There is no listener, so there is no guard.
async fn sessions() -> Result<(), AnyError> {
    let (_stop, stopped) = watch::channel(false);
    let request = Request::get("/api/v1/sessions").body(Body::empty())?;
    let response = router::build(stopped).oneshot(request).await?;
    let content = body::to_bytes(response.into_body(), usize::MAX).await?;
    let _ = writeln!(io::stdout(), "{}", String::from_utf8_lossy(&content));
    Ok(())
}
