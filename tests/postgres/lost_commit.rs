//! A connection that is lost in COMMIT: the change was made, it was not made, or it is unknown.

use opencode_auth::{ChangeError, NewToken};

use crate::proxy::{Mode, Proxy};
use crate::support::{LEASE, create, is_known, open};
use crate::way::{Way, url};
use crate::{each_way, link, shared_cluster};

each_way![a_lost_commit_has_one_of_three_outcomes, a_lost_commit_that_cannot_be_checked_is_unknown];

async fn a_lost_commit_has_one_of_three_outcomes(way: Way) {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let link = link!(way, cluster.port);
    let proxy = Proxy::to(link.port).await;
    let commands = open(&url(proxy.port, &database)).await;
    let server = open(&link.url(&database)).await;

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

async fn a_lost_commit_that_cannot_be_checked_is_unknown(way: Way) {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let link = link!(way, cluster.port);
    let proxy = Proxy::to(link.port).await;
    let commands = open(&url(proxy.port, &database)).await;
    create(&commands, "ci").await;
    proxy.set(Mode::SwallowAfterCommit);
    let error = commands.delete("ci").await.unwrap_err();
    assert!(matches!(error, ChangeError::OutcomeUnknown(_)), "{error}");
    assert_eq!(open(&link.url(&database)).await.list().await.unwrap(), []);
}
