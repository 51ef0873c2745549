//! What requests see of a store's file, and how fresh it is.
//!
//! One rule: *a view may decide a request if and only if the look that it came from began no earlier
//! than the start of the request, less the window.* A writer waits that window out before it returns
//! (see `file.rs`), so a revoked token is refused by the first request that starts after `delete`
//! returned, at the price of one look a window instead of one a request.
//!
//! A look opens the file and asks for its stamp. The bytes are read again if the stamp differs or is
//! too young to tell, and parsed only if they differ. Looks that take time (a large file; a file that
//! is torn or missing, which may be an editor at work) are made off the runtime's workers.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::store::file::error::FileStoreError;
use crate::store::file::fingerprint::Fingerprint;
use crate::store::file::read::{MAX_SIZE, StoreFile, parse};
use crate::store::index::Index;
use crate::store::{Lookup, LookupResult, StoreError};
use crate::token::TokenDigest;

/// The largest file that is read on a runtime's worker, in bytes: reading and parsing one takes less
/// than a millisecond or so.
const MAX_SIZE_INLINE: u64 = 256 * 1024;

/// How long a file may be torn or missing before that is what it is.
const SETTLING: Duration = Duration::from_millis(100);

/// How long to wait before looking again at a file that is torn or missing.
const PAUSE: Duration = Duration::from_millis(1);

/// A store's file as requests see it.
#[derive(Debug)]
pub(crate) struct LiveView {
    path: PathBuf,
    window: Duration,
    view: ArcSwap<View>,
    looker: Mutex<Looker>,
    /// Tells those who wait that a look off the workers is done.
    looked: Notify,
}

/// What one look found.
#[derive(Debug)]
struct View {
    /// The last start of a request that it may decide: when the look began, and the window. `None` if there is none.
    last_start: Option<Instant>,
    index: Result<Arc<Index>, StoreError>,
}

impl View {
    fn may_decide(&self, started: Instant) -> bool {
        self.last_start.is_none_or(|last_start| started <= last_start)
    }

    fn find(&self, digest: &TokenDigest) -> LookupResult {
        match &self.index {
            Ok(index) => Ok(index.find(digest)),
            Err(error) => Err(error.clone()),
        }
    }
}

/// Whoever holds it looks; while a look is made off the workers, nobody else does.
#[derive(Debug)]
struct Looker {
    memory: Memory,
    is_away: bool,
}

impl LiveView {
    /// Reads the file for the first time. A file that is missing is an empty store, at once.
    pub(crate) fn open(path: PathBuf, window: Duration) -> Result<Self, StoreError> {
        let mut memory = Memory::default();
        let look_began = Instant::now();
        let (look_began, index) = memory.settle(&path, look_began);
        let view = View { last_start: look_began.checked_add(window), index: Ok(index?) };
        Ok(Self {
            path,
            window,
            view: ArcSwap::from_pointee(view),
            looker: Mutex::new(Looker { memory, is_away: false }),
            looked: Notify::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn window(&self) -> Duration {
        self.window
    }

    /// Looks a token up for a request that starts now.
    pub(crate) fn find(self: &Arc<Self>, digest: &TokenDigest) -> Lookup {
        let started = Instant::now();
        let view = self.view.load();
        if view.may_decide(started) {
            return Lookup::Ready(view.find(digest));
        }
        drop(view);
        self.look_and_find(started, digest)
    }

    #[cold]
    fn look_and_find(self: &Arc<Self>, started: Instant, digest: &TokenDigest) -> Lookup {
        if let Some(view) = self.fresh_view(started) {
            return Lookup::Ready(view.find(digest));
        }
        let (this, digest) = (Arc::clone(self), *digest);
        Lookup::pending(async move {
            loop {
                // Made before the look, so that no news is missed in between.
                let looked = this.looked.notified();
                if let Some(view) = this.fresh_view(started) {
                    return view.find(&digest);
                }
                looked.await;
            }
        })
    }

    /// A view that may decide a request that started then; `None` if it takes a look off the workers,
    /// which is then under way.
    fn fresh_view(self: &Arc<Self>, started: Instant) -> Option<Arc<View>> {
        let mut looker = self.looker();
        // Others may have looked while this one waited.
        let view = self.view.load_full();
        if view.may_decide(started) {
            return Some(view);
        }
        if looker.is_away {
            return None;
        }
        let look_began = Instant::now();
        let observation = looker.memory.look(&self.path, MAX_SIZE_INLINE);
        if let Some(index) = looker.memory.settled(observation) {
            let view = self.publish(look_began, index);
            let change = looker.memory.change.take();
            drop(looker);
            announce(change);
            return Some(view);
        }
        looker.is_away = true;
        let away = Away { memory: mem::take(&mut looker.memory), live: Arc::clone(self) };
        drop(looker);
        if Handle::try_current().is_err() {
            // No runtime's worker can be held up where there is none.
            return Some(away.look(look_began));
        }
        // A thread of its own: the runtime's blocking pool may be full of what waits for this very answer.
        let name = "opencode-auth-look".to_owned();
        match thread::Builder::new().name(name).spawn(move || drop(away.look(look_began))) {
            Ok(_) => None,
            Err(error) => {
                let error = FileStoreError::io("start a thread to read", &self.path, error);
                Some(self.publish(look_began, Err(error.into())))
            }
        }
    }

    fn publish(&self, look_began: Instant, index: Result<Arc<Index>, StoreError>) -> Arc<View> {
        let view = Arc::new(View { last_start: look_began.checked_add(self.window), index });
        self.view.store(Arc::clone(&view));
        view
    }

    fn looker(&self) -> MutexGuard<'_, Looker> {
        // A look that panicked has published nothing, and the next one begins anew.
        self.looker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look off the workers. However it ends, even before it began, the looker comes back.
struct Away {
    memory: Memory,
    live: Arc<LiveView>,
}

impl Away {
    fn look(mut self, first_look_began: Instant) -> Arc<View> {
        let (look_began, index) = self.memory.settle(&self.live.path, first_look_began);
        let view = self.live.publish(look_began, index);
        let change = self.memory.change.take();
        // The looker comes back, and those who wait for the view are told of it.
        drop(self);
        announce(change);
        view
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let mut looker = self.live.looker();
        looker.memory = mem::take(&mut self.memory);
        looker.is_away = false;
        drop(looker);
        self.live.looked.notify_waiters();
    }
}

/// What the last looks found.
#[derive(Debug, Default)]
struct Memory {
    seen: Option<Seen>,
    state: State,
    /// What is to be announced when nobody waits for the looker any more: whoever listens to events may
    /// be slow, or look up a token.
    change: Option<Change>,
}

/// The file has settled to be something else.
#[derive(Debug)]
struct Change {
    before: State,
    now: State,
    error: Option<StoreError>,
}

/// The content that the file had when it was good.
#[derive(Debug)]
struct Seen {
    fingerprint: Fingerprint,
    /// Whether the stamp was old enough *when the bytes were read* that a later change is sure to show
    /// in it. That it is old enough now says nothing of a change right after they were read.
    stamp_tells: bool,
    bytes: Vec<u8>,
    index: Arc<Index>,
}

/// What the file has settled to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Good,
    Missing,
    Broken,
}

enum Observation {
    Good(Arc<Index>),
    Missing,
    Broken(StoreError),
    /// The file has to be read, and is larger than was to be read.
    Large,
}

impl Memory {
    /// Looks once.
    fn look(&mut self, path: &Path, largest: u64) -> Observation {
        self.try_look(path, largest).unwrap_or_else(|error| Observation::Broken(error.into()))
    }

    fn try_look(&mut self, path: &Path, largest: u64) -> Result<Observation, FileStoreError> {
        let now = SystemTime::now();
        let Some(file) = StoreFile::open(path)? else {
            return Ok(Observation::Missing);
        };
        if let Some(seen) = self
            .seen
            .as_ref()
            .filter(|seen| seen.stamp_tells && seen.fingerprint == file.fingerprint())
        {
            return Ok(Observation::Good(Arc::clone(&seen.index)));
        }
        if file.fingerprint().size() > largest {
            return Ok(Observation::Large);
        }
        let fingerprint = file.fingerprint();
        let bytes = file.read(path)?;
        let index = match &self.seen {
            Some(seen) if seen.bytes == bytes => Arc::clone(&seen.index),
            _ => Arc::new(parse(path, &bytes)?.into_index()),
        };
        let stamp_tells = !fingerprint.is_racy(now);
        self.seen = Some(Seen { fingerprint, stamp_tells, bytes, index: Arc::clone(&index) });
        Ok(Observation::Good(index))
    }

    /// The index that an observation stands for, or the error; `None` if it may pass by itself.
    fn settled(&mut self, observation: Observation) -> Option<Result<Arc<Index>, StoreError>> {
        match (observation, self.state) {
            (Observation::Good(index), _) => {
                self.enter(State::Good, None);
                Some(Ok(index))
            }
            (Observation::Missing, State::Missing) => Some(Ok(Arc::default())),
            (Observation::Broken(error), State::Broken) => Some(Err(error)),
            (Observation::Missing | Observation::Broken(_) | Observation::Large, _) => None,
        }
    }

    /// Looks, and looks again while the file is torn or missing, until 100 ms after the first look.
    /// Answers when the look began that decided, and what it found.
    fn settle(
        &mut self,
        path: &Path,
        first_look_began: Instant,
    ) -> (Instant, Result<Arc<Index>, StoreError>) {
        loop {
            let look_began = Instant::now();
            let observation = self.look(path, MAX_SIZE);
            let lasting = match &observation {
                Observation::Missing if self.state == State::New => Some(State::Missing),
                _ if look_began.duration_since(first_look_began) < SETTLING => None,
                Observation::Missing => Some(State::Missing),
                Observation::Broken(_) => Some(State::Broken),
                Observation::Good(_) | Observation::Large => None,
            };
            if let Some(state) = lasting {
                let error =
                    if let Observation::Broken(error) = &observation { Some(error) } else { None };
                self.enter(state, error);
            }
            if let Some(index) = self.settled(observation) {
                return (look_began, index);
            }
            thread::sleep(PAUSE);
        }
    }

    fn enter(&mut self, state: State, error: Option<&StoreError>) {
        let before = mem::replace(&mut self.state, state);
        // The first look's outcome is the answer of `open`.
        if before != state && before != State::New {
            self.change = Some(Change { before, now: state, error: error.cloned() });
        }
    }
}

/// One event for each change of state.
fn announce(change: Option<Change>) {
    let Some(Change { before, now, error }) = change else { return };
    match (now, error) {
        (State::Good, _) if before == State::Missing => tracing::info!("token store is there"),
        (State::Good, _) => tracing::info!("token store can be read again"),
        (State::Missing, _) => tracing::warn!("token store is missing: every token is refused"),
        (State::Broken, Some(error)) => {
            tracing::error!(%error, "token store cannot be read: requests with a token are answered 503");
        }
        (State::New | State::Broken, _) => {}
    }
}
