//! Manual edits of the tables, as in psql.

use std::sync::Arc;

use opencode_auth::{NewToken, PostgresTokenStore, Token};
use proptest::prelude::{Strategy as _, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::cluster::Cluster;
use crate::support::{LEASE, create, find, is_known, open};
use crate::way::Way;
use crate::{each_way, link, shared_cluster};

each_way![
    every_edit_is_seen_within_the_lease,
    a_row_that_is_no_token_is_not_passed_over,
    an_unknown_realm_or_format_or_a_lower_version_cannot_tell,
    the_snapshot_is_the_table,
];

async fn lease_passes() {
    tokio::time::sleep(LEASE).await;
}

fn version(cluster: &Cluster, database: &str) -> i64 {
    cluster.psql(database, "SELECT version FROM opencode_auth.realms").parse().unwrap()
}

async fn every_edit_is_seen_within_the_lease(way: Way) {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let link = link!(way, cluster.port);
    let store = open(&link.url(&database)).await;
    for edit in [
        "DELETE FROM opencode_auth.tokens",
        "TRUNCATE opencode_auth.tokens",
        "UPDATE opencode_auth.tokens SET digest = sha256(digest)",
        "BEGIN; DELETE FROM opencode_auth.tokens; COMMIT",
        "SET session_replication_role = replica; DELETE FROM opencode_auth.tokens",
    ] {
        let token = create(&store, "ci").await;
        assert!(is_known(&store, &token).await, "{edit}");
        let before = version(cluster, &database);
        cluster.psql(&database, edit);
        lease_passes().await;
        assert!(!is_known(&store, &token).await, "{edit}");
        assert!(version(cluster, &database) > before, "{edit}");
        cluster.psql(&database, "DELETE FROM opencode_auth.tokens");
    }
    let token = create(&store, "ci").await;
    cluster.psql(&database, "UPDATE opencode_auth.tokens SET permissions = '{read}'");
    lease_passes().await;
    let found = find(&store, &token).await.unwrap().unwrap();
    assert_eq!(found.permissions().to_string(), "read");
    // What is rolled back changes nothing.
    let before = version(cluster, &database);
    cluster.psql(&database, "BEGIN; DELETE FROM opencode_auth.tokens; ROLLBACK");
    lease_passes().await;
    assert!(is_known(&store, &token).await);
    assert_eq!(version(cluster, &database), before);
}

async fn a_row_that_is_no_token_is_not_passed_over(way: Way) {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let link = link!(way, cluster.port);
    let store = open(&link.url(&database)).await;
    let token = create(&store, "ci").await;
    cluster.psql(&database, "UPDATE opencode_auth.tokens SET name = E'a\\u200bb'");
    lease_passes().await;
    let error = find(&store, &token).await.unwrap_err().to_string();
    assert!(error.contains("is not a token"), "{error}");
    cluster.psql(&database, "UPDATE opencode_auth.tokens SET name = 'ci'");
    lease_passes().await;
    crate::support::until_known(&store, &token).await;
}

#[tokio::test]
async fn the_tables_reject_impossible_tokens() {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let store = open(&cluster.url(&database)).await;
    create(&store, "ci").await;
    for wrong in [
        "permissions = '{}'",
        "permissions = '{admin}'",
        "digest = 'short'",
        "id = 'UPPER0000000'",
        "expires_at = 'infinity'",
        "name = ''",
        "realm = 'unknown'",
    ] {
        let edit = format!(
            "DO $$ BEGIN UPDATE opencode_auth.tokens SET {wrong}; RAISE EXCEPTION 'taken'; \
             EXCEPTION WHEN check_violation OR foreign_key_violation THEN NULL; END $$"
        );
        cluster.psql(&database, &edit);
    }
}

async fn an_unknown_realm_or_format_or_a_lower_version_cannot_tell(way: Way) {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let link = link!(way, cluster.port);
    let store = open(&link.url(&database)).await;
    let token = create(&store, "ci").await;
    let table = [
        ("format = 2", "format = 1", "has format 2"),
        ("version = version - 1", "version = version + 2", "went back"),
        ("lease_ms = 100", "lease_ms = 200", "lease was made shorter"),
    ];
    for (broken, restored, message) in table {
        cluster.psql(&database, &format!("UPDATE opencode_auth.realms SET {broken}"));
        lease_passes().await;
        let error = find(&store, &token).await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        cluster.psql(&database, &format!("UPDATE opencode_auth.realms SET {restored}"));
        crate::support::until_known(&store, &token).await;
    }
    cluster.psql(&database, "DROP SCHEMA opencode_auth CASCADE");
    lease_passes().await;
    let error = find(&store, &token).await.unwrap_err().to_string();
    assert!(error.contains("the database has no tables for tokens"), "{error}");
    let url = format!("{}?realm=unknown", link.url(&cluster.realm(LEASE).await));
    let error = PostgresTokenStore::open(&url).await.unwrap_err().to_string();
    assert!(error.contains("no such realm"), "{error}");
}

/// A step of the model: one edit of the table.
#[derive(Clone, Debug)]
enum Step {
    Create,
    Delete(usize),
    Rotate(usize),
    DeleteInPsql(usize),
    Truncate,
    Rename,
}

/// The snapshot is the table after every poll: it knows each token of the table, and no other one.
async fn the_snapshot_is_the_table(way: Way) {
    let cluster = shared_cluster!();
    let short = std::time::Duration::from_millis(100);
    let database = cluster.realm(short).await;
    let link = link!(way, cluster.port);
    let url = link.url(&database);
    let (store, server) = (open(&url).await, open(&url).await);
    let step = prop_oneof![
        4 => any::<()>().prop_map(|()| Step::Create),
        2 => any::<usize>().prop_map(Step::Delete),
        2 => any::<usize>().prop_map(Step::Rotate),
        1 => any::<usize>().prop_map(Step::DeleteInPsql),
        1 => any::<()>().prop_map(|()| Step::Truncate),
        1 => any::<()>().prop_map(|()| Step::Rename),
    ];
    let mut runner = TestRunner::default();
    let mut tokens: Vec<Arc<Token>> = Vec::new();
    for number in 0..40 {
        let step = step.new_tree(&mut runner).unwrap().current();
        let records = store.list().await.unwrap();
        let chosen =
            |index: usize| records.get(index % records.len().max(1)).map(|r| r.id().to_string());
        match &step {
            Step::Create => {
                let new = NewToken::new().name(format!("token-{number}"));
                tokens.push(Arc::new(store.create(new).await.unwrap().token));
            }
            Step::Delete(index) => {
                if let Some(id) = chosen(*index) {
                    assert_eq!(store.delete(&id).await.unwrap().records.len(), 1);
                }
            }
            Step::Rotate(index) => {
                if let Some(id) = chosen(*index) {
                    tokens.push(Arc::new(store.rotate(&id).await.unwrap().token));
                }
            }
            Step::DeleteInPsql(index) => {
                if let Some(id) = chosen(*index) {
                    let edit = format!("DELETE FROM opencode_auth.tokens WHERE id = '{id}'");
                    cluster.psql(&database, &edit);
                }
            }
            Step::Truncate => drop(cluster.psql(&database, "TRUNCATE opencode_auth.tokens")),
            Step::Rename => {
                let edit = format!("UPDATE opencode_auth.tokens SET name = name || '{number}'");
                cluster.psql(&database, &edit);
            }
        }
        tokio::time::sleep(short).await;
        let table = store.list().await.unwrap();
        for token in &tokens {
            let expected = table.iter().find(|record| *record.digest() == token.digest());
            let found = find(&server, token).await.unwrap();
            assert_eq!(found.as_deref(), expected, "after {step:?}");
        }
    }
    assert!(tokens.len() > 5);
}
