//! What the gateway requires of requests.

use axum::http::Method;
use clap::ValueEnum;

use crate::Policy;
use crate::gateway::health;

/// The table by which permissions are required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Table {
    /// The operations of opencode 1.18 and 2.0
    #[default]
    Opencode,
    /// Read for GET, write for POST and so on
    Default,
}

/// The generation of an opencode server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// 1.18: its API is at the root, and its web page wherever there is no API.
    First,
    /// 2.0: its API is under `/api`, with a public web page everywhere else.
    Second,
}

/// What browsers fetch without a credential, by rule or when a page was opened by link.
const PUBLIC: [&str; 8] = [
    "/site.webmanifest",
    "/web-app-manifest-192x192.png",
    "/web-app-manifest-512x512.png",
    "/favicon-96x96-v3.png",
    "/favicon-v3.svg",
    "/favicon-v3.ico",
    "/favicon.ico",
    "/apple-touch-icon-v3.png",
];

pub(super) fn policy(table: Table, _generation: Generation, _web_page: bool) -> Policy {
    let policy = match table {
        Table::Opencode => Policy::opencode(),
        Table::Default => Policy::default(),
    };
    PUBLIC.iter().fold(policy.public(Method::GET, health::PATH), |policy, path| {
        policy.public(Method::GET, path)
    })
}
