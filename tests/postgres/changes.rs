//! The changes of a realm, and what servers see of them.

use std::time::Instant;

use opencode_auth::{NewToken, Permissions, PostgresTokenStore};

use crate::support::{LEASE, create, find, is_known, open};
use crate::way::Way;
use crate::{each_way, link, shared_cluster};

each_way![
    a_new_token_is_accepted_and_a_deleted_one_is_not,
    concurrent_changes_are_all_made,
    realms_do_not_see_each_other,
    eight_servers_see_every_change,
];

async fn a_new_token_is_accepted_and_a_deleted_one_is_not(way: Way) {
    let cluster = shared_cluster!();
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(LEASE).await);
    let (server, commands) = (open(&url).await, open(&url).await);
    let new = NewToken::new().name("ci").permissions(Permissions::READ);
    let created = commands.create(new).await.unwrap();
    let found = find(&server, &created.token).await.unwrap();
    assert_eq!(found.as_deref(), Some(&created.record));
    assert_eq!(commands.list().await.unwrap(), [created.record.clone()]);

    let rotated = commands.rotate("ci").await.unwrap();
    assert_eq!(rotated.replaced, created.record);
    assert!(!is_known(&server, &created.token).await);
    assert!(is_known(&server, &rotated.token).await);

    let deleted = commands.delete("ci").await.unwrap();
    assert_eq!(deleted.records, [rotated.record]);
    assert!(!is_known(&server, &rotated.token).await);
}

#[tokio::test]
async fn a_change_returns_when_the_lease_has_passed() {
    let cluster = shared_cluster!();
    let store = open(&cluster.url(&cluster.realm(LEASE).await)).await;
    let began = Instant::now();
    create(&store, "ci").await;
    assert!(began.elapsed() >= LEASE, "{:?}", began.elapsed());
    let began = Instant::now();
    store.delete("other").await.unwrap_err();
    assert!(store.delete_expired().await.unwrap().records.is_empty());
    assert!(began.elapsed() < LEASE, "what changes nothing waits for nothing");
}

async fn concurrent_changes_are_all_made(way: Way) {
    let cluster = shared_cluster!();
    let link = link!(way, cluster.port);
    let store = open(&link.url(&cluster.realm(LEASE).await)).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("token-{number}");
                create(&store, &name).await;
                if number % 2 == 0 {
                    store.delete(&name).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let names: Vec<_> = store.list().await.unwrap();
    let mut names: Vec<_> = names.iter().map(|record| record.name().unwrap().to_owned()).collect();
    names.sort();
    let mut expected: Vec<_> =
        (0..20).step_by(2).map(|number| format!("token-{}", number + 1)).collect();
    expected.sort();
    assert_eq!(names, expected);
}

async fn realms_do_not_see_each_other(way: Way) {
    let cluster = shared_cluster!();
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(LEASE).await);
    let other_url = format!("{url}?realm=other");
    PostgresTokenStore::init(&other_url).await.unwrap();
    let (store, other) = (open(&url).await, open(&other_url).await);
    let token = create(&store, "ci").await;
    assert!(is_known(&store, &token).await);
    assert!(!is_known(&other, &token).await);
    other.delete("ci").await.unwrap_err();
    create(&other, "ci").await;
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn text_that_may_be_a_token_is_not_sent_to_the_database() {
    let cluster = shared_cluster!();
    let store = open(&cluster.url(&cluster.realm(LEASE).await)).await;
    let token = create(&store, "ci").await;
    let error = store.delete(token.expose_secret()).await.unwrap_err();
    assert!(matches!(error, opencode_auth::ChangeError::IdOrNameIsToken), "{error}");
    store.create(NewToken::new().name(token.expose_secret())).await.unwrap_err();
    assert!(!cluster.log().contains(token.expose_secret()));
}

/// More stores than a pool has sessions, so that they take turns.
async fn eight_servers_see_every_change(way: Way) {
    let cluster = shared_cluster!();
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(LEASE).await);
    PostgresTokenStore::init(&url).await.unwrap();
    let mut servers = Vec::new();
    for _ in 0..8 {
        servers.push(open(&url).await);
    }
    for round in 0..3 {
        let name = format!("token-{round}");
        let token = create(&servers[0], &name).await;
        for server in &servers {
            assert!(is_known(server, &token).await);
        }
        let rotated = servers[1].rotate(&name).await.unwrap();
        for server in &servers {
            assert!(!is_known(server, &token).await);
            assert!(is_known(server, &rotated.token).await);
        }
        servers[2].delete(&name).await.unwrap();
        for server in &servers {
            assert!(!is_known(server, &rotated.token).await);
        }
    }
    let report = PostgresTokenStore::report(&url).await.unwrap();
    assert_eq!(report.realm.unwrap().tokens, 0);
}
