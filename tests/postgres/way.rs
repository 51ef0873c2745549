//! The two ways from a store to its database: directly, and through PgBouncer in transaction mode, where each
//! transaction may meet another session.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::cluster::free_port;

/// Runs each of these tests both ways, as `direct::name` and `pooled::name`.
#[macro_export]
macro_rules! each_way {
    ($($test:ident),* $(,)?) => {
        mod direct {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::way::Way::Direct).await;
            })*
        }
        mod pooled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::way::Way::Pooled).await;
            })*
        }
    };
}

/// A link of this way to a port, or the end of the test.
#[macro_export]
macro_rules! link {
    ($way:expr, $port:expr) => {
        match $way.to($port).await {
            Some(link) => link,
            None => return,
        }
    };
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Pooled,
}

impl Way {
    /// A link to the database on this port. `None` if it needs PgBouncer, and there is none.
    pub(crate) async fn to(self, port: u16) -> Option<Link> {
        let bouncer = match self {
            Self::Direct => None,
            Self::Pooled => Some(Bouncer::start(port).await?),
        };
        let port = bouncer.as_ref().map_or(port, |bouncer| bouncer.port);
        Some(Link { port, _bouncer: bouncer })
    }
}

pub(crate) struct Link {
    pub(crate) port: u16,
    _bouncer: Option<Bouncer>,
}

impl Link {
    /// The URL of a database over this link.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, database)
    }
}

/// The URL of a database on this port, for the superuser.
pub(crate) fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// A running PgBouncer in front of a database.
struct Bouncer {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Bouncer {
    async fn start(database_port: u16) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or(false));
        let Some(program) = program else {
            println!("skipped: there is no pgbouncer");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = directory.path().join("pgbouncer.ini");
        let users = directory.path().join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        // Few sessions, so that the clients take turns. By default it waits 15 s after a failed login.
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={database_port}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n\
             auth_file = {}\npool_mode = transaction\ndefault_pool_size = 3\n\
             server_round_robin = 1\n\
             server_login_retry = 1\nmax_client_conn = 500\n",
            users.display(),
        );
        fs::write(&configuration, text).unwrap();
        let mut command = Command::new(program);
        // It does not run as root.
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
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
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
