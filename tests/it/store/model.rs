//! Any sequence of changes does to a file what it does to a model.

use opencode_auth::{ChangeError, Expiry, NewToken, Permissions, Token, TokenId, TokenRecord};
use proptest::prelude::*;
use proptest::sample::Index;
use time::UtcDateTime;
use time::macros::utc_datetime;

use crate::support::store::{StoreDirectory, find, render, write_private};

const NAMES: [&str; 4] = ["ci", "laptop", "é\u{1f600}", "ci-2"];

#[derive(Clone, Debug)]
enum Step {
    Create {
        name: Option<Index>,
        permissions: u8,
        never: bool,
    },
    Delete(Index),
    DeleteByName(Index),
    DeleteMany(Vec<Index>),
    Rotate(Index),
    DeleteExpired,
    /// Somebody writes the file by hand, with this token long expired.
    Expire(Index),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (proptest::option::of(any::<Index>()), 0..8u8, any::<bool>())
            .prop_map(|(name, permissions, never)| Step::Create { name, permissions, never }),
        1 => any::<Index>().prop_map(Step::Delete),
        1 => any::<Index>().prop_map(Step::DeleteByName),
        1 => proptest::collection::vec(any::<Index>(), 0..4).prop_map(Step::DeleteMany),
        2 => any::<Index>().prop_map(Step::Rotate),
        1 => Just(Step::DeleteExpired),
        1 => any::<Index>().prop_map(Step::Expire),
        1 => Just(Step::Reopen),
    ]
}

/// A store as it should be: the records in order, and the tokens that must not work.
#[derive(Default)]
struct Model {
    records: Vec<TokenRecord>,
    retired: Vec<TokenRecord>,
}

impl Model {
    fn id(&self, index: Index) -> Option<TokenId> {
        (!self.records.is_empty()).then(|| index.get(&self.records).id())
    }

    fn has_name(&self, name: &str) -> bool {
        self.records.iter().any(|record| record.name() == Some(name))
    }

    /// Removes these records and returns them.
    fn retire(&mut self, unwanted: impl Fn(&TokenRecord) -> bool) -> Vec<TokenRecord> {
        let taken: Vec<_> = self.records.extract_if(.., |record| unwanted(record)).collect();
        self.retired.extend(taken.iter().cloned());
        taken
    }

    /// A new token is as requested, and its secret belongs to its record.
    fn check_secret(token: &Token, record: &TokenRecord) {
        assert_eq!(&token.digest(), record.digest());
        assert_eq!(token.expose_secret().parse::<Token>().unwrap().digest(), token.digest());
    }
}

fn permissions(bits: u8) -> Permissions {
    let all = [Permissions::READ, Permissions::WRITE, Permissions::EXECUTE].into_iter().enumerate();
    all.filter(|(bit, _)| bits & (1 << bit) != 0).fold(Permissions::NONE, |set, (_, one)| set | one)
}

/// Does the step to the store and to the model, and compares the results.
fn take(step: &Step, directory: &StoreDirectory, model: &mut Model) {
    let store = directory.open_quick();
    let missing = "ffffffffffff".parse().unwrap();
    match step {
        Step::Create { name, permissions: bits, never } => {
            let mut new = NewToken::new().permissions(permissions(*bits));
            let name = name.map(|index| *index.get(&NAMES));
            if let Some(name) = name {
                new = new.name(name);
            }
            if *never {
                new = new.expires(Expiry::Never);
            }
            match store.create(new) {
                Ok(created) => {
                    assert!(!permissions(*bits).is_empty());
                    assert!(name.is_none_or(|name| !model.has_name(name)));
                    assert_eq!(created.record.name(), name);
                    assert_eq!(created.record.permissions(), permissions(*bits));
                    assert_eq!(created.record.expires_at().is_none(), *never);
                    Model::check_secret(&created.token, &created.record);
                    model.records.push(created.record);
                }
                Err(ChangeError::NameTaken { name }) => assert!(model.has_name(&name)),
                Err(ChangeError::Invalid(_)) => assert!(permissions(*bits).is_empty()),
                Err(other) => panic!("{other}"),
            }
        }
        Step::Delete(index) => {
            let id = model.id(*index).unwrap_or(missing);
            let expected = model.retire(|record| record.id() == id);
            match store.delete(id.as_str()) {
                Ok(deleted) => assert_eq!(deleted.records, expected),
                Err(ChangeError::NotFound { .. }) => assert_eq!(expected, []),
                Err(other) => panic!("{other}"),
            }
        }
        Step::DeleteByName(index) => {
            let name = *index.get(&NAMES);
            let expected = model.retire(|record| record.name() == Some(name));
            match store.delete(name) {
                Ok(deleted) => assert_eq!(deleted.records, expected),
                Err(ChangeError::NotFound { id_or_name }) => {
                    assert_eq!((id_or_name.as_str(), expected), (name, vec![]));
                }
                Err(other) => panic!("{other}"),
            }
        }
        Step::DeleteMany(indices) => {
            let ids: Vec<_> = indices.iter().filter_map(|index| model.id(*index)).collect();
            let keys: Vec<_> = ids.iter().map(TokenId::as_str).collect();
            // One that is not there, and none is deleted.
            let with_missing: Vec<_> = keys.iter().copied().chain([missing.as_str()]).collect();
            assert!(matches!(store.delete_many(&with_missing), Err(ChangeError::NotFound { .. })));
            let expected = model.retire(|record| ids.contains(&record.id()));
            assert_eq!(store.delete_many(&keys).unwrap().records, expected);
        }
        Step::Rotate(index) => {
            match (store.rotate(model.id(*index).unwrap_or(missing).as_str()), model.id(*index)) {
                (Ok(rotated), Some(id)) => {
                    let old = model.records.iter_mut().find(|record| record.id() == id).unwrap();
                    let lifetime = |record: &TokenRecord| {
                        record.expires_at().map(|expires_at| expires_at - record.created_at())
                    };
                    assert_eq!(rotated.replaced, *old);
                    assert_eq!(rotated.record.name(), old.name());
                    assert_eq!(rotated.record.permissions(), old.permissions());
                    assert_eq!(lifetime(&rotated.record), lifetime(old));
                    Model::check_secret(&rotated.token, &rotated.record);
                    model.retired.push(std::mem::replace(old, rotated.record));
                }
                (Err(ChangeError::NotFound { .. }), None) => {}
                (Err(ChangeError::Expired { id, .. }), Some(_)) => {
                    let record = model.records.iter().find(|record| record.id() == id).unwrap();
                    assert!(record.is_expired(UtcDateTime::now()));
                }
                (other, _) => panic!("{other:?}"),
            }
        }
        Step::DeleteExpired => {
            let now = UtcDateTime::now();
            let expected = model.retire(|record| record.is_expired(now));
            assert_eq!(store.delete_expired().unwrap().records, expected);
        }
        Step::Expire(index) => {
            if let Some(id) = model.id(*index) {
                let record = model.records.iter_mut().find(|record| record.id() == id).unwrap();
                let (from, to) = (utc_datetime!(2020-01-01 0:00), utc_datetime!(2020-01-31 0:00));
                let (name, digest) = (record.name(), *record.digest());
                *record = TokenRecord::new(id, name, digest, record.permissions(), from, Some(to))
                    .unwrap();
                write_private(&directory.file(), render(&model.records));
            }
        }
        Step::Reopen => {
            let bytes = directory.bytes();
            assert_eq!(directory.open().list().unwrap(), model.records);
            assert_eq!(directory.bytes(), bytes, "opening a store writes nothing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_does_what_its_model_does(steps in proptest::collection::vec(step(), 1..24)) {
        let directory = StoreDirectory::with(render([]));
        // Open all the while, as a server is.
        let server = directory.open_quick();
        let mut model = Model::default();
        for step in &steps {
            take(step, &directory, &mut model);
            assert_eq!(server.list().unwrap(), model.records);
            for record in &model.records {
                assert_eq!(find(&server, record.digest()).unwrap().as_deref(), Some(record));
            }
            for record in &model.retired {
                assert_eq!(find(&server, record.digest()).unwrap(), None);
            }
        }
    }
}
