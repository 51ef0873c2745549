//! One suite for every store that can be changed: in memory, in a file and in PostgreSQL.

use std::future::Future;
use std::time::Duration;

use opencode_auth::{
    ChangeError, Created, Deleted, Durability, Expiry, FileTokenStore, LookupResult,
    MemoryTokenStore, NewToken, Permissions, PostgresTokenStore, Rotated, Token, TokenRecord,
    TokenStore,
};
use time::UtcDateTime;

use crate::shared_cluster;
use crate::support::LEASE;

trait Store: TokenStore {
    fn create(&self, new: NewToken) -> impl Future<Output = Result<Created, ChangeError>>;
    fn rotate(&self, text: &str) -> impl Future<Output = Result<Rotated, ChangeError>>;
    fn rotate_with_expiry(
        &self,
        text: &str,
        expiry: Expiry,
    ) -> impl Future<Output = Result<Rotated, ChangeError>>;
    fn undo_rotation(
        &self,
        rotated: Rotated,
    ) -> impl Future<Output = Result<Durability, ChangeError>>;
    fn delete(&self, text: &str) -> impl Future<Output = Result<Deleted, ChangeError>>;
    fn delete_many(&self, texts: &[&str]) -> impl Future<Output = Result<Deleted, ChangeError>>;
    fn delete_expired(&self) -> impl Future<Output = Result<Deleted, ChangeError>>;
    fn list(&self) -> impl Future<Output = Vec<TokenRecord>>;
}

macro_rules! store {
    ($store:ty, |$list:ident| $listed:expr $(, $await:tt)?) => {
        impl Store for $store {
            async fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
                self.create(new)$(.$await)?
            }
            async fn rotate(&self, text: &str) -> Result<Rotated, ChangeError> {
                self.rotate(text)$(.$await)?
            }
            async fn rotate_with_expiry(
                &self,
                text: &str,
                expiry: Expiry,
            ) -> Result<Rotated, ChangeError> {
                self.rotate_with_expiry(text, expiry)$(.$await)?
            }
            async fn undo_rotation(&self, rotated: Rotated) -> Result<Durability, ChangeError> {
                self.undo_rotation(rotated)$(.$await)?
            }
            async fn delete(&self, text: &str) -> Result<Deleted, ChangeError> {
                self.delete(text)$(.$await)?
            }
            async fn delete_many(&self, texts: &[&str]) -> Result<Deleted, ChangeError> {
                self.delete_many(texts)$(.$await)?
            }
            async fn delete_expired(&self) -> Result<Deleted, ChangeError> {
                self.delete_expired()$(.$await)?
            }
            async fn list(&self) -> Vec<TokenRecord> {
                let $list = self;
                $listed
            }
        }
    };
}

store!(MemoryTokenStore, |store| store.list());
store!(FileTokenStore, |store| store.list().unwrap());
store!(PostgresTokenStore, |store| store.list().await.unwrap(), await);

async fn find(store: &impl Store, token: &Token) -> LookupResult {
    store.find(&token.digest()).wait().await
}

async fn conforms(store: &impl Store) {
    assert_eq!(store.list().await, []);

    // A token is found by its digest with everything that was asked for.
    let date = UtcDateTime::now() + time::Duration::days(3);
    let new = NewToken::new().name("ci").permissions(Permissions::READ).expires(Expiry::At(date));
    let ci = store.create(new).await.unwrap();
    let found = find(store, &ci.token).await.unwrap();
    assert_eq!(found.as_deref(), Some(&ci.record));
    assert_eq!(ci.record.permissions(), Permissions::READ);
    assert!(ci.record.has_fixed_expiry());
    let unnamed = store.create(NewToken::new().expires(Expiry::Never)).await.unwrap();
    assert_eq!((unnamed.record.name(), unnamed.record.expires_at()), (None, None));
    let stranger = Token::generate().unwrap();
    assert_eq!(find(store, &stranger).await.unwrap(), None);

    // Names are unique, also where case and Unicode form differ.
    for name in ["ci", "CI", "ｃｉ"] {
        let error = store.create(NewToken::new().name(name)).await.unwrap_err();
        let is_taken = matches!(&error, ChangeError::NameTaken { name } if name == "ci");
        assert!(is_taken, "{name}: {error}");
    }
    store.create(NewToken::new().name("Größe")).await.unwrap();
    store.create(NewToken::new().name("GRÖSSE")).await.unwrap_err();
    store.create(NewToken::new().permissions(Permissions::default())).await.unwrap_err();

    // A rotation keeps everything but the secret. A stated date stays.
    let rotated = store.rotate("CI").await.unwrap();
    assert_eq!(rotated.replaced, ci.record);
    assert_eq!(rotated.record.id(), ci.record.id());
    assert_eq!(rotated.record.expires_at(), ci.record.expires_at());
    assert_eq!(find(store, &ci.token).await.unwrap(), None);
    let found = find(store, &rotated.token).await.unwrap();
    assert_eq!(found.as_deref(), Some(&rotated.record));

    // Ids, names, and beginnings of an id of at least 6 characters.
    let id = unnamed.record.id().to_string();
    let error = store.delete(&id[..5]).await.unwrap_err();
    assert!(matches!(error, ChangeError::NotFound { .. }), "{error}");
    let error = store.delete("unknown").await.unwrap_err();
    assert_eq!(error.to_string(), "no token has the id or name `unknown`");
    let error = store.delete(stranger.expose_secret()).await.unwrap_err();
    assert!(matches!(error, ChangeError::IdOrNameIsToken), "{error}");
    let deleted = store.delete(&id[..6]).await.unwrap();
    assert_eq!(deleted.records, [unnamed.record]);
    assert_eq!(find(store, &unnamed.token).await.unwrap(), None);
    store.delete("größe").await.unwrap();
    assert_eq!(store.list().await, [rotated.record.clone()]);
    let deleted = store.delete(rotated.record.id().as_str()).await.unwrap();
    assert_eq!(deleted.records, [rotated.record]);
    assert_eq!(store.list().await, []);
    deletes_several(store).await;
    expires(store).await;
}

/// All or none are deleted, each once. The oldest is listed first.
async fn deletes_several(store: &impl Store) {
    assert_eq!(store.delete_many(&[]).await.unwrap().records, []);
    let mut records = Vec::new();
    for name in ["a", "b", "c"] {
        // Each in a second of its own: those of one second are in no certain order in a database.
        tokio::time::sleep(Duration::from_secs(1)).await;
        records.push(store.create(NewToken::new().name(name)).await.unwrap().record);
    }
    let error = store.delete_many(&["a", "unknown"]).await.unwrap_err();
    assert_eq!(error.to_string(), "no token has the id or name `unknown`");
    let token = Token::generate().unwrap();
    let error = store.delete_many(&["a", token.expose_secret()]).await.unwrap_err();
    assert!(matches!(error, ChangeError::IdOrNameIsToken), "{error}");
    assert_eq!(names(&store.list().await), ["a", "b", "c"]);
    let id = records[2].id();
    let deleted = store.delete_many(&[id.as_str(), "a", "C", "a"]).await.unwrap().records;
    let mut deleted = names(&deleted);
    deleted.sort_unstable();
    assert_eq!(deleted, ["a", "c"]);
    assert_eq!(store.list().await, [records.remove(1)]);
    store.delete("b").await.unwrap();
}

/// An expired token cannot be rotated unless it gets a new expiry. A rotation can be taken back.
async fn expires(store: &impl Store) {
    assert_eq!(store.delete_expired().await.unwrap().records, []);
    let soon = UtcDateTime::now() + time::Duration::seconds(1);
    let brief =
        store.create(NewToken::new().name("brief").expires(Expiry::At(soon))).await.unwrap();
    let long = store.create(NewToken::new().name("long").expires(Expiry::Never)).await.unwrap();
    while !brief.record.is_expired(UtcDateTime::now()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = store.rotate("brief").await.unwrap_err();
    assert!(matches!(error, ChangeError::Expired { .. }), "{error}");
    let revived = store.rotate_with_expiry("brief", Expiry::days(1)).await.unwrap();
    assert!(!revived.record.is_expired(UtcDateTime::now()));
    assert_eq!(revived.replaced, brief.record);
    let digest = revived.token.digest();
    store.undo_rotation(revived).await.unwrap();
    assert_eq!(store.find(&digest).wait().await.unwrap(), None);
    let found = find(store, &brief.token).await.unwrap();
    assert_eq!(found.as_deref(), Some(&brief.record));

    assert_eq!(store.delete_expired().await.unwrap().records, [brief.record]);
    assert_eq!(find(store, &brief.token).await.unwrap(), None);
    assert_eq!(store.delete_expired().await.unwrap().records, []);
    // What was deleted since cannot be taken back.
    let rotated = store.rotate("long").await.unwrap();
    assert_eq!(rotated.replaced, long.record);
    store.delete("long").await.unwrap();
    let error = store.undo_rotation(rotated).await.unwrap_err();
    assert!(matches!(error, ChangeError::NotFound { .. }), "{error}");
    assert_eq!(store.list().await, []);
}

fn names(records: &[TokenRecord]) -> Vec<&str> {
    records.iter().filter_map(TokenRecord::name).collect()
}

#[tokio::test]
async fn a_store_in_memory_conforms() {
    conforms(&MemoryTokenStore::new()).await;
}

#[tokio::test]
async fn a_store_in_a_file_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conforms(&FileTokenStore::open(directory.path().join("auth-tokens.json")).unwrap()).await;
}

#[tokio::test]
async fn a_store_in_postgresql_conforms() {
    let cluster = shared_cluster!();
    let url = cluster.url(&cluster.realm(LEASE).await);
    conforms(&PostgresTokenStore::open(&url).await.unwrap()).await;
}
