//! Taking a rotation back.

use opencode_auth::{ChangeError, FileTokenStore, NewToken, Token};

fn knows(store: &FileTokenStore, token: &Token) -> bool {
    crate::support::store::accepts(store, token)
}

fn store() -> (tempfile::TempDir, FileTokenStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = FileTokenStore::open(directory.path().join("auth-tokens.json")).unwrap();
    (directory, store)
}

#[test]
fn the_old_secret_works_again_and_the_new_one_does_not() {
    let (_directory, store) = store();
    let created = store.create(NewToken::new().name("ci")).unwrap();
    let rotated = store.rotate("ci").unwrap();
    let new: Token = rotated.token.expose_secret().parse().unwrap();
    assert!(!knows(&store, &created.token));
    let _ = store.undo_rotation(rotated).unwrap();
    assert!(knows(&store, &created.token));
    assert!(!knows(&store, &new));
    assert_eq!(store.list().unwrap(), [created.record]);
}

#[test]
fn what_has_changed_since_is_left_alone() {
    let (_directory, store) = store();
    let created = store.create(NewToken::new().name("ci")).unwrap();

    let first = store.rotate("ci").unwrap();
    let second = store.rotate("ci").unwrap();
    let error = store.undo_rotation(first).unwrap_err();
    assert!(
        matches!(&error, ChangeError::NotFound { id_or_name } if id_or_name == created.record.id().as_str())
    );
    assert!(knows(&store, &second.token));

    let _ = store.delete("ci").unwrap();
    assert!(matches!(store.undo_rotation(second), Err(ChangeError::NotFound { .. })));
    assert_eq!(store.list().unwrap(), []);
}
