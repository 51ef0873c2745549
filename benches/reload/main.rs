//! What large stores cost: requests while the file is replaced, the first read, and a change.
//!
//! Maxima are at the mercy of whatever else the machine does, so a period without replacements goes
//! before each one with them. `-- --sizes` leaves both out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a benchmark is a program for people, and ends where it cannot go on"
)]

#[path = "../store_file.rs"]
mod store_file;
mod under_load;

use std::path::Path;
use std::time::{Duration, Instant};

use opencode_auth::{FileTokenStore, NewToken};

use crate::under_load::Figures;

const ROUNDS: usize = 3;

fn main() {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    if has("--test") {
        return;
    }
    if !has("--sizes") {
        under_load();
    }
    sizes();
}

fn under_load() {
    println!("10,000 tokens, replaced once a second, 4 clients, 2 workers (ms):");
    println!(
        "| | requests | median | 99.9 % | longest | other task: 99.9 % | longest | over 1 ms |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..ROUNDS {
        let quiet = under_load::run(directory.path(), Duration::from_secs(5), None);
        row("not replaced", quiet);
        let second = Some(Duration::from_secs(1));
        let replaced = under_load::run(directory.path(), Duration::from_secs(5), second);
        row(&format!("replaced {} times", replaced.replaced), replaced);
    }
}

fn sizes() {
    let in_memory = Path::new("/dev/shm");
    let directory = if in_memory.is_dir() {
        tempfile::tempdir_in(in_memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let path = directory.path().join("auth-tokens.json");
    store_file::write(&path, 100_000);
    let megabytes = path.metadata().unwrap().len() / 1_000_000;
    let open = fastest(|| FileTokenStore::open(&path).unwrap());
    println!("\nread, parse and index 100,000 tokens ({megabytes} MB): {open}");

    store_file::write(&path, under_load::TOKENS);
    let store = FileTokenStore::options().freshness_window(Duration::ZERO).open(&path).unwrap();
    let create = fastest(|| store.create(NewToken::new()).unwrap());
    println!("create with 10,000 tokens, in memory, without a window: {create}");
}

/// Without the time that it takes to drop what came of it.
fn fastest<T>(mut act: impl FnMut() -> T) -> String {
    let (mut elapsed, mut on_processor) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        let (began, began_at) = (Instant::now(), time_on_processor());
        let _outcome = act();
        elapsed = elapsed.min(began.elapsed());
        on_processor = on_processor.min(time_on_processor().saturating_sub(began_at));
    }
    format!("{elapsed:.1?}, of these on the processor {on_processor:.1?}")
}

/// What this thread got of a busy machine, where Linux tells; otherwise nothing.
fn time_on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn row(name: &str, figures: Figures) {
    let Figures { mut requests, mut delays, .. } = figures;
    requests.sort();
    delays.sort();
    let milliseconds = |duration: Duration| format!("{:.2}", duration.as_secs_f64() * 1e3);
    let most = |sorted: &[Duration]| milliseconds(sorted[sorted.len() - 1 - sorted.len() / 1000]);
    let longest = |sorted: &[Duration]| milliseconds(*sorted.last().unwrap());
    let late = delays.iter().filter(|delay| **delay > Duration::from_millis(1)).count();
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {late} of {} |",
        requests.len(),
        milliseconds(requests[requests.len() / 2]),
        most(&requests),
        longest(&requests),
        most(&delays),
        longest(&delays),
        delays.len(),
    );
}
