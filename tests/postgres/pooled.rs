//! Everything through PgBouncer in transaction mode, where each transaction may meet another session.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::cluster::{Cluster, free_port};
use crate::shared_cluster;
use crate::support::{LEASE, create, is_known, open, until_it_cannot_tell, until_known};

struct Bouncer {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Bouncer {
    async fn start(cluster: &Cluster) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = directory.path().join("pgbouncer.ini");
        let users = directory.path().join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1\n\
             ignore_startup_parameters = extra_float_digits\n",
            cluster.port,
            users.display(),
        );
        fs::write(&configuration, text).unwrap();
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or(false));
        let Some(program) = program else {
            println!("skipped: there is no pgbouncer");
            return None;
        };
        let mut command = Command::new(program);
        if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
            chown(directory.path(), Some(65534), Some(65534)).unwrap();
            command.uid(65534).gid(65534);
        }
        command.arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let bouncer = Self { child: command.spawn().unwrap(), port, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not start");
            sleep(Duration::from_millis(20)).await;
        }
        Some(bouncer)
    }

    fn url(&self, cluster: &Cluster, url: &str) -> String {
        url.replace(&format!(":{}", cluster.port), &format!(":{}", self.port))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn everything_works_through_pgbouncer_in_transaction_mode() {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let url = cluster.url(&database);
    let Some(bouncer) = Bouncer::start(cluster).await else { return };
    let pooled = bouncer.url(cluster, &url);
    opencode_auth::PostgresTokenStore::init(&pooled).await.unwrap();
    // More stores than the pool has sessions, so that they take turns.
    let mut servers = Vec::new();
    for _ in 0..8 {
        servers.push(open(&pooled).await);
    }
    for round in 0..3 {
        let name = format!("token-{round}");
        let token = create(&servers[0], &name).await;
        for server in &servers {
            assert!(is_known(server, &token).await);
        }
        let rotated = servers[1].rotate(&name).await.unwrap();
        for server in &servers {
            assert!(!is_known(server, &token).await);
            assert!(is_known(server, &rotated.token).await);
        }
        servers[2].delete(&name).await.unwrap();
        for server in &servers {
            assert!(!is_known(server, &rotated.token).await);
        }
    }
    let token = create(&servers[0], "ci").await;
    cluster.psql(&database, "TRUNCATE opencode_auth.tokens");
    sleep(LEASE).await;
    assert!(!is_known(&servers[3], &token).await);
    let report = opencode_auth::PostgresTokenStore::report(&pooled).await.unwrap();
    assert!(report.realm.is_ok());
}

#[tokio::test]
async fn a_crash_behind_pgbouncer_ends_the_lease() {
    let cluster = crate::own_cluster!();
    let url = cluster.url(&cluster.realm(LEASE).await);
    let Some(bouncer) = Bouncer::start(&cluster).await else { return };
    let server = open(&bouncer.url(&cluster, &url)).await;
    let token = create(&server, "ci").await;
    cluster.crash();
    until_it_cannot_tell(&server, &token, Instant::now(), LEASE).await;
    cluster.launch();
    until_known(&server, &token).await;
}
