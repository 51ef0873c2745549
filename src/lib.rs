//! Bearer-token authentication for the opencode server: a [`tower::Layer`] that checks tokens against a
//! file and answers 401 or 403 before a request reaches a route.
//!
//! opencode's HTTP API runs shells, starts processes and drives agents on its host. It was shipped
//! without authentication (CVE-2026-22812), and whoever could reach the port could take the machine over.
//! This crate is the missing part. A server wraps its finished router in [`AuthLayer`]; tokens live in
//! `~/.config/opencode/auth-tokens.json` ([`FileTokenStore`]), hashed; a [`Policy`] infers from method
//! and path whether a request needs to read, write or execute.
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
//! assert_eq!(status("/session", Some(token)).await, StatusCode::FORBIDDEN); // needs execute as well
//! # Ok(())
//! # }
//! ```
//!
//! # The line a request walks
//!
//! The [`Policy`] says what the request requires. The credentials are read from its headers. The
//! [`TokenStore`] finds the record of the token's digest, and the record decides. An allowed request gets a
//! [`Principal`] in its extensions; the response to a denied one has its [`Denial`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `cli` | off | [`cli::TokenCommand`](https://docs.rs/opencode-auth/latest/opencode_auth/cli/), the commands `create`, `list`, `delete` and more for programs built with clap, and the binary `opencode-auth` |
//! | `postgres` | off | `PostgresTokenStore`: tokens in PostgreSQL, for many servers that share them |
//!
//! `TOKEN=$(opencode-auth token create --name ci)` makes a token, `opencode-auth token delete ci` revokes it.
//!
//! # Security
//!
//! - Doubt is a refusal. A path that two routers could read differently needs every permission, a method
//!   that is not known too, and a store that cannot be read is answered 503, never "yes" and never "no".
//! - A revoked token is refused by the first request that starts after
//!   [`delete`](FileTokenStore::delete) returned, in whichever process.
//! - Open streams end with their token. A handler of a WebSocket waits for [`Principal::ended`].
//! - No secret is in a log, an error, a `Debug` output or the file, which holds SHA-256 digests.
//!
//! # What it is not
//!
//! There are no users, sessions, roles, OAuth or JWT; no TLS; no rate limiting, since tokens of 128 bits
//! cannot be guessed.

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
    Ambiguity, Decision, DirectoryError, Doubt, OpencodeV2, Operation, PathPrefix, PatternError,
    Policy, Requirement, Rule,
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
pub use crate::watch::Ended;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
