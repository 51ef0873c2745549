use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri};
use clap::ValueHint;

use crate::cli::Exit;
use crate::gateway::access::Table;
use crate::gateway::log::{self, LogFormat};
use crate::gateway::run;
use crate::{DirectoryError, FileTokenStore, Policy};

/// The command `opencode-auth gateway`, with its arguments, as they were parsed from a command line.
#[derive(clap::Args)]
#[command(
    about = "Guard an opencode server that is another program",
    long_about = None,
    after_help = "\
Without --upstream, the gateway starts `opencode serve` on a free port with a random password, and ends it
when it ends itself. With --upstream, it reads the password of the server from OPENCODE_SERVER_PASSWORD or
OPENCODE_PASSWORD.

Examples:
  opencode-auth gateway
  opencode-auth gateway -- opencode serve --print-logs
  opencode-auth gateway --upstream http://127.0.0.1:4097"
)]
pub struct GatewayCommand {
    /// The address and port to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4096")]
    listen: SocketAddr,

    /// The opencode server that runs already
    #[arg(long, value_name = "URL", conflicts_with = "command", value_parser = parse_upstream)]
    upstream: Option<Authority>,

    /// The file with the tokens [default: that of `opencode-auth token`]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    store: Option<PathBuf>,

    /// The table by which permissions are required
    #[arg(long, value_enum, default_value_t)]
    policy: Table,

    /// Open the web page of opencode 2.0 to everybody; its API stays guarded
    #[arg(long)]
    web_page: bool,

    /// A directory that requests may name, with what is under it; another one takes all three permissions
    /// [default: every one]; may be repeated
    #[arg(long, value_name = "DIR", value_parser = parse_directory)]
    directory: Vec<String>,

    /// An origin whose pages may use the server; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<HeaderValue>,

    /// Append a line for each request to this file [default: standard error]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log: Option<PathBuf>,

    /// How these lines are written
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,

    /// The command that starts opencode [default: opencode serve]
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

impl GatewayCommand {
    /// Serves until Ctrl-C, SIGTERM, or until the server behind it ends.
    pub fn run(self) -> Exit {
        match self.try_run() {
            Ok(()) => Exit::Done,
            Err(failure) => {
                say(format_args!("error: {failure}"));
                Exit::Failed
            }
        }
    }

    fn try_run(self) -> Result<(), String> {
        let log = log::open(self.log.as_deref(), self.log_format)?;
        let store = match &self.store {
            Some(path) => FileTokenStore::open(path),
            None => FileTokenStore::open_default(),
        };
        let store = store.map_err(|error| error.to_string())?;
        let listener = TcpListener::bind(self.listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| {
                format!(
                    "failed to listen on `{}`: {error}; choose another address with --listen",
                    self.listen
                )
            })?;
        if !self.listen.ip().is_loopback() {
            say(format_args!(
                "warning: other machines can reach `{}`, and without TLS everybody on the way can read the \
                 tokens: put Caddy, nginx or Tailscale in front",
                self.listen
            ));
        }
        if let Some(upstream) = &self.upstream
            && !is_loopback(upstream)
        {
            say(format_args!(
                "warning: the password of `{upstream}` is sent to another machine without TLS"
            ));
        }
        let setup = run::Setup {
            listener,
            log,
            upstream: self.upstream,
            command: self.command,
            store,
            table: self.policy,
            web_page: self.web_page,
            directories: self.directory,
            origins: self.cors,
        };
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("failed to start the runtime: {error}"))?
            .block_on(run::run(setup))
    }
}

impl fmt::Debug for GatewayCommand {
    /// Omits the arguments, because a user may have typed a password or a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCommand").finish_non_exhaustive()
    }
}

fn parse_upstream(text: &str) -> Result<Authority, String> {
    let uri: Uri = text.parse().map_err(|_| "it is not a URL such as http://127.0.0.1:4097")?;
    if uri.scheme_str() == Some("https") {
        return Err(
            "the gateway does not speak TLS: name a server on this machine with http://".to_owned()
        );
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err("the password belongs into the variable OPENCODE_SERVER_PASSWORD".to_owned())
        }
        Some(authority)
            if uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none() =>
        {
            Ok(authority.clone())
        }
        _ => Err("it is not a URL such as http://127.0.0.1:4097".to_owned()),
    }
}

fn parse_directory(text: &str) -> Result<String, DirectoryError> {
    Policy::by_method().try_directories([text]).map(|_| text.to_owned())
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a person reads, on standard error. If it cannot be written, there is nobody to tell.
fn say(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
