//! A connection that is lost in COMMIT: the change was made, it was not made, or it is unknown.

use opencode_auth::{ChangeError, NewToken};

use crate::proxy::{Mode, Proxy};
use crate::shared_cluster;
use crate::support::{LEASE, create, is_known, open};

#[tokio::test]
async fn a_lost_commit_has_one_of_three_outcomes() {
    let cluster = shared_cluster!();
    let url = cluster.url(&cluster.realm(LEASE).await);
    let proxy = Proxy::to(cluster.port).await;
    let commands = open(&proxy.url(&url, cluster.port)).await;
    let server = open(&url).await;

    // It was made, and only the confirmation was lost.
    proxy.set(Mode::CloseAfterCommit);
    let ci = create(&commands, "ci").await;
    assert!(is_known(&server, &ci).await);
    proxy.set(Mode::CloseAfterCommit);
    let rotated = commands.rotate("ci").await.unwrap();
    assert!(!is_known(&server, &ci).await);
    assert!(is_known(&server, &rotated.token).await);
    proxy.set(Mode::CloseAfterCommit);
    commands.delete("ci").await.unwrap();
    assert!(!is_known(&server, &rotated.token).await);

    // It was not made.
    let ci = create(&commands, "ci").await;
    proxy.set(Mode::CloseBeforeCommit);
    let error = commands.delete("ci").await.unwrap_err();
    assert!(matches!(error, ChangeError::Store(_)), "{error}");
    assert!(is_known(&server, &ci).await);
    proxy.set(Mode::CloseBeforeCommit);
    let error = commands.create(NewToken::new().name("new")).await.unwrap_err();
    assert!(matches!(error, ChangeError::Store(_)), "{error}");
    proxy.set(Mode::CloseBeforeCommit);
    let error = commands.rotate("ci").await.unwrap_err();
    assert!(matches!(error, ChangeError::Store(_)), "{error}");
    assert!(is_known(&server, &ci).await);
    assert_eq!(server.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_commit_that_cannot_be_checked_is_unknown() {
    let cluster = shared_cluster!();
    let url = cluster.url(&cluster.realm(LEASE).await);
    let proxy = Proxy::to(cluster.port).await;
    let commands = open(&proxy.url(&url, cluster.port)).await;
    create(&commands, "ci").await;
    proxy.set(Mode::SwallowAfterCommit);
    let error = commands.delete("ci").await.unwrap_err();
    assert!(matches!(error, ChangeError::OutcomeUnknown(_)), "{error}");
    assert_eq!(open(&url).await.list().await.unwrap(), []);
}
