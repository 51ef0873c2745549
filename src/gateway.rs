//! The gateway: scoped tokens in front of an opencode server that is another program.
//!
//! The original opencode is written in TypeScript and cannot depend on this crate. `opencode-auth gateway`
//! starts it, or finds it running, and passes on each request that a token allows. [`GatewayCommand`] is
//! that command, for programs that are built with [`clap`].
//!
//! ```
//! use clap::Parser;
//! use opencode_auth::gateway::GatewayCommand;
//!
//! #[derive(Parser)]
//! enum Program {
//!     Gateway(GatewayCommand),
//! }
//!
//! let program = Program::try_parse_from(["program", "gateway", "--upstream", "http://127.0.0.1:4097"]);
//! assert!(program.is_ok());
//! // `command.run()` serves until Ctrl-C.
//! ```
//!
//! # What passes
//!
//! Bodies stream in both directions. The upstream receives the client's `Host`, its own password as
//! `Authorization`, and `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded` and `Via` as the gateway wrote
//! them. It never receives a token, a cookie of its own sessions, or what a client says of itself in these
//! headers. A response with status 401 from the upstream concerns the gateway's password, so the client
//! receives 502.
//!
//! # Security
//!
//! The gateway speaks no TLS: everybody between it and a client on another machine can read the token. A token
//! that may execute can read the upstream's password from the environment of the process that it runs in. The
//! password works on this machine, until the gateway ends.

mod access;
mod child;
mod command;
mod connection;
mod cors;
mod failure;
mod front;
mod headers;
mod health;
mod introduction;
mod log;
mod proxy;
mod run;
mod serve;
mod stop;
mod ticket;
mod upstream;
mod websocket;

pub use self::command::GatewayCommand;
