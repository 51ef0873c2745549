//! The records of a store, kept in memory, and how long they may decide requests.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_timer::Delay;
use tokio::sync::Notify;

use crate::store::clock::Moment;
use crate::store::records::Records;
use crate::store::{Lookup, LookupResult, StoreError, TokenStore};
use crate::token::TokenDigest;

/// How long a request waits for a refresh. After that, the store could not tell whether its token is valid.
const WAIT_LIMIT: Duration = Duration::from_millis(500);

/// The newest records of a store, kept in memory under a lease.
///
/// Every look-up is served from memory, with one promise:
///
/// > A snapshot may decide a request if and only if the refresh that produced it began no earlier than
/// > the request's start minus the lease.
///
/// A look-up that meets an older snapshot starts a refresh, or waits for the one under way, for at most
/// 500 ms. So every request that starts later than one lease after a change sees the change. A function that
/// changes the store can promise more: if it returns one lease after its commit, every request that starts
/// after it returned sees the change.
///
/// [`FileTokenStore`](crate::FileTokenStore) is built on this type. What differs from store to store is
/// how a refresh is made: see [`Refresher`]. Clones share the snapshot.
///
/// # Write your own store
///
/// ```
/// use std::time::Duration;
///
/// use opencode_auth::{
///     LeasedSnapshot, Lookup, NewToken, Records, Refresh, StoreError, TokenRecord, TokenStore,
/// };
///
/// # #[derive(Clone)]
/// # struct Pool(TokenRecord);
/// # impl Pool {
/// #     async fn load_tokens(&self) -> Result<Vec<TokenRecord>, std::io::Error> {
/// #         Ok(vec![self.0.clone()])
/// #     }
/// # }
/// fn open(pool: Pool) -> LeasedSnapshot {
///     // Called when a request meets a snapshot that is too old. It must not block.
///     let refresh = move |refresh: Refresh| {
///         let pool = pool.clone();
///         tokio::spawn(async move {
///             let records = pool.load_tokens().await.map_err(StoreError::new);
///             refresh.finish(records.map(Records::from_iter));
///         });
///     };
///     LeasedSnapshot::new("the tokens of our database", Duration::from_secs(1), refresh)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (token, record) = NewToken::new().name("ci").issue(time::UtcDateTime::now())?;
/// # let pool = Pool(record);
/// let store = open(pool);
/// let Lookup::Pending(first) = store.find(&token.digest()) else { panic!("nothing is loaded yet") };
/// assert!(first.await?.is_some());
/// let Lookup::Ready(second) = store.find(&token.digest()) else { panic!("it is loaded") };
/// assert_eq!(second?.unwrap().name(), Some("ci"));
/// # Ok(())
/// # }
/// ```
///
/// # Events
///
/// Each change of state is one `tracing` event with the store's location: the store cannot be read, it
/// can be read again, it is missing, it is there.
#[derive(Clone)]
pub struct LeasedSnapshot {
    shared: Arc<Shared>,
}

struct Shared {
    newest: ArcSwap<Snapshot>,
    lease: Duration,
    location: Box<str>,
    refresher: Box<dyn Refresher>,
    progress: Mutex<Progress>,
    /// Wakes the requests that wait for the refresh under way.
    ended: Notify,
}

/// What one refresh found.
struct Snapshot {
    /// The last start of a request that it may decide.
    last_start: Moment,
    records: Result<Arc<Records>, StoreError>,
    is_used: AtomicBool,
}

impl Snapshot {
    fn new(last_start: Moment, records: Result<Arc<Records>, StoreError>) -> Self {
        Self { last_start, records, is_used: AtomicBool::new(false) }
    }

    fn may_decide(&self, started: Moment) -> bool {
        started <= self.last_start
    }

    fn find(&self, digest: &TokenDigest) -> LookupResult {
        match &self.records {
            Ok(records) => Ok(records.find(digest)),
            Err(error) => Err(error.clone()),
        }
    }
}

#[derive(Default)]
struct Progress {
    /// Whether a [`Refresh`] exists that has not ended.
    is_under_way: bool,
    state: State,
}

/// What the last refresh found, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Good,
    Missing,
    Failed,
}

impl LeasedSnapshot {
    /// A snapshot that has to be refreshed before it decides its first request.
    ///
    /// `location` names the store in events, without secrets.
    pub fn new(
        location: impl Into<String>,
        lease: Duration,
        refresher: impl Refresher + 'static,
    ) -> Self {
        let empty = Snapshot::new(Moment::START, Ok(Arc::default()));
        Self {
            shared: Arc::new(Shared {
                newest: ArcSwap::from_pointee(empty),
                lease,
                location: location.into().into_boxed_str(),
                refresher: Box::new(refresher),
                progress: Mutex::default(),
                ended: Notify::new(),
            }),
        }
    }

    /// How long a snapshot may decide requests.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.shared.lease
    }

    /// Whether the newest snapshot may decide a request that starts now.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.shared.newest.load().may_decide(Moment::now())
    }

    /// Whether the newest snapshot has decided a request. A store that polls can stop when it has not.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.shared.newest.load().is_used.load(Ordering::Relaxed)
    }

    /// Begins a refresh before a request needs it. `None` if one is under way.
    #[must_use]
    pub fn begin_refresh(&self) -> Option<Refresh> {
        let mut progress = self.shared.progress();
        if progress.is_under_way {
            return None;
        }
        progress.is_under_way = true;
        Some(Refresh { snapshot: self.clone(), began: Moment::now(), is_finished: false })
    }

    #[cold]
    fn refresh_and_find(&self, started: Moment, digest: &TokenDigest) -> Lookup {
        if let Some(snapshot) = self.refreshed(started) {
            return Lookup::Ready(snapshot.find(digest));
        }
        let (this, digest) = (self.clone(), *digest);
        Lookup::pending(async move {
            let mut time_limit = Delay::new(WAIT_LIMIT);
            loop {
                // Made before the attempt, so that no end of a refresh is missed in between.
                let mut ended = pin!(this.shared.ended.notified());
                if let Some(snapshot) = this.refreshed(started) {
                    return snapshot.find(&digest);
                }
                let is_in_time = poll_fn(|context| match ended.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(true),
                    Poll::Pending => Pin::new(&mut time_limit).poll(context).map(|()| false),
                });
                if !is_in_time.await {
                    return Err(StoreError::new(TooSlow));
                }
            }
        })
    }

    /// A snapshot that may decide a request that started then. `None` if a refresh is under way.
    fn refreshed(&self, started: Moment) -> Option<Arc<Snapshot>> {
        let shared = &*self.shared;
        let mut progress = shared.progress();
        // Another thread may have refreshed it while this one waited for the lock.
        if let Some(snapshot) = shared.deciding(started) {
            return Some(snapshot);
        }
        if progress.is_under_way {
            return None;
        }
        progress.is_under_way = true;
        drop(progress);
        let began = Moment::now();
        shared.refresher.start(Refresh { snapshot: self.clone(), began, is_finished: false });
        // It may have ended on this thread.
        shared.deciding(started)
    }
}

impl TokenStore for LeasedSnapshot {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        let started = Moment::now();
        let snapshot = self.shared.newest.load();
        if snapshot.may_decide(started) {
            // A write for each request would make all threads wait for each other.
            if !snapshot.is_used.load(Ordering::Relaxed) {
                snapshot.is_used.store(true, Ordering::Relaxed);
            }
            return Lookup::Ready(snapshot.find(digest));
        }
        drop(snapshot);
        self.refresh_and_find(started, digest)
    }
}

impl fmt::Debug for LeasedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedSnapshot")
            .field("location", &self.shared.location)
            .field("lease", &self.shared.lease)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn deciding(&self, started: Moment) -> Option<Arc<Snapshot>> {
        let snapshot = self.newest.load_full();
        snapshot.may_decide(started).then_some(snapshot)
    }

    /// Makes what a refresh found the newest snapshot, and returns the change of state to announce.
    fn publish(
        &self,
        progress: &mut Progress,
        began: Moment,
        refreshed: Refreshed,
    ) -> Option<Change> {
        let (state, records) = match refreshed {
            Refreshed::Records(records) => (State::Good, Ok(records)),
            Refreshed::Missing => (State::Missing, Ok(Arc::default())),
            Refreshed::Failed(error) => (State::Failed, Err(error)),
        };
        let error = records.as_ref().err().cloned();
        self.newest.store(Arc::new(Snapshot::new(began.after(self.lease), records)));
        let before = std::mem::replace(&mut progress.state, state);
        (before != state).then_some(Change { before, now: state, error })
    }

    /// Call it with no lock held: a subscriber may be slow, or look up a token.
    fn announce(&self, change: Option<Change>) {
        let Some(Change { before, now, error }) = change else { return };
        let store = &*self.location;
        match (before, now, error) {
            (State::Missing, State::Good, _) => tracing::info!(store, "token store is there"),
            (State::Failed, State::Good, _) => {
                tracing::info!(store, "token store can be read again");
            }
            (State::Good | State::Failed, State::Missing, _) => {
                tracing::warn!(store, "token store is missing: every request is denied");
            }
            (State::Good | State::Missing, State::Failed, Some(error)) => {
                tracing::error!(
                    store,
                    %error,
                    "token store cannot be read: requests with a token get a 503"
                );
            }
            // The caller that opened the store gets the result of the first refresh.
            _ => {}
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // A refresh that panicked has published nothing, and the next one begins anew.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of the store's state, to be announced.
struct Change {
    before: State,
    now: State,
    error: Option<StoreError>,
}

/// How a store is read again. One refresh is made at a time.
///
/// A closure is one: see the example of [`LeasedSnapshot`].
pub trait Refresher: Send + Sync {
    /// Starts a refresh elsewhere, such as in a task or a thread, and returns without waiting for it.
    fn start(&self, refresh: Refresh);
}

impl<F: Fn(Refresh) + Send + Sync> Refresher for F {
    fn start(&self, refresh: Refresh) {
        self(refresh);
    }
}

/// What a refresh found.
#[derive(Clone, Debug)]
pub enum Refreshed {
    /// The store's records.
    Records(Arc<Records>),
    /// There is no store yet, so no token is valid.
    Missing,
    /// The store could not be read. It is not known which tokens are valid.
    Failed(StoreError),
}

impl From<Records> for Refreshed {
    fn from(records: Records) -> Self {
        Self::Records(Arc::new(records))
    }
}

impl From<Result<Records, StoreError>> for Refreshed {
    fn from(records: Result<Records, StoreError>) -> Self {
        records.map_or_else(Self::Failed, Self::from)
    }
}

/// A refresh under way. No other one is started until it ends.
///
/// If it is dropped unfinished, the snapshot stays until its lease ends. After that, the requests that wait get
/// an error (503), and the next request starts another refresh.
#[must_use = "requests wait until it is finished"]
pub struct Refresh {
    snapshot: LeasedSnapshot,
    began: Moment,
    is_finished: bool,
}

impl Refresh {
    /// Begins again: what was read before this call does not count.
    pub fn begin_again(&mut self) {
        self.began = Moment::now();
    }

    /// Publishes what the refresh found, and wakes the requests that wait for it.
    pub fn finish(mut self, refreshed: impl Into<Refreshed>) {
        self.end(Some(refreshed.into()));
    }

    fn end(&mut self, refreshed: Option<Refreshed>) {
        self.is_finished = true;
        let shared = &*self.snapshot.shared;
        let mut progress = shared.progress();
        progress.is_under_way = false;
        let change =
            refreshed.and_then(|refreshed| shared.publish(&mut progress, self.began, refreshed));
        drop(progress);
        shared.ended.notify_waiters();
        shared.announce(change);
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let failed = || Refreshed::Failed(StoreError::new(Unfinished));
        let refreshed = (!self.snapshot.is_fresh()).then(failed);
        self.end(refreshed);
    }
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").field("of", &self.snapshot).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the refresh was given up before it ended")]
struct Unfinished;

#[derive(Debug, thiserror::Error)]
#[error("failed to refresh the tokens in time: the store has not answered for {} ms", WAIT_LIMIT.as_millis())]
struct TooSlow;

#[cfg(test)]
mod tests;
