//! A PostgreSQL cluster in a temporary directory, on loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opencode_auth::PostgresTokenStore;
use tempfile::TempDir;

/// PostgreSQL refuses to run as root, so root's tests run it as `nobody`.
const NOBODY: u32 = 65534;

/// The directory with `initdb` and the rest, or why there is none.
pub(crate) fn programs() -> Result<PathBuf, String> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
        .filter(|directory| {
            directory.join("initdb").exists() && directory.join("pg_isready").exists()
        })
        .collect();
    found.sort();
    found.pop().ok_or_else(|| "there is no initdb; install PostgreSQL".to_owned())
}

/// A running cluster. Dropping it, or the end of the process, ends it.
pub(crate) struct Cluster {
    directory: PathBuf,
    pub(crate) port: u16,
    running: Mutex<Option<(Child, ChildStdin)>>,
    _directory: TempDir,
}

impl Cluster {
    /// Starts a cluster, or says why not and returns nothing.
    pub(crate) fn start() -> Option<Self> {
        let cluster = Self::empty()?;
        let data = cluster.data();
        let template = template()?;
        cluster.run("cp", &["-R", template.to_str().unwrap(), data.to_str().unwrap()]);
        cluster.configure("");
        cluster.launch();
        Some(cluster)
    }

    /// A directory and a port, and nothing in them.
    fn empty() -> Option<Self> {
        if let Err(reason) = programs() {
            println!("skipped: {reason}");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let path = directory.path().to_owned();
        if is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Some(Self {
            directory: path,
            port: free_port(),
            running: Mutex::new(None),
            _directory: directory,
        })
    }

    /// The cluster that most tests share.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A copy of this cluster that follows it.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::empty().unwrap();
        let (data, port) = (standby.data(), self.port.to_string());
        let arguments =
            ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-R", "-c", "fast", "-D"];
        standby.run("pg_basebackup", &[&arguments[..], &[data.to_str().unwrap()]].concat());
        standby.configure("");
        standby.launch();
        standby
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the configuration anew, with further lines.
    pub(crate) fn configure(&self, more: &str) {
        let configuration = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             fsync = off\nmax_connections = 200\nshared_buffers = 32MB\nmax_wal_senders = 5\n\
             wal_level = replica\nhot_standby = on\nlog_statement = all\ndeadlock_timeout = 200ms\n{more}\n",
            self.port,
            self.directory.display(),
        );
        fs::write(self.data().join("postgresql.conf"), configuration).unwrap();
    }

    /// Starts the server and waits until it responds.
    pub(crate) fn launch(&self) {
        let log = self.directory.join("log");
        // The shell ends the server when this process ends, however it ends: its standard input closes.
        let script = r#""$0/postgres" -D "$1" >>"$2" 2>&1 & echo $!; read _; while kill -QUIT $! 2>/dev/null; do sleep 0.05; done"#;
        let mut command = self.command("sh");
        command.args(["-c", script]).arg(programs().unwrap()).arg(self.data()).arg(&log);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        *self.running.lock().unwrap() = Some((child, stdin));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.is_ready() {
            assert!(
                Instant::now() < deadline,
                "the server does not start: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let port = self.port.to_string();
        let mut command = self.command(programs().unwrap().join("pg_isready").to_str().unwrap());
        command.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres"]);
        command.status().unwrap().success()
    }

    /// Ends the server without a checkpoint, as a crash does.
    pub(crate) fn crash(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut child, stdin)) = running {
            self.signal("CONT");
            drop(stdin);
            child.wait().unwrap();
        }
    }

    pub(crate) fn restart(&self) {
        self.crash();
        self.launch();
    }

    /// Sends a signal to the server and to all of its processes, which are not one process group.
    pub(crate) fn signal(&self, signal: &str) {
        let Ok(pid) = fs::read_to_string(self.data().join("postmaster.pid")) else { return };
        let postmaster: u32 = pid.lines().next().unwrap().trim().parse().unwrap();
        let mut processes = vec![postmaster.to_string()];
        for entry in fs::read_dir("/proc").unwrap() {
            let entry = entry.unwrap();
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let after_name = stat.rsplit(')').next().unwrap();
            if after_name.split_whitespace().nth(1) == Some(&postmaster.to_string()) {
                processes.push(entry.file_name().into_string().unwrap());
            }
        }
        let signal = format!("-{signal}");
        let _ = Command::new("kill").arg(signal).args(processes).stderr(Stdio::null()).status();
    }

    /// Makes a standby a primary.
    pub(crate) fn promote(&self) {
        let data = self.data();
        self.run("pg_ctl", &["promote", "-w", "-D", data.to_str().unwrap()]);
    }

    /// Runs one of PostgreSQL's programs and returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let path = programs().unwrap().join(program);
        let program = if path.exists() { path } else { program.into() };
        let output = self.command(program.to_str().unwrap()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a statement in psql and returns its rows.
    #[track_caller]
    pub(crate) fn psql(&self, database: &str, statement: &str) -> String {
        let port = self.port.to_string();
        let arguments =
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port];
        let rest = ["-U", "postgres", "-d", database, "-c", statement];
        self.run("psql", &[&arguments[..], &rest].concat()).trim().to_owned()
    }

    /// A new database on this cluster, without tables.
    pub(crate) fn database(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The URL of a database of this cluster, for its superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A new database with the tables and a realm whose lease is this long. Returns its name.
    pub(crate) async fn realm(&self, lease: Duration) -> String {
        let database = self.database();
        PostgresTokenStore::init(&self.url(&database)).await.unwrap();
        let lease = lease.as_millis();
        self.psql(&database, &format!("UPDATE opencode_auth.realms SET lease_ms = {lease}"));
        database
    }

    /// What the server has logged. It logs every statement.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// A command that runs as a user who may run PostgreSQL.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory).env("LC_ALL", "C");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A fresh data directory. `initdb` takes a second, and copying takes none.
fn template() -> Option<&'static Path> {
    static TEMPLATE: OnceLock<Option<Cluster>> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let cluster = Cluster::empty()?;
        let data = cluster.data();
        cluster.run(
            "initdb",
            &[
                "-D",
                data.to_str().unwrap(),
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ],
        );
        Some(cluster)
    });
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    template.as_ref().map(|cluster| PATH.get_or_init(|| cluster.data()).as_path())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The lines that a program prints.
pub(crate) fn lines(child: &mut Child) -> impl Iterator<Item = String> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
}
