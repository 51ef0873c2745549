//! The life of a gateway, from the start of the server behind it to its end.

use std::env::{self, VarError};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::Layer as _;

use crate::gateway::access::{self, Generation, Table};
use crate::gateway::child::{self, Server};
use crate::gateway::cors::Cors;
use crate::gateway::front::Front;
use crate::gateway::health::{self, Health};
use crate::gateway::introduction::introduce;
use crate::gateway::log::Log;
use crate::gateway::proxy::{self, Proxy};
use crate::gateway::serve::serve;
use crate::gateway::stop::Stopped;
use crate::gateway::upstream::Upstream;
use crate::{AuthLayer, CredentialSources, FileTokenStore, Tickets};

/// Origins of opencode's own pages and of its desktop program, which use a server on this machine.
const OPENCODE_ORIGINS: [&str; 4] = [
    "https://app.opencode.ai",
    "tauri://localhost",
    "http://tauri.localhost",
    "https://tauri.localhost",
];

/// The longest response of a server that says its version.
const LONGEST_VERSION: usize = 64 * 1024;

pub(super) struct Setup {
    pub(super) listener: net::TcpListener,
    pub(super) log: Log,
    /// The server that runs already, if there is one.
    pub(super) upstream: Option<Authority>,
    /// What starts a server otherwise; empty for `opencode serve`.
    pub(super) command: Vec<OsString>,
    pub(super) store: FileTokenStore,
    pub(super) table: Table,
    pub(super) web_page: bool,
    /// Those that a request may name without all three permissions; empty for every one.
    pub(super) directories: Vec<String>,
    pub(super) origins: Vec<HeaderValue>,
}

/// Runs the gateway until it is told to stop, or until the server that it started ends.
pub(super) async fn run(setup: Setup) -> Result<(), String> {
    let listener = TcpListener::from_std(setup.listener).map_err(|error| error.to_string())?;
    let listen = listener.local_addr().map_err(|error| error.to_string())?;
    let tickets = Tickets::new();
    let guard = guard(&setup.store, &setup.origins, &tickets)?;
    let (mut server, upstream) = if let Some(authority) = setup.upstream {
        (None, Upstream::new(authority, credential_from_environment()?.as_deref()))
    } else {
        let (server, upstream) = start(setup.command).await?;
        (Some(server), upstream)
    };
    let upstream = Arc::new(upstream);
    let (generation, version) = identify(&upstream).await?;
    if setup.web_page && generation != Generation::Second {
        return Err(format!("--web-page is for opencode 2.0, and this is opencode {version}"));
    }
    let mut policy = access::policy(setup.table, generation, setup.web_page);
    if !setup.directories.is_empty() {
        policy = policy.try_directories(setup.directories).map_err(|error| error.to_string())?;
    }

    let introduction = {
        let store = setup.store.clone();
        let upstream = format!("opencode {version} at http://{}", upstream.authority());
        tokio::task::spawn_blocking(move || introduce(&store, listen, &upstream))
            .await
            .map_err(|error| error.to_string())??
    };
    // Only now: on a first run, a warning that the store is missing would confuse.
    setup.log.start()?;
    if !upstream.has_credential() {
        tracing::warn!(
            "opencode accepts requests without a password: a client of its own port needs no token"
        );
    }
    let (stop, stopped) = Stopped::channel();
    let proxy = Proxy { upstream: Arc::clone(&upstream), tickets, stopped };
    let health = Health { upstream, store: setup.store.clone() };
    let router = Router::new()
        .route(health::PATH, get(health::report).with_state(health))
        .fallback(proxy::pass_on)
        .with_state(proxy.clone());
    let app = guard.policy(policy).layer(router);
    let front = Arc::new(Front { app, proxy, cors: Cors { origins: setup.origins } });
    // Before anyone is told that the gateway runs.
    let interruption = interrupted();
    // There is nobody to tell that standard output is closed.
    let _ = io::stdout().write_all(introduction.as_bytes());

    let mut failure = None;
    let serving = serve(listener, front, async {
        failure = tokio::select! {
            () = interruption => None,
            failure = ended(server.as_mut()) => Some(failure),
        };
        let _ = stop.send(true);
    });
    serving.await;
    if let Some(failure) = failure {
        return Err(failure);
    }
    if let Some(server) = server {
        // A second Ctrl-C does not wait.
        tokio::select! {
            () = server.stop() => {}
            () = interrupted() => {}
        }
    }
    Ok(())
}

/// The layer that checks tokens, from every source that opencode's clients use.
fn guard(
    store: &FileTokenStore,
    origins: &[HeaderValue],
    tickets: &Tickets,
) -> Result<AuthLayer<FileTokenStore>, String> {
    let origins = origins.iter().filter_map(|origin| origin.to_str().ok());
    AuthLayer::new(store.clone())
        .credentials(CredentialSources::opencode().tickets(tickets.clone()))
        .create_command("opencode-auth token create")
        .trusted_origins(OPENCODE_ORIGINS.into_iter().chain(origins))
        .map_err(|error| error.to_string())
}

async fn start(mut command: Vec<OsString>) -> Result<(Server, Upstream), String> {
    if command.is_empty() {
        // With port 0, opencode prefers 4096, which other programs expect the gateway at.
        let port = free_port().map_err(|error| format!("failed to find a free port: {error}"))?;
        command =
            ["opencode", "serve", "--hostname", "127.0.0.1", "--port"].map(OsString::from).into();
        command.push(port.to_string().into());
    }
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| format!("failed to make a password for opencode: {error}"))?;
    let password = URL_SAFE_NO_PAD.encode(bytes);
    let (server, authority) = Server::start(&command, &password).await?;
    let credential = format!("{}:{password}", child::USER);
    Ok((server, Upstream::new(authority, Some(&credential))))
}

fn free_port() -> io::Result<u16> {
    let listener = net::TcpListener::bind((net::Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// `user:password` of a server that runs already, as its own clients read it.
fn credential_from_environment() -> Result<Option<String>, String> {
    let user = variable("OPENCODE_SERVER_USERNAME")?.unwrap_or_else(|| child::USER.to_owned());
    let password = match variable("OPENCODE_SERVER_PASSWORD")? {
        Some(password) => Some(password),
        None => variable("OPENCODE_PASSWORD")?,
    };
    Ok(password.map(|password| format!("{user}:{password}")))
}

fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("the variable {name} is not UTF-8")),
    }
}

/// Asks the server which opencode it is.
async fn identify(upstream: &Upstream) -> Result<(Generation, String), String> {
    let address = upstream.authority();
    for (path, generation) in
        [("/global/health", Generation::First), ("/api/info", Generation::Second)]
    {
        let Some(response) = upstream.get(path).await else {
            return Err(format!(
                "failed to reach opencode at http://{address}: is it running there?"
            ));
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(format!(
                "opencode at http://{address} does not accept the password: set OPENCODE_SERVER_PASSWORD \
                 to the one that it was started with"
            ));
        }
        let body = to_bytes(Body::new(response.into_body()), LONGEST_VERSION).await;
        let version = body
            .ok()
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok())
            .and_then(|body| Some(body.get("version")?.as_str()?.to_owned()));
        if let Some(version) = version {
            return Ok((generation, version));
        }
    }
    Err(format!("the server at http://{address} is not opencode: it does not tell its version"))
}

async fn ended(server: Option<&mut Server>) -> String {
    match server {
        Some(server) => server.ended().await,
        None => std::future::pending().await,
    }
}

/// Ctrl-C, and the other signals that tell a program to end. They count from this call on, not only once the
/// future is polled.
fn interrupted() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
    };
    async move {
        #[cfg(unix)]
        if let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)] = signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}
