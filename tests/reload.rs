//! A large store is replaced while requests run. `cargo bench --bench reload` has the figures; here only
//! what no machine is too busy for.
#![cfg(test)] // clippy.toml's exceptions for tests hold in their helpers too.
#![allow(dead_code, unreachable_pub, reason = "it shares its modules with a benchmark")]

#[path = "../benches/store_file.rs"]
mod store_file;
#[path = "../benches/reload/under_load.rs"]
mod under_load;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opencode_auth::{FileTokenStore, Lookup, NewToken, TokenDigest, TokenStore as _};
use tokio::runtime::Runtime;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

#[test]
fn requests_see_each_replacement_of_a_large_store_and_the_runtime_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let figures =
        under_load::run(directory.path(), Duration::from_secs(2), Some(Duration::from_millis(300)));
    assert!(figures.replaced >= 2);
    // Parsing without optimisation holds a worker up for longer than that if it is done there.
    let late = figures.delays.iter().filter(|delay| **delay > Duration::from_millis(20)).count();
    assert!(late * 20 < figures.delays.len(), "{late} of {}", figures.delays.len());
}

/// A subscriber to events may be slow, or may look a token up.
#[test]
fn a_change_of_state_is_announced_when_no_request_waits_for_the_refresh() {
    static HEARD: AtomicBool = AtomicBool::new(false);
    struct LooksUp(FileTokenStore, TokenDigest);

    impl<S: tracing::Subscriber> Layer<S> for LooksUp {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            if *event.metadata().level() != tracing::Level::WARN {
                return;
            }
            let found = match self.0.find(&self.1) {
                Lookup::Ready(found) => found,
                Lookup::Pending(lookup) => Runtime::new().unwrap().block_on(lookup),
            };
            assert!(found.unwrap().is_none());
            HEARD.store(true, Ordering::SeqCst);
        }
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth-tokens.json");
    let store = FileTokenStore::open(&path).unwrap();
    let digest = store.create(NewToken::new()).unwrap().token.digest();
    let listener = LooksUp(store.clone(), digest);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(listener)).unwrap();

    let runtime = Runtime::new().unwrap();
    let look = || {
        let found = runtime.block_on(async {
            match store.find(&digest) {
                Lookup::Ready(found) => found,
                Lookup::Pending(lookup) => {
                    tokio::time::timeout(Duration::from_secs(20), lookup).await.unwrap()
                }
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        found.unwrap()
    };
    assert!(look().is_some());
    // The missing file is found and announced outside the workers.
    std::fs::remove_file(&path).unwrap();
    assert!(look().is_none());
    assert!(look().is_none());
    let asked = Instant::now();
    while !HEARD.load(Ordering::SeqCst) {
        assert!(asked.elapsed() < Duration::from_secs(20), "nobody was told");
        std::thread::yield_now();
    }
}
