//! Edits by hand while the store is changed.

use std::cell::Cell;
use std::fs;

use super::*;

/// A store of two tokens, and its file with only the second of them.
fn store_and_edit(directory: &Path) -> (FileTokenStore, String) {
    let options = FileTokenStore::options().freshness_window(Duration::ZERO);
    let store = options.open(directory.join("tokens")).unwrap();
    let _ = store.create(NewToken::new().name("kept")).unwrap();
    let edit = fs::read_to_string(store.path()).unwrap();
    let _ = store.create(NewToken::new().name("revoked")).unwrap();
    (store, edit)
}

fn names(store: &FileTokenStore) -> Vec<String> {
    let records = store.list().unwrap();
    records.iter().map(|record| record.name().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_edit_between_the_reading_and_the_writing_of_a_change_is_kept() {
    type Edit = fn(&Path, &str);
    let cases: [(&str, Edit); 3] = [
        ("in place", |path, edit| fs::write(path, edit).unwrap()),
        ("by a rename", |path, edit| {
            let beside = path.with_extension("edit");
            fs::write(&beside, edit).unwrap();
            fs::set_permissions(&beside, fs::metadata(path).unwrap().permissions()).unwrap();
            fs::rename(&beside, path).unwrap();
        }),
        ("torn, and then whole", |path, edit| {
            fs::write(path, &edit[..edit.len() / 2]).unwrap();
            let (path, edit) = (path.to_owned(), edit.to_owned());
            thread::spawn(move || fs::write(path, edit).unwrap());
        }),
    ];
    for (case, make) in cases {
        let directory = tempfile::tempdir().unwrap();
        let (store, edit) = store_and_edit(directory.path());
        let times = Cell::new(0);
        let change = |document: &mut Document, now| {
            times.set(times.get() + 1);
            if times.get() == 1 {
                make(store.path(), &edit);
            }
            document.create(&NewToken::new().name("new"), now)
        };
        let ((token, record), _) = store.change(change).unwrap();
        assert_eq!(names(&store), ["kept", "new"], "{case}");
        assert_eq!(record.digest(), &token.digest(), "{case}");
        assert!(times.get() > 1, "{case}");
    }
}

#[test]
fn a_file_that_is_edited_all_the_time_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let (store, edit) = store_and_edit(directory.path());
    let times = Cell::new(0);
    let change = |document: &mut Document, now| {
        times.set(times.get() + 1);
        // Another length each time, for not every file system tells times of now apart.
        let edit = format!("{edit}{}", " ".repeat(times.get()));
        fs::write(store.path(), edit).unwrap();
        document.create(&NewToken::new().name("new"), now)
    };
    let error = store.change(change).unwrap_err();
    let expected = format!(
        "failed to read the token store `{}`: it is being written to; try again",
        store.path().display(),
    );
    assert_eq!((error.to_string(), times.get()), (expected, update::ATTEMPTS));
    assert_eq!(names(&store), ["kept"]);
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    left.retain(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes().starts_with(b"."));
    assert!(left.is_empty(), "{left:?}");
}
