//! The records of a store by the digest of their tokens, as requests look them up.

use std::array;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::record::TokenRecord;
use crate::token::TokenDigest;

/// The records of a store, by the digest of their tokens. Collect them from an iterator.
#[derive(Debug, Default)]
pub struct Records(HashMap<TokenDigest, Copies>);

impl Records {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn find(&self, digest: &TokenDigest) -> Option<Arc<TokenRecord>> {
        self.0.get(digest).map(Copies::of_this_thread).cloned()
    }
}

impl FromIterator<TokenRecord> for Records {
    fn from_iter<I: IntoIterator<Item = TokenRecord>>(records: I) -> Self {
        Self(records.into_iter().map(|record| (*record.digest(), Copies::new(record))).collect())
    }
}

/// A record, and copies of it. Whoever holds a record counts a reference to it, and threads that count in
/// the same place wait for each other: so each has a copy of its own, or shares one with few others.
#[derive(Debug)]
struct Copies {
    first: Arc<TokenRecord>,
    /// Made when a second thread comes.
    others: OnceLock<Box<[OnceLock<Arc<TokenRecord>>; LANES - 1]>>,
}

/// Threads are told apart by this number at most.
const LANES: usize = 8;

impl Copies {
    fn new(record: TokenRecord) -> Self {
        Self { first: Arc::new(record), others: OnceLock::new() }
    }

    fn of_this_thread(&self) -> &Arc<TokenRecord> {
        let Some(lane) = lane().checked_sub(1) else { return &self.first };
        let others = self.others.get_or_init(|| Box::new(array::from_fn(|_| OnceLock::new())));
        others[lane].get_or_init(|| Arc::new(TokenRecord::clone(&self.first)))
    }
}

/// This thread's number below [`LANES`]: threads get them in turn.
fn lane() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LANE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % LANES;
    }
    LANE.try_with(|lane| *lane).unwrap_or_default()
}
