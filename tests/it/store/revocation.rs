//! A deleted token is denied from the first request that starts after `delete` returned, in every
//! process. A new one is accepted from the first request after `create` returned.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use opencode_auth::{Token, TokenRecord};

use crate::support::hammer::Hammer;
use crate::support::process::{Process, role, shared_clock};
use crate::support::store::{StoreDirectory, find, issue, render, write_private};

const DELETERS: usize = 2;
/// The deletions of one round: few enough that the file is read on the runtime's workers.
const ROUND: usize = 500;

/// What rounds showed.
#[derive(Debug, Default)]
pub struct Shown {
    deletions: usize,
    allowed: usize,
    refused: usize,
    /// Requests that started within the window after the deletion of their token returned.
    close: usize,
}

/// Deletes `count` tokens from other processes, while clients ask with each around the time of its
/// deletion, and with the one that stays. `others` stay as well and make the file large.
fn round(count: usize, others: usize, directory: &StoreDirectory) -> Shown {
    let (tokens, others) = (issue(count + 1), issue(others));
    let records = tokens.iter().chain(&others).map(|(_, record)| record);
    write_private(&directory.file(), render(records));
    // The first stays; each process deletes a part of the others, in order.
    let size = count.div_ceil(DELETERS);
    let parts: Vec<(usize, &[(Token, TokenRecord)])> = tokens[1..]
        .chunks(size)
        .enumerate()
        .map(|(part, tokens)| (1 + part * size, tokens))
        .collect();
    let bounds: Vec<_> = parts.iter().map(|(first, tokens)| (*first, tokens.len())).collect();
    let done: Arc<[AtomicUsize]> = parts.iter().map(|_| AtomicUsize::new(0)).collect();

    let progress = Arc::clone(&done);
    let hammer = Hammer::start(directory.open(), &tokens, move |number| {
        let part = number % (bounds.len() * 8);
        // One request in eight is made with the token that stays.
        let Some((first, length)) = bounds.get(part / 7) else { return 0 };
        let around = progress[part / 7].load(Ordering::Relaxed) + number / 64 % 6;
        first + around.saturating_sub(3).min(length - 1)
    });
    let mut deleted_at = vec![i128::MAX; tokens.len()];
    let reports: Vec<(usize, i128)> = thread::scope(|scope| {
        let deleters: Vec<_> = parts
            .iter()
            .zip(done.iter())
            .map(|((first, tokens), done)| {
                let ids: Vec<_> =
                    tokens.iter().map(|(_, record)| record.id().to_string()).collect();
                let file = directory.file();
                scope.spawn(move || {
                    let mut process =
                        Process::start(&mut role("delete-each", &file, &ids.join(",")));
                    let mut reports = Vec::new();
                    while let Some(report) = process.report() {
                        let (id, returned_at) = report.split_once(' ').unwrap();
                        assert_eq!(id, ids[reports.len()]);
                        done.fetch_add(1, Ordering::Relaxed);
                        reports.push((first + reports.len(), returned_at.parse().unwrap()));
                    }
                    process.finish();
                    reports
                })
            })
            .collect();
        deleters.into_iter().flat_map(|deleter| deleter.join().unwrap()).collect()
    });
    for (token, returned_at) in reports {
        deleted_at[token] = returned_at;
    }

    let mut shown = Shown { deletions: count, ..Shown::default() };
    for told in hammer.stop() {
        let late = told.started - deleted_at[told.token];
        match told.status {
            200 => {
                assert!(
                    late <= 0,
                    "token {} was allowed {late} ns after it was deleted",
                    told.token
                );
                shown.allowed += 1;
            }
            401 => {
                assert_ne!(told.token, 0, "the token that stays was refused");
                shown.refused += 1;
            }
            status => panic!("{status}"),
        }
        shown.close += usize::from((0..10_000_000).contains(&late));
    }
    assert_eq!(directory.open().list().unwrap().len(), 1 + others.len());
    shown
}

/// Deletes that many tokens in the directory, and panics if a request was allowed that must not be.
pub fn delete_under_load(directory: &StoreDirectory, deletions: usize, others: usize) -> Shown {
    let mut left = deletions;
    let mut total = Shown::default();
    while left > 0 {
        let shown = round(left.min(ROUND), others, directory);
        left -= shown.deletions;
        total.deletions += shown.deletions;
        total.allowed += shown.allowed;
        total.refused += shown.refused;
        total.close += shown.close;
    }
    eprintln!("{total:?}");
    // Without a request in time the test shows nothing.
    assert!(total.allowed > total.deletions && total.refused > total.deletions, "{total:?}");
    total
}

#[test]
fn no_request_that_started_after_delete_returned_is_allowed() {
    let count = env::var("OPENCODE_AUTH_TEST_DELETIONS");
    let deletions = count.map_or(ROUND, |count| count.parse().unwrap());
    let shown = delete_under_load(&StoreDirectory::new(), deletions, 0);
    assert!(shown.close > shown.deletions / 2, "{shown:?}");
}

/// A file of over 256 KiB is read off the runtime's workers, and requests wait for it.
#[test]
fn no_request_is_allowed_late_because_the_file_is_large() {
    let directory = StoreDirectory::new();
    let _ = delete_under_load(&directory, 30, 1200);
    assert!(directory.bytes().len() > 256 * 1024);
}

#[test]
fn the_first_request_after_create_returned_is_allowed() {
    let directory = StoreDirectory::with(render([]));
    let server = directory.open();
    let mut process = Process::start(&mut role("create-each", &directory.file(), "50"));
    while let Some(report) = process.report() {
        let (secret, _) = report.split_once(' ').unwrap();
        let digest = secret.parse::<Token>().unwrap().digest();
        let started = shared_clock();
        assert!(find(&server, &digest).unwrap().is_some(), "{report}, asked at {started}");
    }
    process.finish();
    assert_eq!(server.list().unwrap().len(), 50);
}
