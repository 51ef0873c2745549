//! What large stores cost: requests while the file is replaced, the first read, and a change.
//!
//! Maxima are at the mercy of whatever else the machine does, so a period without replacements goes
//! before each one with them.
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
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
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

    let in_memory = Path::new("/dev/shm");
    let directory = if in_memory.is_dir() {
        tempfile::tempdir_in(in_memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let path = directory.path().join("auth-tokens.json");
    store_file::write(&path, 100_000);
    let megabytes = path.metadata().unwrap().len() / 1_000_000;
    let open = fastest(|| drop(FileTokenStore::open(&path).unwrap()));
    println!("\nread, parse and index 100,000 tokens ({megabytes} MB): {open:.1?}");

    store_file::write(&path, under_load::TOKENS);
    let store = FileTokenStore::options().freshness_window(Duration::ZERO).open(&path).unwrap();
    let create = fastest(|| drop(store.create(NewToken::new()).unwrap()));
    println!("create with 10,000 tokens, in memory, without a window: {create:.1?}");
}

fn fastest(mut act: impl FnMut()) -> Duration {
    let time = |_| {
        let began = Instant::now();
        act();
        began.elapsed()
    };
    (0..20).map(time).min().unwrap_or_default()
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
