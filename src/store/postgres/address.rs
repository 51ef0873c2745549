//! Where the database is: the URL and what it leaves to the environment.

mod value;
mod host;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;

pub(crate) use self::host::Endpoint;
use self::host::{HostAndPort, host_and_port};
use self::value::{NOT_ENCODED, Wrong, decoded, or_variable, variable};
use crate::redact;
use crate::store::postgres::error::{PostgresProblem, PostgresStoreError};

const DEFAULT_REALM: &str = "default";

/// The parameters that are left to the driver, and what it calls them.
const OF_DRIVER: [(&str, &str); 8] = [
    ("application_name", "application_name"),
    ("connect_timeout", "connect_timeout"),
    ("keepalives", "keepalives"),
    ("keepalives_count", "keepalives_retries"),
    ("keepalives_idle", "keepalives_idle"),
    ("keepalives_interval", "keepalives_interval"),
    ("options", "options"),
    ("tcp_user_timeout", "tcp_user_timeout"),
];

/// Parameters of libpq that would have no effect here. An error names them, and no others: a name may be a
/// part of a password that was not percent-encoded.
const WITHOUT_EFFECT: [&str; 25] = [
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
];

/// Variables of libpq that ask for a check that is not made here.
const UNKEPT: [&str; 5] =
    ["PGREQUIREAUTH", "PGREQUIREPEER", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLMINPROTOCOLVERSION"];

/// A parsed URL of a store.
#[derive(Clone)]
pub(crate) struct Address {
    /// One for each host, in the order of the URL.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) realm: Arc<str>,
    /// The certificates to trust. `None` is the system's.
    pub(crate) root_certificates: Option<PathBuf>,
    /// The file with the client's certificate, and the one with its key.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    /// The URL without its password.
    pub(crate) location: Arc<str>,
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

/// The pieces of a URL, still percent-encoded.
struct Parts<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    hosts: &'a str,
    database: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, Wrong> {
        if redact::may_hold_token(url) {
            return Err("there is a token in the URL, which is not repeated here".into());
        }
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("the URL does not begin with postgres://")?;
        if rest.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err("there is white space in the URL".into());
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
            return Err(NOT_ENCODED.into());
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

    fn address(mut self) -> Result<Address, Wrong> {
        let realm = self.realm()?;
        let root_certificates =
            self.setting("sslrootcert", "PGSSLROOTCERT")?.filter(|path| path != "system");
        let client_certificate = self.client_certificate()?;
        let hosts = self.hosts()?;
        let encryption = self.encryption(&hosts, client_certificate.is_some())?;
        self.check_fixed_settings()?;

        let in_authority = self.user.map(decoded).transpose()?;
        let user = or_variable(self.take("user")?.or(in_authority), "PGUSER")?;
        let in_authority = self.password.map(decoded).transpose()?;
        let password = or_variable(self.take("password")?.or(in_authority), "PGPASSWORD")?;
        let password_file = self.setting("passfile", "PGPASSFILE")?.map(Arc::from);
        let in_path = Some(decoded(self.database)?).filter(|database| !database.is_empty());
        let database =
            or_variable(self.take("dbname")?.or(in_path), "PGDATABASE")?.unwrap_or_default();
        let mut template = self.driver_config()?;
        if let Some(user) = &user {
            template.user(user);
        }
        if let Some(password) = &password {
            template.password(password);
        }
        if !database.is_empty() {
            template.dbname(&database);
        }

        let hosts_in_url: Vec<String> = hosts.iter().map(HostAndPort::in_url).collect();
        let location = format!(
            "postgres://{}{}/{}?realm={realm}",
            user.map(|user| format!("{user}@")).unwrap_or_default(),
            hosts_in_url.join(","),
            database,
        );
        let endpoints = hosts
            .into_iter()
            .map(|host| host.endpoint(&template, encryption, password_file.clone()))
            .collect();
        Ok(Address {
            endpoints,
            realm: realm.into(),
            root_certificates: root_certificates.map(PathBuf::from),
            client_certificate,
            location: redact::escape(&location).into(),
        })
    }

    fn realm(&mut self) -> Result<String, Wrong> {
        let realm = self.take("realm")?.unwrap_or(DEFAULT_REALM.to_owned());
        let is_realm = (1..=64).contains(&realm.len())
            && realm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_realm {
            return Err("a realm has 1 to 64 letters, digits, dots, dashes and underscores".into());
        }
        Ok(realm)
    }

    fn client_certificate(&mut self) -> Result<Option<(PathBuf, PathBuf)>, Wrong> {
        match (self.setting("sslcert", "PGSSLCERT")?, self.setting("sslkey", "PGSSLKEY")?) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some((certificate.into(), key.into()))),
            _ => Err("`sslcert` and `sslkey` (or PGSSLCERT and PGSSLKEY) belong together".into()),
        }
    }

    /// Whether connections are encrypted. `None` is the default of each host.
    fn encryption(
        &mut self,
        hosts: &[HostAndPort],
        has_client_certificate: bool,
    ) -> Result<Option<bool>, Wrong> {
        let in_url = self.take("sslmode")?;
        let is_in_url = in_url.is_some();
        match or_variable(in_url, "PGSSLMODE")?.as_deref() {
            // A certificate is sent over TLS or not at all.
            None => Ok(has_client_certificate.then_some(true)),
            // A variable may have been set for another program.
            Some("disable") if !is_in_url && !hosts.iter().all(HostAndPort::is_local) => {
                Err("PGSSLMODE=disable counts on loopback and Unix sockets only; for another \
                     machine, write `sslmode=disable` in the URL"
                    .into())
            }
            Some("disable") => Ok(Some(false)),
            // All of them verify the certificate and the host's name here.
            Some("require" | "verify-ca" | "verify-full") => Ok(Some(true)),
            Some(_) => {
                Err("`sslmode` (or PGSSLMODE) is `verify-full` (a verified certificate) or \
                 `disable`"
                    .into())
            }
        }
    }

    /// Checks the settings that have no choice here: a value that asks for something else is an error.
    fn check_fixed_settings(&mut self) -> Result<(), Wrong> {
        match self.setting("target_session_attrs", "PGTARGETSESSIONATTRS")?.as_deref() {
            // It is what a store does: it uses no replica.
            None | Some("any" | "read-write" | "primary") => {}
            Some(_) => {
                return Err("`target_session_attrs` (or PGTARGETSESSIONATTRS) is `primary`: a \
                     replica may lag behind, so it cannot tell which tokens are valid"
                    .into());
            }
        }
        match self.setting("channel_binding", "PGCHANNELBINDING")?.as_deref() {
            None | Some("disable" | "prefer") => {}
            Some("require") => {
                return Err("`channel_binding=require` is not supported: the certificate is \
                     verified instead"
                    .into());
            }
            Some(_) => return Err("the parameter `channel_binding` cannot have this value".into()),
        }
        for name in UNKEPT {
            if variable(name)?.is_some() {
                return Err(format!("the variable {name} is not supported; unset it").into());
            }
        }
        Ok(())
    }

    /// The configuration from the parameters that are left.
    fn driver_config(&self) -> Result<Config, Wrong> {
        let mut parameters = Vec::new();
        for (name, value) in &self.parameters {
            if let Some(known) = WITHOUT_EFFECT.iter().find(|known| *known == name) {
                return Err(format!("the parameter `{known}` is not supported").into());
            }
            let Some((known, of_driver)) = OF_DRIVER.iter().find(|(known, _)| known == name) else {
                return Err("the URL has a parameter that is not known".into());
            };
            let parameter = format!("{of_driver}={value}");
            if format!("postgres://?{parameter}").parse::<Config>().is_err() {
                return Err(format!("the parameter `{known}` cannot have this value").into());
            }
            parameters.push(parameter);
        }
        let mut config: Config = format!("postgres://?{}", parameters.join("&"))
            .parse()
            .map_err(|_| "the parameters cannot be used together")?;
        if config.get_application_name().is_none() {
            config.application_name(variable("PGAPPNAME")?.unwrap_or("opencode-auth".to_owned()));
        }
        if config.get_connect_timeout().is_none()
            && let Some(seconds) = variable("PGCONNECT_TIMEOUT")?
        {
            let seconds: i64 =
                seconds.parse().map_err(|_| "PGCONNECT_TIMEOUT is a number of seconds")?;
            // To libpq, 0 and less is no limit. Here, as in the URL, it is the default.
            if let Ok(seconds @ 1..) = u64::try_from(seconds) {
                config.connect_timeout(Duration::from_secs(seconds));
            }
        }
        Ok(config)
    }

    /// A parameter, else the variable that libpq reads for it.
    fn setting(&mut self, name: &str, variable_name: &str) -> Result<Option<String>, Wrong> {
        or_variable(self.take(name)?, variable_name)
    }

    /// Takes a parameter out of the query. The last one counts, as in libpq.
    fn take(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        let values: Vec<&str> = self
            .parameters
            .extract_if(.., |(parameter, _)| *parameter == name)
            .map(|(_, value)| value)
            .collect();
        values.last().map(|value| decoded(value)).transpose()
    }

    fn hosts(&mut self) -> Result<Vec<HostAndPort>, Wrong> {
        let in_authority: Vec<(String, &str)> =
            self.hosts.split(',').map(host_and_port).collect::<Result<_, _>>()?;
        let (hosts, ports): (Vec<_>, Vec<_>) = in_authority.into_iter().unzip();
        let split = |hosts: &str| hosts.split(',').map(str::to_owned).collect();
        // As in libpq, `port` replaces all ports of the authority, and those also count for the hosts of `host`.
        let in_authority = Some(ports.join(",")).filter(|ports| !ports.is_empty());
        let ports = self.take("port")?.or(in_authority);
        let ports = or_variable(ports, "PGPORT")?.unwrap_or_default();
        let ports: Vec<&str> = ports.split(',').collect();
        let hosts: Vec<String> = match self.take("host")? {
            Some(hosts) => split(&hosts),
            None if self.hosts.is_empty() => split(&variable("PGHOST")?.unwrap_or_default()),
            None => hosts,
        };
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err("`port` (or PGPORT) names one port, or one for each host".into());
        }
        let addresses: Vec<IpAddr> = match self.setting("hostaddr", "PGHOSTADDR")? {
            None => Vec::new(),
            Some(addresses) => addresses
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| "`hostaddr` (or PGHOSTADDR) cannot have this value")?,
        };
        if !addresses.is_empty() && addresses.len() != hosts.len() {
            return Err("`hostaddr` (or PGHOSTADDR) names one address for each host".into());
        }
        hosts
            .into_iter()
            .enumerate()
            .map(|(index, host)| {
                let port = ports.get(index).or(ports.first()).copied().unwrap_or_default();
                HostAndPort::new(host, addresses.get(index).copied(), port)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
