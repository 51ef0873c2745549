use tokio_postgres::config::SslMode;

use super::*;

#[track_caller]
fn parsed(url: &str) -> Address {
    Address::parse(url).unwrap()
}

#[track_caller]
fn problem(url: &str) -> String {
    let Err(error) = Address::parse(url) else { panic!("{url} is a store") };
    error.to_string()
}

#[test]
fn a_url_is_shown_without_its_password() {
    let table = [
        (
            "postgres://u:secret@db.example.org/tokens",
            "postgres://u@db.example.org:5432/tokens?realm=default",
        ),
        ("postgresql://u:se%2Fcret@h:6432/t?realm=x", "postgres://u@h:6432/t?realm=x"),
        ("postgres://u@h/t?password=secret&realm=a.b_c-1", "postgres://u@h:5432/t?realm=a.b_c-1"),
        ("postgres://u:se@cret@a,b:5433/t", "postgres://u@a:5432,b:5433/t?realm=default"),
        ("postgres://u:secret@[::1]:5433/t", "postgres://u@[::1]:5433/t?realm=default"),
        (
            "postgres://u:secret@%2Frun%2Fpostgresql/t",
            "postgres://u@%2Frun%2Fpostgresql:5432/t?realm=default",
        ),
        (
            "postgres:///t?host=/run/postgresql&port=1&user=u&password=secret",
            "postgres://u@%2Frun%2Fpostgresql:1/t?realm=default",
        ),
    ];
    for (url, location) in table {
        let address = parsed(url);
        assert_eq!(&*address.location, location, "{url}");
        let error = address.error(PostgresProblem::Replica);
        assert!(!format!("{error} {error:?}").contains("cret"), "{url}");
    }
}

#[test]
fn a_password_that_breaks_the_url_is_not_repeated() {
    for url in [
        "postgres://u:se/cret@h/t",
        "postgres://u:12/secret@h/t",
        "postgres://u:12?secret@h/t",
        "postgres://u:12?a=secret@h/t",
        "postgres://u:secret@h:port/t",
        "mysql://u:secret@h/t",
        "postgres://u:secret@h/t?unknown=secret",
        "postgres://u:secret@h/t?sslmode=prefer",
        "postgres://u:secret@h/t?realm=se%20cret",
        "postgres://u:sec ret@h/t",
        "postgres://u:secret@/t",
        "postgres://u:%FFsecret@h/t",
    ] {
        let message = problem(url);
        assert!(!message.contains("cret") && !message.contains("12"), "{url}: {message}");
    }
}

#[test]
fn a_token_in_the_url_is_not_repeated() {
    let message = problem("postgres://u:oct_AAECAwQFBgcICQoLDA0ODwqRm7Mw@h/t");
    assert!(message.contains("there is a token in the URL"), "{message}");
    assert!(!message.contains("oct_"), "{message}");
}

#[test]
fn only_loopback_and_sockets_are_plain_by_default() {
    let table = [
        ("postgres://h/t", true),
        ("postgres://localhost.example.org/t", true),
        ("postgres://10.0.0.1/t", true),
        ("postgres://h/t?sslmode=disable", false),
        ("postgres://h/t?sslmode=require", true),
        ("postgres://h/t?sslmode=verify-full", true),
        ("postgres://localhost/t", false),
        ("postgres://127.0.0.1/t", false),
        ("postgres://127.1.2.3/t", false),
        ("postgres://[::1]/t", false),
        ("postgres://localhost/t?sslmode=verify-full", true),
        ("postgres://localhost/t?hostaddr=10.0.0.1", true),
        ("postgres://h/t?hostaddr=127.0.0.1", false),
        ("postgres://%2Frun%2Fpostgresql/t", false),
        ("postgres://%2Frun%2Fpostgresql/t?sslmode=require", false),
    ];
    for (url, is_encrypted) in table {
        let endpoint = &parsed(url).endpoints[0];
        assert_eq!(endpoint.is_encrypted, is_encrypted, "{url}");
        let mode = if is_encrypted { SslMode::Require } else { SslMode::Disable };
        assert_eq!(endpoint.config.get_ssl_mode(), mode, "{url}");
    }
    let mixed = parsed("postgres://h,localhost/t");
    assert!(mixed.endpoints[0].is_encrypted && !mixed.endpoints[1].is_encrypted);
}

#[test]
fn the_usual_parameters_reach_the_driver() {
    let url = "postgres://us%40er:p%3Aw@h:6432/d%20b?connect_timeout=7&application_name=x&keepalives_idle=9";
    let config = parsed(url).endpoints[0].config().unwrap();
    assert_eq!(config.get_user(), Some("us@er"));
    assert_eq!(config.get_password(), Some(&b"p:w"[..]));
    assert_eq!(config.get_dbname(), Some("d b"));
    assert_eq!(config.get_ports(), [6432]);
    assert_eq!(config.get_application_name(), Some("x"));
    assert_eq!(config.get_connect_timeout(), Some(&std::time::Duration::from_secs(7)));
}

#[test]
fn a_parameter_that_cannot_be_used_is_named() {
    let url = "postgres://u:secret@h/t?";
    for (parameters, message) in [
        ("connect_timeout=secret", "the parameter `connect_timeout` cannot have this value"),
        ("hostaddr=secret", "`hostaddr` (or PGHOSTADDR) cannot have this value"),
        ("hostaddr=::1,::1", "`hostaddr` (or PGHOSTADDR) names one address for each host"),
        ("host=/run&hostaddr=10.0.0.1", "a Unix socket has no `hostaddr` (or PGHOSTADDR)"),
        ("host=a,b&hostaddr=::1", "`hostaddr` (or PGHOSTADDR) names one address for each host"),
        ("host=a,b,c&port=1,2", "`port` (or PGPORT) names one port, or one for each host"),
        ("port=1,2", "`port` (or PGPORT) names one port, or one for each host"),
        ("keepalives_count=secret", "the parameter `keepalives_count` cannot have this value"),
        ("sslcrl=/secret", "the parameter `sslcrl` is not supported"),
        ("service=secret", "the parameter `service` is not supported"),
        ("load_balance_hosts=random", "the parameter `load_balance_hosts` is not supported"),
        (
            "channel_binding=require",
            "`channel_binding=require` is not supported: the certificate is verified instead",
        ),
        (
            "target_session_attrs=read-only",
            "`target_session_attrs` (or PGTARGETSESSIONATTRS) is `primary`: a replica may lag behind, so it \
             cannot tell which tokens are valid",
        ),
        (
            "sslmode=prefer",
            "`sslmode` (or PGSSLMODE) is `verify-full` (a verified certificate) or `disable`",
        ),
        ("sslcert=/secret", "`sslcert` and `sslkey` (or PGSSLCERT and PGSSLKEY) belong together"),
        ("sslkey=/secret", "`sslcert` and `sslkey` (or PGSSLCERT and PGSSLKEY) belong together"),
        // It may be a part of a password with an `&` in it.
        ("password=se&cret=1", "the URL has a parameter that is not known"),
    ] {
        let expected = format!("failed to use the token store `postgres://…`: {message}");
        assert_eq!(problem(&format!("{url}{parameters}")), expected);
    }
    for parameters in
        ["channel_binding=prefer", "target_session_attrs=read-write", "keepalives_count=3"]
    {
        parsed(&format!("{url}{parameters}"));
    }
    let config = parsed("postgres://h/t?keepalives_count=3").endpoints[0].config.clone();
    assert_eq!(config.get_keepalives_retries(), Some(3));
}

#[test]
fn a_client_with_a_certificate_encrypts_on_loopback_too() {
    let address = parsed("postgres://localhost/t?sslcert=/c.crt&sslkey=/c.key");
    assert_eq!(address.client_certificate, Some(("/c.crt".into(), "/c.key".into())));
    assert!(address.endpoints[0].is_encrypted);
}

#[test]
fn roots_come_from_the_system_or_from_a_file() {
    assert_eq!(parsed("postgres://h/t").root_certificates, None);
    assert_eq!(parsed("postgres://h/t?sslrootcert=system").root_certificates, None);
    let path = Some(PathBuf::from("/etc/ca.pem"));
    assert_eq!(parsed("postgres://h/t?sslrootcert=/etc/ca.pem").root_certificates, path);
}

#[test]
fn each_host_has_its_own_address_and_port() {
    let address = parsed("postgres:///t?host=a,b&hostaddr=10.0.0.1,127.0.0.1&port=1,2");
    let of = |endpoint: &Endpoint| {
        let config = endpoint.config.clone();
        (config.get_hostaddrs().to_vec(), config.get_ports().to_vec(), endpoint.is_encrypted)
    };
    let endpoints: Vec<_> = address.endpoints.iter().map(of).collect();
    let ip = |text: &str| text.parse().unwrap();
    assert_eq!(
        endpoints,
        [(vec![ip("10.0.0.1")], vec![1], true), (vec![ip("127.0.0.1")], vec![2], false)]
    );
    // As `psql` does it.
    for (url, ports) in [
        ("postgres://a:1/t?port=2", &[2][..]),
        ("postgres://a,b:3/t?port=4", &[4, 4]),
        ("postgres://a:5/t?host=b", &[5]),
        ("postgres://a:1,b/t", &[1, 5432]),
        ("postgres://a:1/t?port=", &[5432]),
    ] {
        let endpoints = parsed(url).endpoints;
        assert_eq!(endpoints.iter().map(|host| host.port).collect::<Vec<_>>(), ports, "{url}");
    }
}

#[test]
fn a_url_without_a_host_says_how_to_name_one() {
    assert_eq!(
        problem("postgres:///t?host="),
        "failed to use the token store `postgres://…`: the URL names no host, and neither does PGHOST; for a \
         Unix socket, name its directory: `?host=/run/postgresql`"
    );
}
