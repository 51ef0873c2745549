//! Disks that are full, read-only, coarse in their timestamps, or cut off from power.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::thread;
use std::time::{Duration, SystemTime};

use opencode_auth::{FileStoreError, NewToken};

use crate::store::revocation::delete_under_load;
use crate::support::mounts::{Image, in_mount_namespace, mount};
use crate::support::store::{
    FILE, StoreDirectory, accepts, fault, issue, named, names, render, write_private,
};

#[test]
fn a_change_fails_and_keeps_the_file_if_the_disk_is_full() {
    in_mount_namespace(
        "store::mounts::a_change_fails_and_keeps_the_file_if_the_disk_is_full",
        || {
            let directory = StoreDirectory::new();
            if !mount(&["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"], directory.path()) {
                return;
            }
            let store = directory.open_quick();
            let first = store.create(named("first")).unwrap();
            let before = directory.bytes();
            let ballast = directory.path().join("ballast");
            fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
            for error in [
                store.create(NewToken::new()).map(drop).unwrap_err(),
                store.rotate("first").map(drop).unwrap_err(),
                store.delete("first").map(drop).unwrap_err(),
            ] {
                let FileStoreError::Io { action: "write", path, .. } = fault(&error) else {
                    panic!("{error}")
                };
                let expected = format!(
                    "failed to write `{}`: No space left on device (os error 28); make room and try again",
                    path.display(),
                );
                assert_eq!(error.to_string(), expected);
                assert_eq!(directory.bytes(), before);
                assert_eq!(directory.entries(), [FILE, "auth-tokens.json.lock", "ballast"]);
                assert!(accepts(&store, &first.token));
            }
            fs::remove_file(ballast).unwrap();
            let _ = store.delete("first").unwrap();
            assert!(!accepts(&store, &first.token));
        },
    );
}

#[test]
fn a_change_fails_and_keeps_the_file_if_the_disk_has_no_room_for_a_name() {
    let test =
        "store::mounts::a_change_fails_and_keeps_the_file_if_the_disk_has_no_room_for_a_name";
    in_mount_namespace(test, || {
        let directory = StoreDirectory::new();
        // The root, the store, its lock, and no more; a name can be had by giving up the file in its place.
        let options = ["-t", "tmpfs", "-o", "nr_inodes=4,mode=0700", "tmpfs"];
        if !mount(&options, directory.path()) {
            return;
        }
        let store = directory.open_quick();
        let _ = store.create(named("first")).unwrap();
        let before = directory.bytes();
        while fs::File::create(directory.path().join(directory.entries().len().to_string())).is_ok()
        {
        }
        let entries = directory.entries();
        let error = store.create(NewToken::new()).unwrap_err();
        let expected = format!(
            "failed to create a temporary file in `{}`: No space left on device (os error 28); make room and try again",
            directory.path().display(),
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(directory.bytes(), before);
        assert_eq!(directory.entries(), entries);
    });
}

#[test]
fn a_read_only_disk_is_read_and_not_changed() {
    in_mount_namespace("store::mounts::a_read_only_disk_is_read_and_not_changed", || {
        let (token, record) = issue(1).remove(0);
        let directory = StoreDirectory::new();
        if !mount(&["-t", "tmpfs", "-o", "mode=0700", "tmpfs"], directory.path()) {
            return;
        }
        write_private(&directory.file(), render([&record]));
        if !mount(&["-o", "remount,bind,ro"], directory.path()) {
            return;
        }
        let store = directory.open_quick();
        assert!(accepts(&store, &token));
        assert_eq!(store.list().unwrap(), [record]);
        assert_eq!(store.delete_expired().unwrap().records, []);
        let expected = format!(
            "failed to open the lock file `{}.lock`: Read-only file system (os error 30); the store can be \
             read there, but not changed",
            directory.file().display(),
        );
        assert_eq!(store.create(NewToken::new()).unwrap_err().to_string(), expected);
        let absent =
            opencode_auth::FileTokenStore::open(directory.path().join("a/b.json")).unwrap();
        let expected = format!(
            "failed to create the directory `{}`: Read-only file system (os error 30); the store can be \
             read there, but not changed",
            directory.path().join("a").display(),
        );
        assert_eq!(absent.create(NewToken::new()).unwrap_err().to_string(), expected);
    });
}

#[test]
fn a_file_that_is_mounted_by_itself_is_read_and_not_replaced() {
    let test = "store::mounts::a_file_that_is_mounted_by_itself_is_read_and_not_replaced";
    in_mount_namespace(test, || {
        let (token, record) = issue(1).remove(0);
        let (source, directory) =
            (StoreDirectory::with(render([&record])), StoreDirectory::with("{}"));
        if !mount(&["--bind", source.file().to_str().unwrap()], &directory.file()) {
            return;
        }
        let store = directory.open_quick();
        assert!(accepts(&store, &token));
        let expected = format!(
            "failed to replace `{}`: Device or resource busy (os error 16); a file that is mounted by \
             itself cannot be replaced: mount its directory instead",
            directory.file().display(),
        );
        assert_eq!(store.delete(record.id().as_str()).unwrap_err().to_string(), expected);
        assert_eq!(source.bytes(), render([&record]).into_bytes());
        assert_eq!(directory.entries(), [FILE, "auth-tokens.json.lock"]);
    });
}

/// Waits for the beginning of a second.
fn wait_for_a_new_second() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    thread::sleep(Duration::from_nanos(u64::from(1_000_000_000 - now.subsec_nanos())));
}

#[test]
fn coarse_timestamps_hide_no_change() {
    in_mount_namespace("store::mounts::coarse_timestamps_hide_no_change", || {
        // Inodes of 128 bytes have no room for parts of a second.
        let Some(image) = Image::new("ext3", &["-I", "128"]) else { return };
        let Some(mounted) = image.mount() else { return };
        let directory = StoreDirectory::below(&mounted);
        let tokens = issue(2);
        let contents = [0, 1].map(|token: usize| render([&tokens[token].1]));
        assert_eq!(contents[0].len(), contents[1].len());
        let stamp = || {
            let metadata = directory.file().metadata().unwrap();
            (
                metadata.ino(),
                metadata.size(),
                metadata.mtime_nsec(),
                metadata.mtime(),
                metadata.ctime(),
            )
        };

        // A second content in the same second, of the same length and in the same place.
        for quiet in [Duration::from_millis(15), Duration::from_millis(3500)] {
            let store = (0..20).find_map(|_| {
                wait_for_a_new_second();
                write_private(&directory.file(), &contents[0]);
                let store = directory.open();
                assert!(accepts(&store, &tokens[0].0));
                let before = stamp();
                let file = fs::OpenOptions::new().write(true).open(directory.file()).unwrap();
                file.write_all_at(contents[1].as_bytes(), 0).unwrap();
                // On a busy machine, the second may have passed.
                (stamp() == before).then_some(store)
            });
            let store = store.expect("timestamps in whole seconds");
            // No request comes in the meantime.
            thread::sleep(quiet);
            assert!(!accepts(&store, &tokens[0].0), "after {quiet:?}");
            assert!(accepts(&store, &tokens[1].0), "after {quiet:?}");
        }
        let _ = delete_under_load(&directory, 100, 0);
    });
}

#[test]
fn a_power_cut_after_a_change_returned_does_not_undo_it() {
    let test = "store::mounts::a_power_cut_after_a_change_returned_does_not_undo_it";
    in_mount_namespace(test, || {
        'kinds: for kind in ["ext4", "ext3", "xfs", "btrfs"] {
            let Some(image) = Image::new(kind, &[]) else { continue };
            let Some(mounted) = image.mount() else { continue };
            let path = mounted.join("new/directories").join(FILE);
            let options =
                || opencode_auth::FileTokenStore::options().freshness_window(Duration::ZERO);
            let store = options().open(&path).unwrap();
            let mut expected: Vec<String> = Vec::new();
            let cuts = std::env::var("OPENCODE_AUTH_TEST_POWER_CUTS");
            for number in 0..cuts.map_or(4, |cuts| cuts.parse().unwrap()) {
                if number % 4 == 3 {
                    let _ = store.delete(&expected.remove(0)).unwrap();
                } else {
                    let name = format!("token {number}");
                    let _ = store.create(named(&name)).unwrap();
                    expected.push(name);
                }
                let Some(after) = image.mount_as_after_a_power_cut(number) else {
                    continue 'kinds;
                };
                let survived = options().open(after.join("new/directories").join(FILE)).unwrap();
                assert_eq!(names(&survived), expected, "{kind}, after change {number}");
            }
            eprintln!("{kind}: every change outlasted its power cut");
        }
    });
}
