//! Scoped bearer tokens for the opencode server: a [`tower::Layer`] that checks each request against a token
//! file, and responds 401 or 403 before a route runs.
//!
//! opencode's HTTP API runs shells, starts processes and drives agents on the server's machine. It shipped without
//! authentication (CVE-2026-22812), and machines were taken over. With this crate, a server wraps its finished
//! router in [`AuthLayer`]. Tokens are stored hashed in `~/.config/opencode/auth-tokens.json`
//! ([`FileTokenStore`]). A [`Policy`] infers from the method and the path whether a request requires the
//! permission to read, write or execute.
//!
//! ```
//! use axum::{Router, body::Body, http::{Request, StatusCode}, routing::get};
//! use opencode_auth::{AuthLayer, FileTokenStore, NewToken, Permissions, Principal};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("auth-tokens.json");
//! // `FileTokenStore::open_default()` opens the user's own store.
//! let store = FileTokenStore::open(&path)?;
//! let created = store.create(NewToken::new().name("dashboard").permissions(Permissions::READ))?;
//!
//! let app = Router::new()
//!     .route("/config", get(async |principal: Principal| format!("hello, {}", principal.id())))
//!     .route("/session", get(async || "sessions"))
//!     .layer(AuthLayer::new(store));
//!
//! let status = async |path: &str, token: Option<&str>| {
//!     let mut request = Request::get(path);
//!     if let Some(token) = token {
//!         request = request.header("authorization", format!("Bearer {token}"));
//!     }
//!     app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
//! };
//! let token = created.token.expose_secret();
//! assert_eq!(status("/config", Some(token)).await, StatusCode::OK);
//! assert_eq!(status("/config", None).await, StatusCode::UNAUTHORIZED);
//! assert_eq!(status("/session", Some(token)).await, StatusCode::FORBIDDEN); // requires execute as well
//! # Ok(())
//! # }
//! ```
//!
//! The [`guide`] shows how to guard a server that already exists.
//!
//! # How a request is decided
//!
//! 1. The [`Policy`] decides what the request requires.
//! 2. [`CredentialSources`] read its token: from the `Authorization: Bearer` header, or from another place that
//!    the host has switched on.
//! 3. The [`TokenStore`] finds the record of the token.
//! 4. The record decides. An allowed request gets a [`Principal`] in its extensions. The response to a denied one
//!    has its [`Denial`] there.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` | [`cli::TokenCommand`](https://docs.rs/opencode-auth/latest/opencode_auth/cli/): the token commands for programs built with clap, and the binary `opencode-auth` |
//! | `gateway` | the command `opencode-auth gateway`, which guards an opencode server that is another program |
//! | `postgres` | [`PostgresTokenStore`](https://docs.rs/opencode-auth/latest/opencode_auth/struct.PostgresTokenStore.html): tokens in PostgreSQL, for many servers that share them |
//!
//! None is on by default.
//!
//! # Security
//!
//! - Doubt is a denial. A path that two routers could read differently requires all three permissions, and so
//!   does an unknown method. If the store cannot be read, the response is 503: neither "yes" nor "no".
//! - A revoked token is denied from the first request that starts after
//!   [`delete`](FileTokenStore::delete) returned, in every process. Its open streams end.
//! - No secret is in a log, an error, a `Debug` output or the file, which has SHA-256 digests.
//!
//! # What it is not
//!
//! There are no users, sessions, roles, OAuth or JWT, and there is no TLS. There is no rate limit, because 128
//! random bits cannot be guessed.

mod redact;
mod shell;
mod hex;
mod permission;
mod token;
mod timestamp;
mod record;
mod carrier;
mod store;
mod policy;
mod unguarded;
mod decision;
mod watch;
mod principal;
mod credentials;
mod origin;
mod response;
mod event;
mod stream;
mod upload;
mod drain;
mod guard;
mod future;
mod service;
mod layer;
#[cfg(feature = "cli")]
pub mod cli;
pub mod guide;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;

pub use crate::carrier::Carrier;
pub use crate::credentials::{CredentialSources, Ticket, Tickets};
pub use crate::decision::Denial;
pub use crate::future::ResponseFuture;
pub use crate::layer::AuthLayer;
pub use crate::origin::OriginError;
pub use crate::permission::{ParsePermissionsError, Permission, Permissions};
pub use crate::policy::{
    Ambiguity, Audit, Decision, DirectoryError, Doubt, Drift, OpenApi, OpenApiError, OpencodeV2,
    Operation, PathPrefix, PatternError, Policy, Requirement, Route, RouteError, Rule,
};
pub use crate::principal::{Principal, PrincipalMissing};
pub use crate::record::{
    Expiry, NameError, NewToken, NewTokenError, ParseExpiryError, TokenRecord,
};
pub use crate::service::AuthService;
pub use crate::store::{
    ChangeError, Created, Deleted, Durability, FileMode, FileStoreError, FileTokenStore,
    FileTokenStoreOptions, FormatProblem, LeasedSnapshot, Lookup, LookupFuture, LookupResult,
    MemoryTokenStore, Records, Refresh, Refreshed, Refresher, Rotated, StoreError, TokenStore,
    TrustProblem,
};
#[cfg(feature = "postgres")]
pub use crate::store::{
    PostgresProblem, PostgresReport, PostgresStoreError, PostgresTokenStore, RealmReport,
};
pub use crate::stream::{AnyBody, AuthBody, AxumBody, ResponseBody};
pub use crate::token::{
    ParseTokenError, ParseTokenIdError, RandomError, Token, TokenDigest, TokenId,
};
pub use crate::unguarded::{Unguarded, unguarded};
pub use crate::watch::Ended;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
