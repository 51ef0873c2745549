//! Where the database is: the URL and what it leaves to the environment.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::redact;
use crate::store::postgres::error::{PostgresProblem, PostgresStoreError};
use crate::store::postgres::password;

const DEFAULT_REALM: &str = "default";

/// A parsed URL of a store.
#[derive(Clone)]
pub(crate) struct Address {
    /// One for each host, in the order of the URL.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) realm: Arc<str>,
    /// The certificates to trust. `None` is the system's.
    pub(crate) root_certificates: Option<PathBuf>,
    /// The URL without its password.
    pub(crate) location: Arc<str>,
}

/// One host of the database.
#[derive(Clone)]
pub(crate) struct Endpoint {
    config: Config,
    host: String,
    port: u16,
    pub(crate) is_encrypted: bool,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, PostgresStoreError> {
        Parts::split(url).and_then(Parts::address).map_err(|problem| {
            PostgresStoreError::new(&"postgres://…".into(), PostgresProblem::Url(problem))
        })
    }

    pub(crate) fn error(&self, problem: PostgresProblem) -> PostgresStoreError {
        PostgresStoreError::new(&self.location, problem)
    }
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
        if let Some(password) = password::find(&self.host, self.port, database, user)? {
            config.password(password);
        }
        Ok(config)
    }
}

/// The pieces of a URL, still percent-encoded.
struct Parts<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    hosts: &'a str,
    database: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

const NOT_ENCODED: &str = "the URL cannot be read; percent-encode the characters of the password that have a meaning in URLs";

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, &'static str> {
        if redact::may_hold_token(url) {
            return Err("there is a token in the URL, which is not repeated here");
        }
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("the URL does not begin with postgres://")?;
        if rest.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err("there is white space in the URL");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => (Some(user), Some(password)),
            None => (None, None),
        };
        // An `@` in the query is a password with a `?` in it, and the driver would look for a user before it.
        if database.contains(['/', '@', ':']) || query.contains('@') {
            return Err(NOT_ENCODED);
        }
        let parameters = query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').ok_or(NOT_ENCODED))
            .collect::<Result<_, _>>()?;
        let present = |text: &&str| !text.is_empty();
        Ok(Self {
            user: user.filter(present),
            password: password.filter(present),
            hosts,
            database,
            parameters,
        })
    }

    fn address(mut self) -> Result<Address, &'static str> {
        let realm = self.take("realm")?.unwrap_or(DEFAULT_REALM.to_owned());
        let is_realm = (1..=64).contains(&realm.len())
            && realm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_realm {
            return Err("a realm has 1 to 64 letters, digits, dots, dashes and underscores");
        }
        let root_certificates = self.take("sslrootcert")?.filter(|path| path != "system");
        let encryption = match self.take("sslmode")?.as_deref() {
            None => None,
            Some("disable") => Some(false),
            // All of them verify the certificate and the host's name here.
            Some("require" | "verify-ca" | "verify-full") => Some(true),
            Some(_) => {
                return Err("`sslmode` is `verify-full` (a verified certificate) or `disable`");
            }
        };
        let user = match self.take("user")?.or(self.user.map(decoded).transpose()?) {
            Some(user) => Some(user),
            None => env::var("PGUSER").ok().filter(|user| !user.is_empty()),
        };
        let password = self.take("password")?.or(self.password.map(decoded).transpose()?);
        let database = self.take("dbname")?.unwrap_or(decoded(self.database)?);
        let hosts = self.hosts()?;

        let others: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut template: Config = format!("postgres://?{}", others.join("&")).parse().map_err(
            |_| "the URL has a parameter that is not known, or has a value that it cannot have",
        )?;
        if let Some(user) = &user {
            template.user(user);
        }
        if let Some(password) = &password {
            template.password(password);
        }
        if !database.is_empty() {
            template.dbname(&database);
        }
        if template.get_application_name().is_none() {
            template.application_name("opencode-auth");
        }

        let shown_hosts: Vec<String> = hosts.iter().map(HostAndPort::shown).collect();
        let location = format!(
            "postgres://{}{}/{}?realm={realm}",
            user.map(|user| format!("{user}@")).unwrap_or_default(),
            shown_hosts.join(","),
            database,
        );
        let endpoints =
            hosts.into_iter().map(|host| host.endpoint(&template, encryption)).collect();
        Ok(Address {
            endpoints,
            realm: realm.into(),
            root_certificates: root_certificates.map(PathBuf::from),
            location: redact::escape(&location).into(),
        })
    }

    /// Takes a parameter out of the query. The last one counts, as in libpq.
    fn take(&mut self, name: &str) -> Result<Option<String>, &'static str> {
        let values: Vec<&str> = self
            .parameters
            .extract_if(.., |(parameter, _)| *parameter == name)
            .map(|(_, value)| value)
            .collect();
        values.last().map(|value| decoded(value)).transpose()
    }

    fn hosts(&mut self) -> Result<Vec<HostAndPort>, &'static str> {
        let (hosts, ports) = (self.take("host")?, self.take("port")?);
        if let Some(hosts) = hosts {
            let ports: Vec<&str> = ports.iter().flat_map(|ports| ports.split(',')).collect();
            return hosts
                .split(',')
                .enumerate()
                .map(|(index, host)| {
                    let port = ports.get(index).or(ports.first()).copied();
                    HostAndPort::new(host.to_owned(), port)
                })
                .collect();
        }
        self.hosts
            .split(',')
            .map(|host| {
                // An IPv6 address is in brackets.
                let (host, port) = match host
                    .strip_prefix('[')
                    .and_then(|host| host.split_once(']'))
                {
                    Some((host, "")) => (host, None),
                    Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(NOT_ENCODED)?)),
                    None => match host.split_once(':') {
                        Some((host, port)) => (host, Some(port)),
                        None => (host, None),
                    },
                };
                HostAndPort::new(decoded(host)?, port.or(ports.as_deref()))
            })
            .collect()
    }
}

struct HostAndPort {
    host: String,
    port: u16,
}

impl HostAndPort {
    fn new(host: String, port: Option<&str>) -> Result<Self, &'static str> {
        if host.is_empty() {
            return Err(
                "the URL names no host; for a Unix socket, name its directory: `?host=/run/postgresql`",
            );
        }
        // What is no number may be a part of a password.
        let port = port.filter(|port| !port.is_empty()).unwrap_or("5432");
        Ok(Self { host, port: port.parse().map_err(|_| NOT_ENCODED)? })
    }

    fn endpoint(self, template: &Config, encryption: Option<bool>) -> Endpoint {
        let mut config = template.clone();
        // A path is a Unix socket's directory.
        config.host(&self.host).port(self.port);
        let is_socket = !matches!(config.get_hosts(), [Host::Tcp(_)]);
        let is_loopback = match config.get_hostaddrs() {
            [] => {
                self.host == "localhost"
                    || self
                        .host
                        .parse()
                        .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }
            addresses => addresses.iter().all(std::net::IpAddr::is_loopback),
        };
        // PostgreSQL has no TLS on Unix sockets.
        let is_encrypted = !is_socket && encryption.unwrap_or(!is_loopback);
        config.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
        Endpoint { config, host: self.host, port: self.port, is_encrypted }
    }

    fn shown(&self) -> String {
        match (&*self.host, self.port) {
            (path, port) if path.starts_with('/') => format!("{}:{port}", path.replace('/', "%2F")),
            (host, port) if host.contains(':') => format!("[{host}]:{port}"),
            (host, port) => format!("{host}:{port}"),
        }
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| NOT_ENCODED)?;
    if decoded.contains('\0') {
        return Err("there is a zero byte in the URL");
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests;
