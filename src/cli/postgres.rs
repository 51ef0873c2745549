//! The commands on a store in PostgreSQL.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::store::{PostgresReport, PostgresStoreError, PostgresTokenStore};

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
        let store = PostgresTokenStore::for_changes(url).map_err(|error| sentence(&error))?;
        Ok(Self { store, background: start()? })
    }
}

/// Makes the tables and the realm.
pub(super) fn init(url: &str) -> Result<(), String> {
    start()?.wait(PostgresTokenStore::init(url)).map_err(|error| sentence(&error))
}

/// What `check` prints, and whether all is well.
pub(super) fn check(url: &str, reason: &str, program: &str) -> (String, bool) {
    let report = start().and_then(|background| {
        background.wait(PostgresTokenStore::report(url)).map_err(|error| sentence(&error))
    });
    match report {
        Ok(report) => described(&report, reason, program),
        Err(error) => (format!("Wrong: {error}\n"), false),
    }
}

fn described(report: &PostgresReport, reason: &str, program: &str) -> (String, bool) {
    let mut lines = vec![
        format!("The tokens are in {} ({reason}).", report.location),
        format!(
            "The server is PostgreSQL {}. You are the role `{}`.",
            report.server_version, report.role
        ),
        if report.is_encrypted {
            "The connection is encrypted, and the certificate was verified.".to_owned()
        } else {
            "The connection is not encrypted.".to_owned()
        },
    ];
    let mut is_fine = !report.is_replica;
    if report.is_replica {
        lines.push(
            "Wrong: the database is a replica, which may lag behind; name the primary in the URL"
                .to_owned(),
        );
    }
    let seconds = report.clock_difference;
    let uncertainty = report.clock_uncertainty.as_secs_f64();
    if seconds.abs() - uncertainty > 1.0 {
        let direction = if seconds > 0.0 { "ahead of" } else { "behind" };
        lines.push(format!(
            "Note: the database's clock is {:.1} s {direction} this one. Each server decides about expiry by its own clock.",
            seconds.abs()
        ));
    } else {
        lines.push(format!(
            "The database's clock differs from this one by {seconds:.3} s, give or take {uncertainty:.3} s."
        ));
    }
    lines.push(if report.can_write {
        "Note: this role can change the tokens. The role of a server needs only SELECT.".to_owned()
    } else {
        "This role can read the tokens and not change them, as is right for a server.".to_owned()
    });
    match &report.realm {
        Ok(realm) => {
            lines.push(format!(
                "Fine: the realm's format is right. Its version is {}, and its lease is {} ms.",
                realm.version,
                realm.lease.as_millis()
            ));
            lines.push(match (realm.tokens, realm.expired) {
                (0, _) => "It has no tokens.".to_owned(),
                (1, 0) => "It has 1 token, none expired.".to_owned(),
                (1, _) => "It has 1 token, which is expired.".to_owned(),
                (tokens, 0) => format!("It has {tokens} tokens, none expired."),
                (tokens, expired) => format!("It has {tokens} tokens, {expired} of them expired."),
            });
            if realm.expired > 0 {
                lines.push(format!("Delete the expired tokens with: {program} delete --expired"));
            }
        }
        // Said already.
        Err(_) if report.is_replica => {}
        Err(error) => {
            is_fine = false;
            lines.push(format!("Wrong: {error}"));
        }
    }
    (lines.join("\n") + "\n", is_fine)
}

fn start() -> Result<Background, String> {
    Background::start().map_err(|error| format!("failed to start a runtime: {error}"))
}

fn sentence(error: &PostgresStoreError) -> String {
    error.to_string()
}
