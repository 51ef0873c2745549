//! The commands on a store in PostgreSQL.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::cli::findings::Findings;
use crate::store::{PostgresReport, PostgresTokenStore};

/// A runtime on a thread of its own. The program's thread may belong to a runtime already, and could not
/// run a second one.
pub(super) struct Background {
    handle: Handle,
    /// Dropped to end the thread.
    _end: oneshot::Sender<()>,
}

impl Background {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("opencode-auth-commands".to_owned()).spawn(move || {
            runtime.block_on(async {
                let _ = ended.await;
            });
        })?;
        Ok(Self { handle, _end: end })
    }

    /// Waits for the future on this thread.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        struct Unpark(Thread);

        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        let _entered = self.handle.enter();
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            thread::park();
        }
    }
}

/// A store, and the runtime that its connections run on.
pub(super) struct OpenPostgres {
    pub(super) store: PostgresTokenStore,
    pub(super) background: Background,
}

impl OpenPostgres {
    pub(super) fn open(url: &str) -> Result<Self, String> {
        let store = PostgresTokenStore::for_changes(url).map_err(|error| error.to_string())?;
        Ok(Self { store, background: start()? })
    }
}

/// Makes the tables and the realm.
pub(super) fn init(url: &str) -> Result<(), String> {
    start()?.wait(PostgresTokenStore::init(url)).map_err(|error| error.to_string())
}

/// Checks the store at this URL, which is used because of `reason`.
pub(super) fn check(url: &str, reason: &str, program: &str) -> Findings {
    let report = start().and_then(|background| {
        background.wait(PostgresTokenStore::report(url)).map_err(|error| error.to_string())
    });
    let mut findings = Findings::new();
    match report {
        Ok(report) => describe(&report, reason, program, &mut findings),
        Err(error) => findings.wrong(&error),
    }
    findings
}

fn describe(report: &PostgresReport, reason: &str, program: &str, findings: &mut Findings) {
    findings.line(&format!("The tokens are in {} ({reason}).", report.location));
    findings.line(&format!(
        "The server is PostgreSQL {}. You are the role `{}`.",
        report.server_version, report.role
    ));
    findings.line(if report.is_encrypted {
        "The connection is encrypted, and the certificate was verified."
    } else {
        "The connection is not encrypted."
    });
    if report.is_replica {
        findings
            .wrong("the database is a replica, which may lag behind; name the primary in the URL");
    }
    let seconds = report.clock_difference;
    let uncertainty = report.clock_uncertainty.as_secs_f64();
    if seconds.abs() - uncertainty > 1.0 {
        let direction = if seconds > 0.0 { "ahead of" } else { "behind" };
        findings.line(&format!(
            "Note: the database's clock is {:.1} s {direction} this one. Each server decides about expiry \
             by its own clock.",
            seconds.abs()
        ));
    } else {
        findings.line(&format!(
            "The database's clock differs from this one by {seconds:.3} s, give or take {uncertainty:.3} s."
        ));
    }
    findings.line(if report.can_write {
        "Note: this role can change the tokens. The role of a server needs only SELECT."
    } else {
        "This role can read the tokens and not change them, as is right for a server."
    });
    match &report.realm {
        Ok(realm) => {
            findings.line(&format!(
                "Fine: the realm's format is right. Its version is {}, and its lease is {} ms.",
                realm.version,
                realm.lease.as_millis()
            ));
            findings.count(realm.tokens, realm.expired, program);
        }
        // The line about the replica says it.
        Err(_) if report.is_replica => {}
        Err(error) => findings.wrong(&error.to_string()),
    }
}

fn start() -> Result<Background, String> {
    Background::start().map_err(|error| format!("failed to start a runtime: {error}"))
}
