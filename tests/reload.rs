//! A large store is replaced while requests run. `cargo bench --bench reload` has the figures; here only
//! what no machine is too busy for.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking, and shares its modules with a benchmark"
)]

#[path = "../benches/store_file.rs"]
mod store_file;
#[path = "../benches/reload/under_load.rs"]
mod under_load;

use std::time::Duration;

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
