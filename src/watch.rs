//! Tells open streams when their token ends.
//!
//! One thread for each layer polls the store while a stream is open, and ends with the last one. A thread does
//! not depend on a certain runtime or its timers, and serves streams of several runtimes. A stream costs no task and
//! no timer: it waits for a signal that all streams of its token share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::decision::{Denial, authorize};
use crate::permission::Permissions;
use crate::store::{Lookup, LookupFuture, LookupResult, TokenStore};
use crate::token::{TokenDigest, TokenId};

/// How often the store is polled. A deleted token's streams end after at most two intervals.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many look-ups are begun at once, and how long the next ones wait for these.
const CONCURRENT: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);

/// How many look-ups may be under way, and for how long. One that takes longer counts as "could not tell".
const MAX_PENDING: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a look-up is under way at least if others wait for its place. A shorter time than a slow store takes
/// would end none of them. This crate's stores take 500 ms at most.
const CROWDED_PATIENCE: Duration = Duration::from_millis(600);

/// What a stream's token has to be: known, not expired, and granted what the request required.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) digest: TokenDigest,
    pub(crate) id: TokenId,
    pub(crate) required: Permissions,
}

impl Subject {
    /// Whether a look-up's result still allows what the request required. `None` if the store could not tell.
    pub(crate) fn is_allowed(&self, found: LookupResult) -> Option<bool> {
        let record = found.ok()?;
        Some(authorize(record, self.required, SystemTime::now()).is_ok())
    }
}

/// Polls a store for the open streams of one layer.
pub(crate) struct Watch {
    id: WatchId,
    store: Box<dyn TokenStore + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<TokenDigest, Vec<Open>>,
    is_polling: bool,
}

/// The open streams that share a signal. It is dropped with the last of them.
struct Open {
    subject: Subject,
    /// Where the look-ups of a store may have to run. The signal is not shared with another runtime's
    /// streams, so this runtime still runs if one of them is left.
    runtime: Option<Handle>,
    signal: Weak<Signal>,
}

impl Watch {
    pub(crate) fn new(store: impl TokenStore + Send + Sync + 'static) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let watch = Arc::new(Self {
            id: WatchId(NEXT.fetch_add(1, Ordering::Relaxed)),
            store: Box::new(store),
            state: Mutex::default(),
        });
        watches().insert(watch.id.0, Arc::downgrade(&watch));
        watch
    }

    pub(crate) const fn id(&self) -> WatchId {
        self.id
    }

    /// Resolves when the token ends.
    pub(crate) fn ended(self: &Arc<Self>, subject: Subject) -> Ended {
        let runtime = Handle::try_current().ok();
        let mut state = self.state();
        let open = state.open.entry(subject.digest).or_default();
        // A client that opens and closes streams quickly must not make this list long.
        open.retain(|open| open.signal.strong_count() > 0);
        let shared = open
            .iter()
            .filter(|open| {
                open.subject.required == subject.required
                    && is_same(open.runtime.as_ref(), runtime.as_ref())
            })
            .find_map(|open| open.signal.upgrade());
        let signal = shared.unwrap_or_else(|| {
            let signal = Arc::default();
            open.push(Open { subject, runtime, signal: Arc::downgrade(&signal) });
            signal
        });
        self.poll(state);
        Ended::new(signal)
    }

    /// The store's own look-up.
    pub(crate) fn find(&self, digest: &TokenDigest) -> Lookup {
        self.store.find(digest)
    }

    /// Starts the thread unless it runs.
    fn poll(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.is_polling {
            return;
        }
        let watch = Arc::clone(self);
        let name = "opencode-auth-watch".to_owned();
        let run = move || {
            let mut pending = Vec::new();
            // A round that panics has told nothing, and the next one tries again.
            let mut round = || catch_unwind(AssertUnwindSafe(|| watch.round(&mut pending)));
            while round().unwrap_or(true) {}
        };
        match thread::Builder::new().name(name).spawn(run) {
            Ok(_) => state.is_polling = true,
            Err(error) => {
                // Nobody would tell these streams that their token ended, so they end now.
                tracing::error!(%error, "failed to start a thread to watch tokens: open streams end");
                state.signal_all();
            }
        }
    }

    /// Waits an interval, and begins a look-up for each token that has none under way. One that takes longer is
    /// carried over to the next rounds, so that no token waits for another's. Whether there is anything left to
    /// poll for.
    fn round(&self, pending: &mut Vec<PendingLookup>) -> bool {
        self.wait(pending, INTERVAL, None);
        let (tokens, _given_up): (Vec<_>, Vec<_>) = {
            let mut state = self.state();
            state.forget_closed();
            if state.open.is_empty() {
                state.is_polling = false;
                return false;
            }
            let is_futile = |lookup: &mut PendingLookup| {
                lookup.began.elapsed() >= PATIENCE || !state.is_open(lookup)
            };
            let given_up = pending.extract_if(.., is_futile).collect();
            let under_way: HashSet<_> = pending.iter().map(|lookup| lookup.digest).collect();
            let tokens = state.open.iter().filter(|(digest, _)| !under_way.contains(*digest));
            let runtime = |open: &Vec<Open>| open.last().and_then(|open| open.runtime.clone());
            (tokens.map(|(digest, open)| (*digest, runtime(open))).collect(), given_up)
        };
        let mut begun = 0;
        for (digest, runtime) in tokens {
            let _entered = runtime.as_ref().map(Handle::enter);
            match catch_unwind(AssertUnwindSafe(|| self.store.find(&digest))) {
                Ok(Lookup::Ready(found)) => self.decide(digest, found),
                Ok(Lookup::Pending(lookup)) => {
                    self.make_room(pending);
                    pending.push(PendingLookup::new(digest, runtime.clone(), lookup));
                    begun += 1;
                }
                // The store panicked, so it could not tell.
                Err(_) => {}
            }
            if begun == CONCURRENT {
                self.wait(pending, PAUSE, Some(pending.len().saturating_sub(begun)));
                begun = 0;
            }
        }
        true
    }

    /// Waits for a place for another look-up, and gives the oldest one up if there is none.
    fn make_room(&self, pending: &mut Vec<PendingLookup>) {
        let Some(oldest) = pending.first().filter(|_| pending.len() == MAX_PENDING) else { return };
        let time = CROWDED_PATIENCE.saturating_sub(oldest.began.elapsed());
        self.wait(pending, time, Some(MAX_PENDING - 1));
        if pending.len() == MAX_PENDING {
            pending.remove(0);
        }
    }

    /// Polls look-ups until the time is over, or until only this many are left.
    fn wait(&self, pending: &mut Vec<PendingLookup>, time: Duration, enough: Option<usize>) {
        let began = Instant::now();
        loop {
            pending.retain_mut(|lookup| match lookup.poll() {
                Ok(Poll::Pending) => true,
                Ok(Poll::Ready(found)) => {
                    self.decide(lookup.digest, found);
                    false
                }
                // It panicked, so it could not tell.
                Err(_) => false,
            });
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() || enough.is_some_and(|enough| pending.len() <= enough) {
                return;
            }
            thread::park_timeout(left);
        }
    }

    /// Ends the streams of a token that is no longer granted what their requests required.
    fn decide(&self, digest: TokenDigest, found: LookupResult) {
        // A store that could not tell ends nothing: it may be able to in a moment.
        let Ok(record) = found else { return };
        let now = SystemTime::now();
        let mut ended = Vec::new();
        if let Some(open) = self.state().open.get_mut(&digest) {
            open.retain(|open| match authorize(record.clone(), open.subject.required, now) {
                Ok(_) => true,
                Err(denial) => {
                    ended.push((denial, open.subject.id, open.signal.clone()));
                    false
                }
            });
        }
        ended.retain(|(_, _, signal)| signal.upgrade().inspect(|signal| signal.set()).is_some());
        // A subscriber may be slow, and it must not keep the streams open.
        for (denial, id, _) in ended {
            announce(&denial, id);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn announce(denial: &Denial, id: TokenId) {
    // A subscriber that panics must not keep the streams open.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        tracing::info!(kind = denial.kind(), token = %id, "open streams ended with their token");
    }));
}

impl State {
    fn forget_closed(&mut self) {
        for open in self.open.values_mut() {
            open.retain(|open| open.signal.strong_count() > 0);
        }
        self.open.retain(|_, open| !open.is_empty());
    }

    /// Whether a stream is open for which the look-up was begun.
    fn is_open(&self, lookup: &PendingLookup) -> bool {
        let runtime = lookup.runtime.as_ref();
        let open = self.open.get(&lookup.digest);
        open.is_some_and(|open| open.iter().any(|open| is_same(open.runtime.as_ref(), runtime)))
    }

    fn signal_all(&mut self) {
        for open in std::mem::take(&mut self.open).into_values().flatten() {
            if let Some(signal) = open.signal.upgrade() {
                signal.set();
            }
        }
    }
}

fn is_same(one: Option<&Handle>, other: Option<&Handle>) -> bool {
    one.map(Handle::id) == other.map(Handle::id)
}

impl Drop for Watch {
    fn drop(&mut self) {
        watches().remove(&self.id.0);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

struct PendingLookup {
    digest: TokenDigest,
    runtime: Option<Handle>,
    lookup: LookupFuture,
    began: Instant,
    woken: Arc<Woken>,
}

impl PendingLookup {
    fn new(digest: TokenDigest, runtime: Option<Handle>, lookup: LookupFuture) -> Self {
        let woken = Woken { is_set: AtomicBool::new(true), thread: thread::current() };
        Self { digest, runtime, lookup, began: Instant::now(), woken: Arc::new(woken) }
    }

    /// Polls the look-up if it was woken.
    fn poll(&mut self) -> thread::Result<Poll<LookupResult>> {
        if !self.woken.is_set.swap(false, Ordering::SeqCst) {
            return Ok(Poll::Pending);
        }
        let _entered = self.runtime.as_ref().map(Handle::enter);
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        catch_unwind(AssertUnwindSafe(|| self.lookup.as_mut().poll(&mut context)))
    }
}

struct Woken {
    is_set: AtomicBool,
    thread: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Names a watch. A principal holds this and not an `Arc`: a count of references that each request changes is
/// one that all threads write to, and one such count, of the response future, is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchId(u64);

impl WatchId {
    /// No watch: the token of a principal that a test made never ends.
    pub(crate) const NONE: Self = Self(u64::MAX);

    /// Resolves when the token ends. If the layer is gone, it has ended.
    pub(crate) fn ended(self, subject: Subject) -> Ended {
        if self == Self::NONE {
            return Ended { waiting: None, is_ended: false };
        }
        let watch = watches().get(&self.0).and_then(Weak::upgrade);
        watch.map_or(Ended { waiting: None, is_ended: true }, |watch| watch.ended(subject))
    }
}

fn watches() -> MutexGuard<'static, BTreeMap<u64, Weak<Watch>>> {
    static WATCHES: Mutex<BTreeMap<u64, Weak<Watch>>> = Mutex::new(BTreeMap::new());
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Set once, for all that wait for it.
#[derive(Default)]
struct Signal {
    is_set: AtomicBool,
    notify: Arc<Notify>,
}

impl Signal {
    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        // A waker is code of the runtime's and may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| self.notify.notify_waiters()));
    }
}

/// A future that resolves when a token ends: when it is deleted, rotated or expired, or loses a permission
/// that the request required. From [`Principal::ended`](crate::Principal::ended).
#[must_use = "futures do nothing unless polled"]
pub struct Ended {
    waiting: Option<(Arc<Signal>, Pin<Box<OwnedNotified>>)>,
    is_ended: bool,
}

impl Ended {
    fn new(signal: Arc<Signal>) -> Self {
        // It sees each notification from its creation on, so the signal is read after it.
        let notified = Box::pin(Arc::clone(&signal.notify).notified_owned());
        Self { waiting: Some((signal, notified)), is_ended: false }
    }
}

impl Future for Ended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_ended
            && let Some((signal, notified)) = &mut self.waiting
            && (signal.is_set.load(Ordering::SeqCst) || notified.as_mut().poll(context).is_ready())
        {
            self.is_ended = true;
            self.waiting = None;
        }
        if self.is_ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").field("is_ended", &self.is_ended).finish_non_exhaustive()
    }
}
