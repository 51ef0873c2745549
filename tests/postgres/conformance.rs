//! One suite for every store that can be changed: in memory, in a file and in PostgreSQL.

use std::future::Future;

use opencode_auth::{
    ChangeError, Created, Deleted, Expiry, FileTokenStore, LookupResult, MemoryTokenStore,
    NewToken, Permissions, PostgresTokenStore, Rotated, Token, TokenRecord, TokenStore,
};
use time::UtcDateTime;

use crate::shared_cluster;
use crate::support::LEASE;

trait Store: TokenStore {
    fn create(&self, new: NewToken) -> impl Future<Output = Result<Created, ChangeError>>;
    fn rotate(&self, text: &str) -> impl Future<Output = Result<Rotated, ChangeError>>;
    fn delete(&self, text: &str) -> impl Future<Output = Result<Deleted, ChangeError>>;
    fn list(&self) -> impl Future<Output = Vec<TokenRecord>>;
}

impl Store for MemoryTokenStore {
    async fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
        self.create(new)
    }
    async fn rotate(&self, text: &str) -> Result<Rotated, ChangeError> {
        self.rotate(text)
    }
    async fn delete(&self, text: &str) -> Result<Deleted, ChangeError> {
        self.delete(text)
    }
    async fn list(&self) -> Vec<TokenRecord> {
        self.list()
    }
}

impl Store for FileTokenStore {
    async fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
        self.create(new)
    }
    async fn rotate(&self, text: &str) -> Result<Rotated, ChangeError> {
        self.rotate(text)
    }
    async fn delete(&self, text: &str) -> Result<Deleted, ChangeError> {
        self.delete(text)
    }
    async fn list(&self) -> Vec<TokenRecord> {
        self.list().unwrap()
    }
}

impl Store for PostgresTokenStore {
    async fn create(&self, new: NewToken) -> Result<Created, ChangeError> {
        self.create(new).await
    }
    async fn rotate(&self, text: &str) -> Result<Rotated, ChangeError> {
        self.rotate(text).await
    }
    async fn delete(&self, text: &str) -> Result<Deleted, ChangeError> {
        self.delete(text).await
    }
    async fn list(&self) -> Vec<TokenRecord> {
        self.list().await.unwrap()
    }
}

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

/// What only stores with many tokens at once have.
#[tokio::test]
async fn several_tokens_are_deleted_together_or_not_at_all() {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let store = PostgresTokenStore::open(&cluster.url(&database)).await.unwrap();
    for name in ["a", "b", "c"] {
        store.create(NewToken::new().name(name)).await.unwrap();
    }
    store.delete_many(&["a", "unknown"]).await.unwrap_err();
    assert_eq!(store.list().await.unwrap().len(), 3);
    assert_eq!(store.delete_many(&["a", "c", "a"]).await.unwrap().records.len(), 2);
    assert!(store.delete_many::<&str>(&[]).await.unwrap().records.is_empty());
    let past = "UPDATE opencode_auth.tokens SET created_at = now() - interval '2 days', \
                expires_at = now() - interval '1 day'";
    cluster.psql(&database, past);
    let error = store.rotate("b").await.unwrap_err();
    assert!(matches!(error, ChangeError::Expired { .. }), "{error}");
    let revived = store.rotate_with_expiry("b", Expiry::days(1)).await.unwrap();
    assert!(!revived.record.is_expired(UtcDateTime::now()));
    let old = revived.replaced.clone();
    store.undo_rotation(revived).await.unwrap();
    assert_eq!(store.list().await.unwrap(), [old.clone()]);
    assert_eq!(store.delete_expired().await.unwrap().records, [old]);
    assert_eq!(store.list().await.unwrap(), []);
}
