//! The task that keeps a server's snapshot fresh.

use std::sync::Arc;
use std::time::Duration;

use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::store::postgres::connect::{Connection, Database};
use crate::store::postgres::error::PostgresProblem;
use crate::store::postgres::rows::{Realm, STATEMENT_TIMEOUT};
use crate::store::records::Records;
use crate::store::snapshot::{LeasedSnapshot, Refresh, Refreshed};

/// Without a request for this long, the task stops polling until the next request.
const IDLE: Duration = Duration::from_secs(30);

/// A poll is given up after half of a lease, but not earlier than this.
const SHORTEST_LIMIT: Duration = Duration::from_millis(250);

/// How long to wait after the first failure. It doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// How long to wait at most after a failure.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Polls the realm's version, and loads the realm when it changes.
pub(crate) struct Poller {
    database: Database,
    /// The number of the host that responded last.
    host: usize,
    connection: Option<Connection>,
    /// What the last refresh found.
    known: Option<(Realm, Arc<Records>)>,
    highest_version: i64,
}

impl Poller {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, host: 0, connection: None, known: None, highest_version: 0 }
    }

    /// Asks for the realm's lease.
    pub(crate) async fn lease(&mut self) -> Result<Duration, PostgresProblem> {
        Ok(self.poll(STATEMENT_TIMEOUT).await?.lease)
    }

    /// Refreshes the snapshot four times within each lease, and whenever a request asks for it. A request
    /// asks only if it found a snapshot that is too old.
    pub(crate) async fn run(mut self, snapshot: LeasedSnapshot, mut asked: Receiver<Refresh>) {
        let interval = snapshot.lease() / 4;
        let mut used_at = Instant::now();
        let mut next = used_at + interval;
        let mut failures = 0;
        loop {
            let wake = if used_at.elapsed() < IDLE { next } else { far_from(next) };
            let mut refresh = match timeout_at(wake, asked.recv()).await {
                Ok(Some(refresh)) => {
                    used_at = Instant::now();
                    refresh
                }
                Ok(None) => return,
                Err(_) => match snapshot.begin_refresh() {
                    Some(refresh) => refresh,
                    // A request has just begun one, which is about to arrive.
                    None => continue,
                },
            };
            if failures > 0 {
                sleep_until(next).await;
            }
            if snapshot.is_used() {
                used_at = Instant::now();
            }
            match self.refresh(&mut refresh, snapshot.lease()).await {
                Ok(records) => {
                    refresh.finish(Refreshed::Records(records));
                    failures = 0;
                    next = Instant::now() + interval;
                }
                Err(problem) => {
                    self.connection = None;
                    self.host += 1;
                    // The newest snapshot decides for as long as its lease lasts.
                    if snapshot.is_fresh() {
                        drop(refresh);
                    } else {
                        let error = self.database.address.error(problem);
                        refresh.finish(Refreshed::Failed(error.into()));
                    }
                    next = Instant::now() + backoff(failures);
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// The realm's records as of a moment that is not before the beginning of `refresh`.
    pub(crate) async fn refresh(
        &mut self,
        refresh: &mut Refresh,
        lease: Duration,
    ) -> Result<Arc<Records>, PostgresProblem> {
        loop {
            refresh.begin_again();
            let began = Instant::now();
            let realm = self.poll(SHORTEST_LIMIT.max(lease / 2)).await?;
            self.check_version(&realm)?;
            if realm.lease < lease {
                return Err(PostgresProblem::LeaseShortened);
            }
            if let Some((known, records)) = &self.known
                && *known == realm
            {
                return Ok(Arc::clone(records));
            }
            let Some(connection) = &self.connection else { continue };
            let (realm, records) = Realm::load(connection, &self.database.address.realm).await?;
            self.check_version(&realm)?;
            self.highest_version = realm.version;
            let records = Arc::new(Records::from_iter(records));
            self.known = Some((realm, Arc::clone(&records)));
            // Records that took long to load need another poll, or their lease would be over at once.
            if began.elapsed() < lease / 4 {
                return Ok(records);
            }
        }
    }

    /// Checks that the realm is not older than what was seen of it.
    fn check_version(&self, realm: &Realm) -> Result<(), PostgresProblem> {
        if realm.version < self.highest_version {
            let (seen, found) = (self.highest_version, realm.version);
            return Err(PostgresProblem::WentBack { seen, found });
        }
        Ok(())
    }

    /// The realm's row, over the connection that is there or a new one.
    async fn poll(&mut self, limit: Duration) -> Result<Realm, PostgresProblem> {
        let name = &*self.database.address.realm;
        if let Some(connection) = &self.connection {
            match Realm::poll(connection, limit, name).await {
                // The database may have been restarted, or may be somewhere else now.
                Err(
                    PostgresProblem::Statement(_)
                    | PostgresProblem::TimedOut(_)
                    | PostgresProblem::Replica,
                ) => self.connection = None,
                outcome => return outcome,
            }
        }
        let (host, (connection, realm)) = self
            .database
            .try_hosts(self.host, async |connection| {
                let realm = Realm::poll(&connection, limit, name).await?;
                Ok((connection, realm))
            })
            .await?;
        self.host = host;
        self.connection = Some(connection);
        Ok(realm)
    }
}

fn far_from(moment: Instant) -> Instant {
    moment + Duration::from_secs(24 * 60 * 60)
}

/// Between half and all of a time that doubles, so that a thousand servers do not come back at once.
fn backoff(failures: u32) -> Duration {
    let longest = FIRST_BACKOFF.saturating_mul(1 << failures.min(8)).min(LONGEST_BACKOFF);
    let random = SysRng.try_next_u32().unwrap_or(u32::MAX);
    longest.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_failures_grows_and_ends() {
        for (failures, longest) in [(0, 50), (1, 100), (4, 800), (5, 1000), (u32::MAX, 1000)] {
            let longest = Duration::from_millis(longest);
            let backoff = backoff(failures);
            assert!(longest / 2 <= backoff && backoff <= longest, "{failures}: {backoff:?}");
        }
    }
}
