//! What the gateway requires of requests.

use axum::http::Method;
use clap::ValueEnum;

use crate::gateway::health;
use crate::{Permissions, Policy};

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

/// What browsers fetch without a credential: icons, by rule, and the parts of a page that was opened by link.
const PUBLIC: [&str; 9] = [
    "/site.webmanifest",
    "/web-app-manifest-192x192.png",
    "/web-app-manifest-512x512.png",
    "/favicon-96x96-v3.png",
    "/favicon-v3.svg",
    "/favicon-v3.ico",
    "/favicon.ico",
    "/apple-touch-icon-v3.png",
    "/assets/{*rest}",
];

/// The addresses of the web page of opencode 1.18. No operation of the API has one of them.
const PAGE: [&str; 4] =
    ["/", "/new-session", "/{directory}/session/{id}", "/server/{key}/session/{id}"];

pub(super) fn policy(table: Table, generation: Generation, web_page: bool) -> Policy {
    let policy = match (table, generation) {
        (Table::Opencode, Generation::Second) if web_page => {
            // The page is whatever is not the API, the public files included.
            return Policy::opencode_v2()
                .public_web_page()
                .public(Method::GET, health::PATH)
                .into();
        }
        (Table::Opencode, Generation::First) => {
            PAGE.iter().fold(Policy::opencode(), |policy, path| {
                policy.rule(Method::GET, path, Permissions::READ)
            })
        }
        (Table::Opencode, Generation::Second) => Policy::opencode(),
        (Table::Default, _) => Policy::default(),
    };
    PUBLIC
        .iter()
        .fold(policy, |policy, path| policy.public(Method::GET, path))
        .public(Method::GET, health::PATH)
}
