//! Many processes that change one store, and processes that stop while they do.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use opencode_auth::{FileStoreError, FileTokenStore, NewToken, TokenDigest};
use rustix::process::Signal;

use crate::support::process::{Process, lock_of, role};
use crate::support::store::{StoreDirectory, accepts, fault, find, names};

const PROCESSES: usize = 16;
const CHANGES: usize = 25;

#[test]
fn concurrent_changes_of_many_processes_each_happen_once() {
    let directory = StoreDirectory::new();
    let server = directory.open();
    let start = |process| {
        let argument = format!("p{process} {CHANGES}");
        Process::start(&mut role("work", &directory.file(), &argument))
    };
    let mut processes: Vec<_> = (0..PROCESSES).map(start).collect();
    let slowest = processes
        .iter_mut()
        .map(|process| process.report().expect("a process failed").parse().unwrap())
        .max()
        .map(Duration::from_millis)
        .unwrap();
    processes.into_iter().for_each(Process::finish);

    let mut expected: Vec<_> = (0..PROCESSES)
        .flat_map(|process| {
            let kept = (0..CHANGES).filter(|number| number % 2 == 1 || number + 1 == CHANGES);
            kept.map(move |number| format!("p{process}-{number}"))
        })
        .collect();
    let mut found = names(&server);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for record in server.list().unwrap() {
        let seen = find(&server, record.digest()).unwrap();
        assert_eq!(seen.as_deref(), Some(&record), "what the server sees");
    }
    assert!(find(&server, &TokenDigest::from_bytes([0; 32])).unwrap().is_none());
    assert_eq!(directory.entries(), ["auth-tokens.json", "auth-tokens.json.lock"]);
    eprintln!("{PROCESSES} processes: the slowest change took {slowest:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

/// How long the test waits for a lock: 10 s are the default, which a script asks for.
fn lock_timeout() -> Duration {
    let seconds = env::var("OPENCODE_AUTH_TEST_LOCK_SECONDS");
    seconds.map_or(Duration::from_millis(1500), |text| Duration::from_secs(text.parse().unwrap()))
}

#[test]
fn a_stopped_lock_holder_gives_an_error_and_a_killed_one_frees_the_lock_at_once() {
    let directory = StoreDirectory::new();
    let token = directory.open_quick().create(NewToken::new()).unwrap().token;
    let before = directory.bytes();
    let mut holder = Process::start(&mut role("hold", &directory.file(), ""));
    assert_eq!(holder.report().as_deref(), Some("held"));
    holder.signal(Signal::STOP);

    let timeout = lock_timeout();
    let (sender, notices) = std::sync::mpsc::channel();
    let mut options = FileTokenStore::options();
    if timeout != Duration::from_secs(10) {
        options = options.lock_timeout(timeout);
    }
    let store = options
        .on_lock_wait(move || sender.send(Instant::now()).unwrap())
        .open(directory.file())
        .unwrap();
    let began = Instant::now();
    let error = store.create(NewToken::new()).unwrap_err();
    let waited = began.elapsed();
    assert!((timeout..timeout + Duration::from_secs(1)).contains(&waited), "{waited:?}");
    let lock = lock_of(&directory.file());
    assert_eq!(
        error.to_string(),
        format!(
            "failed to lock `{}`: another process or thread has held it for {} s; end that process, or try again",
            lock.display(),
            timeout.as_secs(),
        ),
    );
    assert!(
        matches!(fault(&error), FileStoreError::Locked { path, waited } if *path == lock && *waited == timeout)
    );
    let notice = notices.try_recv().unwrap() - began;
    assert!((150..1000).contains(&notice.as_millis()), "{notice:?}");
    assert!(notices.try_recv().is_err(), "one notice for one change");

    // Reading takes no lock.
    assert_eq!(directory.bytes(), before);
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(accepts(&store, &token));

    let waiting = thread::spawn(move || store.create(NewToken::new()).map(|_| Instant::now()));
    thread::sleep(Duration::from_millis(500));
    assert!(!waiting.is_finished());
    let killed_at = Instant::now();
    holder.signal(Signal::KILL);
    let freed = waiting.join().unwrap().unwrap() - killed_at;
    assert!(freed < Duration::from_secs(1), "{freed:?}");
    assert_eq!(directory.open().list().unwrap().len(), 2);
}

/// The thread that waited for the lock in vain gets it some time, and gives it back.
#[test]
fn a_lock_that_comes_too_late_is_given_back() {
    let directory = StoreDirectory::new();
    let lock = std::fs::File::create(lock_of(&directory.file())).unwrap();
    lock.lock().unwrap();
    let options = || FileTokenStore::options().lock_timeout(Duration::from_millis(20));
    let store = options().open(directory.file()).unwrap();
    let error = store.create(NewToken::new()).unwrap_err();
    assert!(matches!(fault(&error), FileStoreError::Locked { .. }), "{error}");
    drop(lock);
    let patient = FileTokenStore::open(directory.file()).unwrap();
    for _ in 0..3 {
        let _ = patient.create(NewToken::new()).unwrap();
    }
    assert_eq!(patient.list().unwrap().len(), 3);
}

#[test]
fn threads_that_share_a_handle_lose_nothing_either() {
    let directory = StoreDirectory::new();
    let store = directory.open_quick();
    thread::scope(|scope| {
        for thread in 0..8 {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..10 {
                    let name = format!("t{thread}-{number}");
                    let created = store.create(NewToken::new().name(&name)).unwrap();
                    assert!(accepts(&store, &created.token));
                    if number % 2 == 0 {
                        let rotated = store.rotate(&name).unwrap();
                        assert!(!accepts(&store, &created.token));
                        assert!(accepts(&store, &rotated.token));
                        let _ = store.delete(&name).unwrap();
                        assert!(!accepts(&store, &rotated.token));
                    }
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), 40);
}
