use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use time::UtcDateTime;

use super::*;
use crate::record::{NewToken, TokenRecord};
use crate::store::LookupFuture;

const LEASE: Duration = Duration::from_millis(40);

/// A snapshot whose refreshes arrive at the receiver, and a record to find in it.
fn snapshot(lease: Duration) -> (LeasedSnapshot, mpsc::Receiver<Refresh>, TokenRecord) {
    let (sender, refreshes) = mpsc::channel();
    let start = move |refresh| drop(sender.send(refresh));
    let (_, record) = NewToken::new().issue(UtcDateTime::now()).unwrap();
    (LeasedSnapshot::new("test", lease, start), refreshes, record)
}

fn records(record: &TokenRecord) -> Records {
    [record.clone()].into_iter().collect()
}

fn failure() -> StoreError {
    StoreError::new(std::io::Error::other("no connection"))
}

#[track_caller]
fn pending(lookup: Lookup) -> LookupFuture {
    let Lookup::Pending(mut future) = lookup else { panic!("{lookup:?}") };
    assert!(poll(&mut future).is_pending());
    future
}

fn poll(future: &mut LookupFuture) -> Poll<LookupResult> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn ready(poll: Poll<LookupResult>) -> LookupResult {
    let Poll::Ready(result) = poll else { panic!("it is pending") };
    result
}

#[track_caller]
fn at_once(lookup: Lookup) -> LookupResult {
    let Lookup::Ready(result) = lookup else { panic!("{lookup:?}") };
    result
}

#[test]
fn requests_wait_for_one_refresh_and_get_what_it_found() {
    let (snapshot, refreshes, record) = snapshot(Duration::MAX);
    let mut first = pending(snapshot.find(record.digest()));
    let mut second = pending(snapshot.find(record.digest()));
    assert!(snapshot.begin_refresh().is_none());

    refreshes.try_recv().unwrap().finish(records(&record));
    assert!(refreshes.try_recv().is_err());
    assert_eq!(ready(poll(&mut first)).unwrap().as_deref(), Some(&record));
    assert_eq!(ready(poll(&mut second)).unwrap().as_deref(), Some(&record));
    assert_eq!(at_once(snapshot.find(record.digest())).unwrap().as_deref(), Some(&record));
}

#[test]
fn a_refresh_that_began_too_early_does_not_decide() {
    let (snapshot, refreshes, record) = snapshot(LEASE);
    let first = pending(snapshot.find(record.digest()));
    drop(first);
    thread::sleep(LEASE * 2);
    let mut second = pending(snapshot.find(record.digest()));
    refreshes.try_recv().unwrap().finish(records(&record));
    // It starts another refresh, which begins after the request started.
    assert!(poll(&mut second).is_pending());
    refreshes.try_recv().unwrap().finish(Refreshed::Missing);
    assert_eq!(ready(poll(&mut second)).unwrap(), None);
}

#[test]
fn a_snapshot_decides_until_its_lease_ends() {
    let (snapshot, refreshes, record) = snapshot(LEASE);
    assert!(!snapshot.is_fresh());
    // The refresh begins between the two.
    let before = Moment::now();
    let refresh = snapshot.begin_refresh().unwrap();
    let after = Moment::now();
    refresh.finish(records(&record));
    loop {
        let lookup = snapshot.find(record.digest());
        if before.elapsed() > LEASE {
            break;
        }
        assert!(at_once(lookup).unwrap().is_some());
    }
    while after.elapsed() <= LEASE {}
    let late = pending(snapshot.find(record.digest()));
    assert!(!snapshot.is_fresh());
    drop((late, refreshes));
}

#[test]
fn what_was_read_before_the_restart_does_not_count() {
    let (snapshot, _refreshes, record) = snapshot(LEASE);
    let mut refresh = snapshot.begin_refresh().unwrap();
    thread::sleep(LEASE * 2);
    refresh.begin_again();
    refresh.finish(records(&record));
    assert!(at_once(snapshot.find(record.digest())).unwrap().is_some());
}

#[test]
fn a_failure_is_neither_yes_nor_no() {
    let (snapshot, refreshes, record) = snapshot(Duration::MAX);
    let mut waiting = pending(snapshot.find(record.digest()));
    refreshes.try_recv().unwrap().finish(Refreshed::Failed(failure()));
    assert!(ready(poll(&mut waiting)).is_err());
    assert!(at_once(snapshot.find(record.digest())).is_err());
}

#[test]
fn a_refresh_that_is_dropped_leaves_a_fresh_snapshot_as_it_is() {
    let (snapshot, _refreshes, record) = snapshot(Duration::MAX);
    snapshot.begin_refresh().unwrap().finish(records(&record));
    drop(snapshot.begin_refresh().unwrap());
    assert!(at_once(snapshot.find(record.digest())).unwrap().is_some());
    assert!(snapshot.begin_refresh().is_some());
}

#[test]
fn a_refresh_that_is_dropped_fails_the_requests_that_wait() {
    let (snapshot, refreshes, record) = snapshot(LEASE);
    let mut waiting = pending(snapshot.find(record.digest()));
    drop(refreshes.try_recv().unwrap());
    let error = ready(poll(&mut waiting)).unwrap_err();
    assert!(error.to_string().contains("the refresh was given up before it ended"), "{error}");
    thread::sleep(LEASE * 2);
    let mut next = pending(snapshot.find(record.digest()));
    refreshes.try_recv().unwrap().finish(records(&record));
    assert!(ready(poll(&mut next)).unwrap().is_some());
}

#[test]
fn a_snapshot_is_used_once_it_decides_a_request() {
    let (snapshot, _refreshes, record) = snapshot(Duration::MAX);
    snapshot.begin_refresh().unwrap().finish(records(&record));
    assert!(!snapshot.is_used());
    drop(snapshot.find(record.digest()));
    assert!(snapshot.is_used());
    snapshot.begin_refresh().unwrap().finish(records(&record));
    assert!(!snapshot.is_used());
}

#[test]
fn a_refresh_that_ends_on_the_request_s_thread_is_not_waited_for() {
    let (_, record) = NewToken::new().issue(UtcDateTime::now()).unwrap();
    let digest = *record.digest();
    let start = move |refresh: Refresh| refresh.finish(records(&record));
    let snapshot = LeasedSnapshot::new("test", Duration::ZERO, start);
    assert!(at_once(snapshot.find(&digest)).unwrap().is_some());
}
