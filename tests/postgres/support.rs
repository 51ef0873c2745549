//! What the tests share.

use std::time::{Duration, Instant};

use opencode_auth::{LookupResult, NewToken, PostgresTokenStore, Token, TokenStore as _};

/// A short lease, so that tests are quick.
pub(crate) const LEASE: Duration = Duration::from_millis(200);

/// The cluster that most tests share, or the end of the test.
#[macro_export]
macro_rules! shared_cluster {
    () => {
        match $crate::cluster::Cluster::shared() {
            Some(cluster) => cluster,
            None => return,
        }
    };
}

/// A cluster of the test's own, or the end of the test.
#[macro_export]
macro_rules! own_cluster {
    () => {
        match $crate::cluster::Cluster::start() {
            Some(cluster) => cluster,
            None => return,
        }
    };
}

pub(crate) async fn open(url: &str) -> PostgresTokenStore {
    PostgresTokenStore::open(url).await.unwrap()
}

/// Creates a token with this name.
pub(crate) async fn create(store: &PostgresTokenStore, name: &str) -> Token {
    store.create(NewToken::new().name(name)).await.unwrap().token
}

/// What a request with this token finds.
pub(crate) async fn find(store: &PostgresTokenStore, token: &Token) -> LookupResult {
    store.find(&token.digest()).wait().await
}

/// Whether a request with this token finds a record. Panics if the store cannot tell.
pub(crate) async fn is_known(store: &PostgresTokenStore, token: &Token) -> bool {
    find(store, token).await.unwrap().is_some()
}

/// Waits until the store can tell again.
pub(crate) async fn until_known(store: &PostgresTokenStore, token: &Token) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match find(store, token).await {
            Ok(found) => return assert!(found.is_some(), "the token is gone"),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for a token again and again, and asserts that it is known until some moment and never after that,
/// where each request counts from its start. Returns the first error.
pub(crate) async fn until_it_cannot_tell(
    store: &PostgresTokenStore,
    token: &Token,
    cut_off_at: Instant,
    lease: Duration,
) -> String {
    loop {
        let started = Instant::now();
        let found = find(store, token).await;
        assert!(started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
        match found {
            // The last poll may have been sent right before.
            Ok(Some(_)) => assert!(
                started.duration_since(cut_off_at) <= lease + Duration::from_millis(50),
                "it was allowed {:?} after it was cut off",
                started.duration_since(cut_off_at)
            ),
            Ok(None) => panic!("it was denied in doubt"),
            Err(error) => return error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
