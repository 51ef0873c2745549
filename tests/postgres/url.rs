//! URLs, passwords and TLS against a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use opencode_auth::PostgresTokenStore;

use crate::cluster::Cluster;
use crate::own_cluster;
use crate::shared_cluster;
use crate::support::{LEASE, create, is_known, open};

#[tokio::test]
async fn a_unix_socket_is_a_host() {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let url = format!(
        "postgres:///{database}?host={}&port={}&user=postgres",
        cluster.directory().display(),
        cluster.port
    );
    let store = open(&url).await;
    let token = create(&store, "ci").await;
    assert!(is_known(&store, &token).await);
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_repeat_it() {
    let cluster = own_cluster!();
    let database = cluster.realm(LEASE).await;
    cluster.psql("postgres", "CREATE ROLE server LOGIN PASSWORD 'correct-horse'");
    cluster.psql(
        &database,
        "GRANT USAGE ON SCHEMA opencode_auth TO server; \
         GRANT SELECT ON ALL TABLES IN SCHEMA opencode_auth TO server",
    );
    let rules =
        "host all postgres 127.0.0.1/32 trust\nhost all server 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.data().join("pg_hba.conf"), rules).unwrap();
    cluster.psql("postgres", "SELECT pg_reload_conf()");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let url = |password: &str| {
        format!("postgres://server:{password}@127.0.0.1:{}/{database}", cluster.port)
    };
    let error = PostgresTokenStore::open(&url("battery-staple")).await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", error.problem());
    assert!(shown.contains("password authentication failed"), "{shown}");
    assert!(!shown.contains("staple"), "{shown}");

    // A server's role reads, and cannot write.
    let store = open(&url("correct-horse")).await;
    assert!(!format!("{store:?}").contains("horse"));
    assert!(store.list().await.unwrap().is_empty());
    let error = store.create(opencode_auth::NewToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");
    let report = PostgresTokenStore::report(&url("correct-horse")).await.unwrap();
    assert!(!report.can_write && !report.is_replica && !report.is_encrypted);
    assert_eq!(report.role, "server");
    assert!(report.clock_difference.abs() < 1.0, "{report:?}");
    assert!(PostgresTokenStore::report(&cluster.url(&database)).await.unwrap().can_write);
    // Whoever may change the lease may keep deleted tokens alive.
    cluster.psql(&database, "GRANT UPDATE (lease_ms) ON opencode_auth.realms TO server");
    assert!(PostgresTokenStore::report(&url("correct-horse")).await.unwrap().can_write);
    // Whoever may not look at the schema may not write, and nothing else is known.
    cluster.psql(&database, "REVOKE USAGE ON SCHEMA opencode_auth FROM server");
    let report = PostgresTokenStore::report(&url("correct-horse")).await.unwrap();
    assert!(!report.can_write);
    assert!(report.realm.unwrap_err().to_string().contains("permission denied"));
}

/// Makes a certificate and its key in the cluster's directory, for the cluster's user alone.
fn certify(cluster: &Cluster, name: &str, subject: &str) -> Option<(PathBuf, PathBuf)> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    let data = cluster.data();
    let (key, certificate) = (data.join(format!("{name}.key")), data.join(format!("{name}.crt")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"])
        .args(["-keyout", key.to_str().unwrap(), "-out", certificate.to_str().unwrap()])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("skipped: openssl makes no certificate");
        return None;
    }
    let owner = fs::metadata(&data).unwrap();
    for file in [&key, &certificate] {
        chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Some((certificate, key))
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    use std::os::unix::fs::PermissionsExt as _;

    let cluster = own_cluster!();
    let database = cluster.realm(LEASE).await;
    let Some((server, _)) = certify(&cluster, "server", "/CN=localhost") else { return };
    let Some((certificate, key)) = certify(&cluster, "client", "/CN=fleet") else { return };
    let Some((stranger, strangers_key)) = certify(&cluster, "stranger", "/CN=fleet") else {
        return;
    };
    cluster.psql("postgres", "CREATE ROLE fleet LOGIN");
    cluster.psql(
        &database,
        "GRANT USAGE ON SCHEMA opencode_auth TO fleet; \
         GRANT SELECT ON ALL TABLES IN SCHEMA opencode_auth TO fleet",
    );
    let rules = "host all postgres 127.0.0.1/32 trust\nhostssl all fleet 127.0.0.1/32 cert\n";
    fs::write(cluster.data().join("pg_hba.conf"), rules).unwrap();
    cluster.configure("ssl = on\nssl_ca_file = 'client.crt'");
    cluster.restart();
    let url = |more: &str| {
        let server = server.display();
        format!("postgres://fleet@localhost:{}/{database}?sslrootcert={server}{more}", cluster.port)
    };
    let with = |certificate: &Path, key: &Path| {
        url(&format!("&sslcert={}&sslkey={}", certificate.display(), key.display()))
    };
    let known = with(&certificate, &key);
    assert_eq!(open(&known).await.list().await.unwrap(), []);
    let report = PostgresTokenStore::report(&known).await.unwrap();
    assert_eq!((&*report.role, report.is_encrypted, report.can_write), ("fleet", true, false));

    let nowhere = Path::new("/nonexistent");
    for (wrong, message) in [
        (url("&sslmode=verify-full"), "connection requires a valid client certificate"),
        (with(&stranger, &strangers_key), "received fatal alert: unknownca"),
        (with(&certificate, &strangers_key), "the client's certificate cannot be used: "),
        (with(nowhere, &key), "the client's certificate cannot be used: `/nonexistent`: "),
        (with(&certificate, nowhere), "the client's certificate cannot be used: `/nonexistent`: "),
        (with(&certificate, &server), "there is no key in it"),
    ] {
        let error = PostgresTokenStore::open(&wrong).await.unwrap_err().to_string().to_lowercase();
        assert!(error.contains(message), "{error}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = PostgresTokenStore::open(&known).await.unwrap_err().to_string();
    assert!(error.ends_with("others can read it (mode 0644); run: chmod 0600"), "{error}");
}

#[tokio::test]
async fn the_certificate_is_verified() {
    let cluster = own_cluster!();
    let database = cluster.realm(LEASE).await;
    let Some((certificate, _)) = certify(&cluster, "server", "/CN=localhost") else { return };
    cluster.configure("ssl = on");
    cluster.restart();
    let trusted = certificate.display();
    let url = |host: &str, more: &str| {
        format!("postgres://postgres@{host}:{}/{database}?{more}", cluster.port)
    };
    let verified = url("localhost", &format!("sslmode=verify-full&sslrootcert={trusted}"));
    let store = open(&verified).await;
    let token = create(&store, "ci").await;
    assert!(is_known(&store, &token).await);
    assert!(PostgresTokenStore::report(&verified).await.unwrap().is_encrypted);
    for (wrong, message) in [
        // Not one of the system's.
        (url("localhost", "sslmode=verify-full"), "certificate"),
        // Another name than that of the certificate.
        (url("127.0.0.1", &format!("sslmode=require&sslrootcert={trusted}")), "not valid for name"),
        (
            url("localhost", "sslmode=require&sslrootcert=/nonexistent"),
            "certificates to trust cannot be read",
        ),
    ] {
        let error = PostgresTokenStore::open(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    // Without TLS on the server there is no connection, rather than a plain one.
    cluster.configure("ssl = off");
    cluster.restart();
    let error = PostgresTokenStore::open(&verified).await.unwrap_err().to_string();
    assert!(error.contains("server does not support TLS"), "{error}");
}
