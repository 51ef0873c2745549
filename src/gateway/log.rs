//! One line a request: who did what. No secret is in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::cli::may_hold_token;
use crate::{Carrier, Denial, Principal};

/// The longest path that is logged whole, in bytes.
const LONGEST_PATH: usize = 512;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// Words and `name=value`
    #[default]
    Text,
    /// A JSON object on each line
    Json,
}

/// Where events will go: to standard error, or to the end of a file that only its owner can read.
pub(super) struct Log(Dispatch);

/// Opens the log. It begins with [`Log::start`].
pub(super) fn open(file: Option<&Path>, format: LogFormat) -> Result<Log, String> {
    let writer = match file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => BoxMakeWriter::new(Arc::new(append(path).map_err(|error| {
            format!(
                "failed to open the log `{}`: {error}; choose another file with --log",
                path.display()
            )
        })?)),
    };
    // The line of a request says what the library's event of its denial says.
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("opencode_auth::event", LevelFilter::OFF);
    let layer = fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    Ok(Log(registry().with(layer.with_filter(filter)).into()))
}

impl Log {
    pub(super) fn start(self) -> Result<(), String> {
        self.0.try_init().map_err(|error| format!("failed to start the log: {error}"))
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The line of one request. It is written when the response begins, or when the client goes away before.
pub(super) struct Line {
    started: Instant,
    method: Method,
    path: String,
    is_written: bool,
}

impl Line {
    pub(super) fn begin(request: &Request) -> Self {
        Self {
            started: Instant::now(),
            method: request.method().clone(),
            path: printable(request.uri().path()),
            is_written: false,
        }
    }

    pub(super) fn write(mut self, response: &Response) {
        self.is_written = true;
        let principal = response.extensions().get::<Principal>();
        let denial = response.extensions().get::<Denial>();
        let token = principal.map(Principal::id).or_else(|| denial.and_then(Denial::token_id));
        tracing::event!(
            Level::INFO,
            method = %printable(self.method.as_str()),
            path = self.path,
            status = response.status().as_u16(),
            token = token.map(tracing::field::display),
            name = principal.and_then(Principal::name),
            carrier = principal.map(|principal| carrier(principal.carrier())),
            denial = denial.map(Denial::kind),
            ms = self.milliseconds(),
            "request"
        );
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.is_written {
            tracing::event!(
                Level::INFO,
                method = %printable(self.method.as_str()),
                path = self.path,
                ms = self.milliseconds(),
                "request ended by the client"
            );
        }
    }
}

const fn carrier(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Bearer => "bearer",
        Carrier::Basic => "basic",
        Carrier::Header => "header",
        Carrier::Query => "query",
        Carrier::WebSocketProtocol => "websocket_protocol",
        Carrier::Ticket => "ticket",
    }
}

/// Text from outside as it may be logged: not too long, without control characters, and without a token
/// that somebody put there.
fn printable(text: &str) -> String {
    if may_hold_token(text) {
        return "<contains a token>".to_owned();
    }
    let mut end = text.len().min(LONGEST_PATH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].escape_default().to_string()
}
