//! The hosts of a database.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::value::{NOT_ENCODED, Wrong, decoded};
use crate::store::postgres::error::PostgresProblem;
use crate::store::postgres::password;

/// One host of the database.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(super) config: Config,
    host: String,
    pub(super) port: u16,
    password_file: Option<Arc<str>>,
    pub(crate) is_encrypted: bool,
}

impl Endpoint {
    /// The configuration for one connection. The password file is read for each: a password may change.
    pub(crate) fn config(&self) -> Result<Config, PostgresProblem> {
        let mut config = self.config.clone();
        if config.get_password().is_some() {
            return Ok(config);
        }
        let user = config.get_user().unwrap_or_default();
        let database = config.get_dbname().unwrap_or(user);
        if let Some(password) =
            password::find(self.password_file.as_deref(), &self.host, self.port, database, user)?
        {
            config.password(password);
        }
        Ok(config)
    }
}

/// A host of the authority, and its port, which may be empty.
pub(super) fn host_and_port(text: &str) -> Result<(String, &str), Wrong> {
    // An IPv6 address is in brackets.
    let (host, port) = match text.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, "")) => (host, ""),
        Some((host, port)) => (host, port.strip_prefix(':').ok_or(NOT_ENCODED)?),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    Ok((decoded(host)?, port))
}

pub(super) struct HostAndPort {
    host: String,
    /// The address of the host, in place of a look-up.
    address: Option<IpAddr>,
    port: u16,
}

impl HostAndPort {
    pub(super) fn new(host: String, address: Option<IpAddr>, port: &str) -> Result<Self, Wrong> {
        if host.is_empty() {
            return Err("the URL names no host, and neither does PGHOST; for a Unix socket, name \
                 its directory: `?host=/run/postgresql`"
                .into());
        }
        // The driver would connect to the address, without TLS.
        if address.is_some() && host.starts_with('/') {
            return Err("a Unix socket has no `hostaddr` (or PGHOSTADDR)".into());
        }
        // What is no number may be a part of a password.
        let port = if port.is_empty() { "5432" } else { port };
        Ok(Self { host, address, port: port.parse().map_err(|_| NOT_ENCODED)? })
    }

    pub(super) fn endpoint(
        self,
        template: &Config,
        encryption: Option<bool>,
        password_file: Option<Arc<str>>,
    ) -> Endpoint {
        let mut config = template.clone();
        config.host(&self.host).port(self.port);
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        // PostgreSQL has no TLS on Unix sockets.
        let is_encrypted = !self.is_socket() && encryption.unwrap_or(!self.is_local());
        config.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
        Endpoint { config, host: self.host, port: self.port, password_file, is_encrypted }
    }

    /// Whether no other machine can read a plain connection.
    pub(super) fn is_local(&self) -> bool {
        let address = self.address.or_else(|| self.host.parse().ok());
        self.is_socket()
            || address.map_or(self.host == "localhost", |address| address.is_loopback())
    }

    /// A path is a Unix socket's directory.
    fn is_socket(&self) -> bool {
        cfg!(unix) && self.host.starts_with('/')
    }

    /// The host and its port as a URL names them.
    pub(super) fn in_url(&self) -> String {
        match (&*self.host, self.port) {
            (path, port) if path.starts_with('/') => format!("{}:{port}", path.replace('/', "%2F")),
            (host, port) if host.contains(':') => format!("[{host}]:{port}"),
            (host, port) => format!("{host}:{port}"),
        }
    }
}
