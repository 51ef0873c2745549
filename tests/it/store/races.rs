//! What happens between two steps of the store: a link that is turned, a lock that is removed, a runtime
//! that has no thread to spare.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use opencode_auth::{
    AuthLayer, ChangeError, FileStoreError, FileTokenStore, Lookup, NewToken, TokenStore as _,
};
use tokio::runtime::Builder;

use crate::support::store::{StoreDirectory, fault, find, issue, render, set_mode, write_private};
use crate::support::{bearer, send};

/// A store with a token, and the held lock of its file.
fn locked_store(directory: &StoreDirectory) -> (FileTokenStore, File) {
    let store = directory.open();
    let _ = store.create(NewToken::new().name("ci")).unwrap();
    let lock = File::options().write(true).open(lock_of(directory)).unwrap();
    lock.lock().unwrap();
    (store, lock)
}

fn lock_of(directory: &StoreDirectory) -> std::path::PathBuf {
    let mut lock = directory.file().into_os_string();
    lock.push(".lock");
    lock.into()
}

/// A deletion that waits for the lock.
fn delete_meanwhile(store: &FileTokenStore) -> thread::JoinHandle<Result<usize, ChangeError>> {
    let store = store.clone();
    let waiting = thread::spawn(move || store.delete("ci").map(|deleted| deleted.records.len()));
    thread::sleep(Duration::from_millis(100));
    waiting
}

#[cfg(unix)]
#[test]
fn a_link_that_is_turned_while_a_change_waits_is_not_written_past() {
    let directory = StoreDirectory::new();
    let (old, new) = (directory.file(), directory.file().with_extension("other"));
    let link = directory.file().with_extension("link");
    std::os::unix::fs::symlink(&old, &link).unwrap();
    let (_, lock) = locked_store(&directory);
    fs::copy(&old, &new).unwrap();
    let store = FileTokenStore::open(&link).unwrap();

    let waiting = delete_meanwhile(&store);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&new, &link).unwrap();
    drop(lock);
    let error = waiting.join().unwrap().unwrap_err();
    assert!(matches!(fault(&error), FileStoreError::Moved { .. }), "{error}");
    let expected = format!(
        "failed to use `{}`: it, or a link that points to it, was moved or replaced meanwhile; try again",
        link.display(),
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read(&old).unwrap(), fs::read(&new).unwrap());
    assert_eq!(store.delete("ci").unwrap().records.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_lock_that_was_removed_does_not_let_two_writers_in() {
    let directory = StoreDirectory::new();
    let (store, removed) = locked_store(&directory);
    let waiting = delete_meanwhile(&store);
    fs::remove_file(lock_of(&directory)).unwrap();
    let other = File::options().write(true).create_new(true).open(lock_of(&directory)).unwrap();
    other.lock().unwrap();
    drop(removed);
    thread::sleep(Duration::from_millis(100));
    assert!(!waiting.is_finished(), "the change went on with a lock that nobody else meets");
    drop(other);
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
}

/// A user who can change the link gains nothing by changing it between the check of a file and the read.
#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_while_it_is_checked_is_not_trusted() {
    let directory = StoreDirectory::new();
    let tokens = issue(2);
    let files = ["trusted", "untrusted"].map(|name| directory.path().join(name));
    for (file, (_, record)) in files.iter().zip(&tokens) {
        write_private(file, render([record]));
    }
    set_mode(&files[1], 0o666);
    let turn = |to: usize| {
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&files[to], &link).unwrap();
        fs::rename(link, directory.file()).unwrap();
    };
    turn(0);
    let began = Instant::now();
    let goes_on = || began.elapsed() < Duration::from_secs(1);
    let mut opened = 0;
    thread::scope(|scope| {
        scope.spawn(|| (0..).take_while(|_| goes_on()).for_each(|number| turn(number % 2)));
        while goes_on() {
            let Ok(store) = FileTokenStore::open(directory.file()) else { continue };
            opened += 1;
            let found = find(&store, &tokens[1].0.digest());
            assert!(!matches!(found, Ok(Some(_))), "opened for the {opened}th time");
        }
    });
    assert!(opened > 10, "opened {opened} times");
}

#[test]
fn a_lock_that_is_held_for_long_is_acquired_when_it_is_free() {
    let directory = StoreDirectory::new();
    let (_, lock) = locked_store(&directory);
    let store = FileTokenStore::options()
        .lock_timeout(Duration::from_millis(5))
        .open(directory.file())
        .unwrap();
    for _ in 0..100 {
        let error = store.delete("ci").unwrap_err();
        let expected = format!(
            "failed to lock `{}`: another process or thread has held it for 5 ms; end that process, or try again",
            lock_of(&directory).display(),
        );
        assert_eq!(error.to_string(), expected);
    }
    let waiting = delete_meanwhile(&directory.open());
    drop(lock);
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
    let store = directory.open();
    for name in ["a", "b"] {
        let _ = store.create(NewToken::new().name(name)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_wait_for_the_lock_that_timed_out_does_not_keep_it() {
    let directory = StoreDirectory::new();
    let (store, lock) = locked_store(&directory);
    let hasty = FileTokenStore::options().lock_timeout(Duration::from_millis(5));
    assert!(hasty.open(directory.file()).unwrap().delete("ci").is_err());
    drop(lock);
    assert_eq!(store.delete("ci").unwrap().records.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_lock_that_somebody_exchanges_all_the_time_is_given_up_in_time() {
    let directory = StoreDirectory::new();
    let store = FileTokenStore::options()
        .lock_timeout(Duration::from_millis(30))
        .open(directory.file())
        .unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let exchange = || {
            let beside = directory.path().join("beside");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&beside, "").unwrap();
                fs::rename(&beside, lock_of(&directory)).unwrap();
            }
        };
        scope.spawn(exchange);
        for _ in 0..50 {
            let began = Instant::now();
            let outcome = store.create(NewToken::new());
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {outcome:?}", began.elapsed());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// opencode runs shells: its blocking pool may well be full.
#[test]
fn a_half_written_file_is_decided_in_time_on_a_busy_runtime() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let directory = StoreDirectory::new();
    let store = directory.open();
    let created = store.create(NewToken::new()).unwrap();
    fs::write(directory.file(), "torn").unwrap();
    let app = Router::new().route("/config", get(async || "")).layer(AuthLayer::new(store));
    let (began, status) = runtime.block_on(async {
        let busy = tokio::task::spawn_blocking(|| thread::sleep(Duration::from_secs(2)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        let response = send(&app, bearer("GET", "/config", &created.token)).await;
        assert!(!busy.is_finished(), "answered after {:?}", began.elapsed());
        (began, response.status)
    });
    assert_eq!(status, 503, "after {:?}", began.elapsed());
}

#[test]
fn a_runtime_that_has_been_shut_down_makes_nobody_wait_for_ever() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    let created = store.create(NewToken::new()).unwrap();
    fs::write(directory.file(), "torn").unwrap();
    thread::sleep(Duration::from_millis(20));
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    let _entered = handle.enter();
    let Lookup::Pending(pending) = store.find(&created.token.digest()) else { panic!("at once") };
    let found = futures_executor(pending);
    assert!(
        matches!(found.as_ref().map_err(fault), Err(FileStoreError::Format { .. })),
        "{found:?}"
    );
}

/// Waits for a future on this thread, without a runtime.
fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = std::sync::Arc::new(Unpark(thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => thread::park_timeout(Duration::from_secs(5)),
        }
    }
}
