//! The records of a store by the digest of their tokens, as requests look them up.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::record::TokenRecord;
use crate::token::TokenDigest;

/// The records of a store, by the digest of their tokens. Collect them from an iterator.
#[derive(Debug, Default)]
pub struct Records(HashMap<TokenDigest, Arc<TokenRecord>, Hashed>);

/// A client cannot choose a digest, so a fast hash is enough. It has a random seed and reads all 32 bytes, because
/// a store's file could contain many digests that share their first bytes.
type Hashed = RandomState;

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
        self.0.get(digest).cloned()
    }
}

impl FromIterator<TokenRecord> for Records {
    fn from_iter<I: IntoIterator<Item = TokenRecord>>(records: I) -> Self {
        Self(records.into_iter().map(|record| (*record.digest(), Arc::new(record))).collect())
    }
}
