//! A small server in the shape of opencode's, behind the layer. It accepts what stock opencode clients send.
//!
//! ```console
//! $ cargo run --example server
//! $ cargo run --example server -- --listen 127.0.0.1:8080 --store ./auth-tokens.json
//! ```

mod app;

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{self, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use opencode_auth::{Expiry, FileTokenStore, NewToken, Permissions};
use tokio::net::TcpListener;
use tokio::sync::watch;

const USAGE: &str = "\
A small server in the shape of opencode's, guarded by opencode-auth.

Usage: server [--listen ADDR] [--store PATH]

Options:
  --listen ADDR  where to listen; port 0 takes a free one  [default: 127.0.0.1:4096]
  --store PATH   the file with the tokens  [default: a new one in a temporary directory, with three
                 tokens that work for an hour]
  --help         print this

RUST_LOG=debug shows more of what goes on.
";

/// How long requests under way may take to finish after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

type AnyError = Box<dyn Error + Send + Sync>;

struct Options {
    listen: SocketAddr,
    store: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            let _ = write!(io::stderr(), "error: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `None` for `--help`.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 4096)), store: None };
    while let Some(argument) = arguments.next() {
        let (flag, attached) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (&*argument, None),
        };
        let mut value =
            || attached.clone().or_else(|| arguments.next()).ok_or(format!("{flag} takes a value"));
        match flag {
            "--listen" => {
                let value = value()?;
                options.listen = value.parse().map_err(|_| {
                    format!(
                        "--listen takes an address and a port such as 127.0.0.1:4096, not `{value}`"
                    )
                })?;
            }
            "--store" => options.store = Some(value()?.into()),
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("`{argument}` is not known")),
        }
    }
    Ok(Some(options))
}

async fn run(options: Options) -> Result<(), AnyError> {
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        format!(
            "failed to listen on `{}`: {error}; choose another address with --listen",
            options.listen
        )
    })?;
    let address = reachable(listener.local_addr()?);

    // Dropped after the server has ended, which removes the directory.
    let (store, _directory) = if let Some(path) = &options.store {
        (FileTokenStore::open(path)?, None)
    } else {
        let directory = tempfile::tempdir()?;
        (FileTokenStore::open(directory.path().join("auth-tokens.json"))?, Some(directory))
    };
    // Creating a token waits for the disk, so it runs off the runtime's workers.
    let introduction = {
        let store = store.clone();
        tokio::task::spawn_blocking(move || match &options.store {
            None => try_out(&store, address),
            Some(path) => make_usable(&store, path, address),
        })
        .await??
    };
    // Before anyone is told that the server runs, so that Ctrl-C ends it in good order from then on.
    let interruption = interrupted();
    io::stdout().write_all(introduction.as_bytes())?;
    // Only now: that the new store was missing a moment ago is no news.
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let (stop, stopped) = watch::channel(false);
    let app = app::guarded(store, stopped.clone());
    let serve = axum::serve(listener, app).with_graceful_shutdown(async move {
        interruption.await;
        // Streams do not end by themselves.
        let _ = stop.send(true);
    });
    let overdue = async {
        let mut stopped = stopped;
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serve => served?,
        () = overdue => tracing::warn!("requests were still under way and have been cut off"),
    }
    Ok(())
}

/// The address with which a client on this machine reaches the server.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            [0, 0, 0, 0, 0, 0, 0, 1].into()
        });
    }
    address
}

/// Three tokens to try the server with, and what to try.
fn try_out(store: &FileTokenStore, address: SocketAddr) -> Result<String, AnyError> {
    let token = |name: &str, permissions| {
        store.create(NewToken::new().name(name).permissions(permissions).expires(Expiry::hours(1)))
    };
    let read = token("read", Permissions::READ)?;
    let write = token("write", Permissions::READ | Permissions::WRITE)?;
    let all = token("all", Permissions::ALL)?;
    Ok(format!(
        "\
Listening on http://{address} until Ctrl-C.

These three tokens may read; read and write; do everything. They work for an
hour and are shown only here. They are kept, hashed, in
{store}, which is removed when the server ends.

  READ={read}
  WRITE={write}
  ALL={all}

Paste those lines into another terminal, and then, one by one:

Without a token: 401
  curl -i http://{address}/config

With a token that may read, a request that reads: 200
  curl -i -H \"Authorization: Bearer $READ\" http://{address}/config

With the token as the password, as opencode's own clients send it: 200
  curl -i -u any:$READ http://{address}/config

With the same, a request that requires more: 403
  curl -i -H \"Authorization: Bearer $READ\" -X POST http://{address}/session

With a token that may do it: 200
  curl -i -H \"Authorization: Bearer $ALL\" -X POST http://{address}/session

A change of the configuration requires write: 200
  curl -i -H \"Authorization: Bearer $WRITE\" --json '{{\"share\":\"auto\"}}' -X PATCH http://{address}/config

A route that is public: 200
  curl -i http://{address}/global/health

In a browser, by a link, or at http://{address}/ with the token as the password:
  http://{address}/?auth_token={all}

A stream of events:
  curl -N -u any:$READ http://{address}/event

It ends when its token is deleted. Leave it open, and in a third terminal:
  cargo run --features cli --bin opencode-auth -- token delete read --store '{store}'

",
        store = store.path().display(),
        read = read.token.expose_secret(),
        write = write.token.expose_secret(),
        all = all.token.expose_secret(),
    ))
}

/// Creates a token if the store is empty, and prints what to try.
fn make_usable(
    store: &FileTokenStore,
    path: &path::Path,
    address: SocketAddr,
) -> Result<String, AnyError> {
    let path = path.display();
    let introduction = if store.list()?.is_empty() {
        let created = store.create(NewToken::new())?;
        format!(
            "The store held no token. This one may do everything, works for 90 days, and is\n\
             shown only here:\n\n  TOKEN={}\n\nPaste that line into another terminal, and then, one by one:\n",
            created.token.expose_secret(),
        )
    } else {
        format!(
            "Using the tokens of that store. To make one:\n\n  \
             TOKEN=$(cargo run --features cli --bin opencode-auth -- token create --store '{path}')\n\n\
             And then, one by one:\n",
        )
    };
    Ok(format!(
        "\
Listening on http://{address} until Ctrl-C, with the store
{path}.

{introduction}
Without a token: 401
  curl -i http://{address}/config

With one: 200
  curl -i -H \"Authorization: Bearer $TOKEN\" http://{address}/config

With the token as the password, as opencode's own clients send it: 200
  curl -i -u any:$TOKEN http://{address}/config

In a browser, with your token in the place of TOKEN:
  http://{address}/?auth_token=TOKEN

A stream of events, which ends when its token is deleted:
  curl -N -u any:$TOKEN http://{address}/event

"
    ))
}

/// Ctrl-C or SIGTERM, from this call on.
fn interrupted() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        [SignalKind::interrupt(), SignalKind::terminate()].map(signal)
    };
    async move {
        #[cfg(unix)]
        if let [Ok(mut interrupt), Ok(mut terminate)] = signals {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}
