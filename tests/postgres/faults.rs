//! Faults of the network, of the database and of the server: never an allowed request beyond the bound, never
//! a denial in doubt.

use std::time::{Duration, Instant};

use opencode_auth::PostgresTokenStore;
use tokio::time::sleep;

use crate::commands::run;
use crate::proxy::{Mode, Proxy};
use crate::support::{LEASE, create, find, is_known, open, until_it_cannot_tell, until_known};
use crate::way::{Link, Way, url};
use crate::{each_way, link, own_cluster, shared_cluster};

each_way![
    lost_packets_end_the_lease_and_nothing_else,
    a_stopped_database_ends_the_lease,
    a_restart_is_survived,
    a_crash_and_a_later_start_are_survived,
    servers_follow_a_failover_and_do_not_trust_a_replica,
    the_restore_of_an_older_dump_brings_no_deleted_token_back,
    a_stopped_server_asks_before_it_decides,
];

async fn lost_packets_end_the_lease_and_nothing_else(way: Way) {
    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let commands = open(&cluster.url(&database)).await;
    // A pooler's own connections can be cut off as well.
    let behind = Proxy::to(cluster.port).await;
    let link = link!(way, behind.port);
    let before = Proxy::to(link.port).await;
    let server = open(&url(before.port, &database)).await;
    for proxy in [&before, &behind] {
        let token = create(&commands, "ci").await;
        assert!(is_known(&server, &token).await);
        proxy.set(Mode::Swallow);
        let cut_off_at = Instant::now();
        // The deletion is made while the server is cut off, and the server must not allow the token after it.
        let deleted = commands.delete("ci");
        let (error, deleted) =
            tokio::join!(until_it_cannot_tell(&server, &token, cut_off_at, LEASE), deleted);
        deleted.unwrap();
        assert!(error.contains("did not answer") || error.contains("has not answered"), "{error}");
        for _ in 0..5 {
            find(&server, &token).await.unwrap_err();
        }
        proxy.set(Mode::Forward);
        let deadline = Instant::now() + Duration::from_secs(15);
        while let Err(error) = find(&server, &token).await {
            assert!(Instant::now() < deadline, "{error}");
        }
        assert!(!is_known(&server, &token).await);
    }
}

async fn a_stopped_database_ends_the_lease(way: Way) {
    let cluster = own_cluster!();
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(LEASE).await);
    let server = open(&url).await;
    let token = create(&server, "ci").await;
    cluster.signal("STOP");
    let error = until_it_cannot_tell(&server, &token, Instant::now(), LEASE).await;
    cluster.signal("CONT");
    assert!(!error.is_empty());
    until_known(&server, &token).await;
}

async fn a_restart_is_survived(way: Way) {
    let cluster = own_cluster!();
    // Long enough for a restart, which requests do not notice then.
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(Duration::from_secs(8)).await);
    let server = open(&url).await;
    let setup = PostgresTokenStore::open(&format!("{url}?realm=default")).await.unwrap();
    let created = tokio::spawn(async move { create(&setup, "ci").await });
    let records = loop {
        let records = server.list().await.unwrap();
        if !records.is_empty() {
            break records;
        }
        sleep(Duration::from_millis(20)).await;
    };
    sleep(Duration::from_secs(3)).await;
    let find_record = || async {
        let digest = *records[0].digest();
        opencode_auth::TokenStore::find(&server, &digest).wait().await
    };
    assert!(find_record().await.unwrap().is_some());
    cluster.restart();
    for _ in 0..20 {
        assert!(find_record().await.unwrap().is_some());
        sleep(Duration::from_millis(20)).await;
    }
    created.abort();
}

async fn a_crash_and_a_later_start_are_survived(way: Way) {
    let cluster = own_cluster!();
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(LEASE).await);
    let server = open(&url).await;
    let token = create(&server, "ci").await;
    let crashed_at = Instant::now();
    cluster.crash();
    let crash_took = crashed_at.elapsed();
    let error = until_it_cannot_tell(&server, &token, crashed_at + crash_took, LEASE).await;
    assert!(names_the_outage(&error), "{error}");
    cluster.launch();
    until_known(&server, &token).await;
}

async fn servers_follow_a_failover_and_do_not_trust_a_replica(way: Way) {
    let primary = own_cluster!();
    let database = primary.realm(LEASE).await;
    let standby = primary.standby();
    let (first, second) = (link!(way, primary.port), link!(way, standby.port));
    let hosts = |first: &Link, second: &Link| {
        let (first, second) = (first.port, second.port);
        format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/{database}")
    };
    let both = hosts(&first, &second);
    let server = open(&both).await;
    let token = create(&server, "ci").await;
    let error = PostgresTokenStore::open(&second.url(&database)).await.unwrap_err().to_string();
    assert!(error.contains("is a replica"), "{error}");
    let checked = run(&["check", "--store", &second.url(&database)], &[], "");
    let wrong =
        "Wrong: the database is a replica, which may lag behind; name the primary in the URL\n";
    assert!(checked.code == 1 && checked.stdout.contains(wrong), "{}", checked.stdout);

    // Whatever the standby is named after, the primary is used.
    let other = open(&hosts(&second, &first)).await;
    assert!(is_known(&other, &token).await);
    let kept = create(&other, "kept").await;

    sleep(LEASE).await;
    primary.crash();
    let error = until_it_cannot_tell(&server, &token, Instant::now(), LEASE).await;
    assert!(error.contains("replica") || names_the_outage(&error), "{error}");
    standby.promote();
    until_known(&server, &token).await;
    until_known(&other, &kept).await;
    server.delete("ci").await.unwrap();
    assert!(!is_known(&server, &token).await);
    assert!(!is_known(&other, &token).await);
}

async fn the_restore_of_an_older_dump_brings_no_deleted_token_back(way: Way) {
    let cluster = own_cluster!();
    let database = cluster.realm(LEASE).await;
    let link = link!(way, cluster.port);
    let server = open(&link.url(&database)).await;
    let token = create(&server, "ci").await;
    let port = cluster.port.to_string();
    let dump = cluster.directory().join("dump");
    let dump = dump.to_str().unwrap();
    let connection = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
    cluster.run("pg_dump", &[&connection[..], &["-Fc", "-f", dump, &database]].concat());
    server.delete("ci").await.unwrap();
    assert!(!is_known(&server, &token).await);

    let restore = ["-d", &database, "--clean", "--if-exists", dump];
    cluster.run("pg_restore", &[&connection[..], &restore].concat());
    let deadline = Instant::now() + LEASE * 3;
    while Instant::now() < deadline {
        assert!(!matches!(find(&server, &token).await, Ok(Some(_))), "a deleted token is back");
        sleep(Duration::from_millis(5)).await;
    }
    let error = find(&server, &token).await.unwrap_err().to_string();
    assert!(error.contains("went back"), "{error}");
}

/// A server that is stopped for longer than the lease must not decide from what it knew before.
async fn a_stopped_server_asks_before_it_decides(way: Way) {
    let cluster = shared_cluster!();
    let link = link!(way, cluster.port);
    let url = link.url(&cluster.realm(LEASE).await);
    let commands = open(&url).await;
    let token = create(&commands, "ci").await;
    let server = crate::revocation::Server::start(&url);
    assert_eq!(server.status(&token).await, 200);
    server.signal("STOP");
    commands.delete("ci").await.unwrap();
    server.signal("CONT");
    // The first request after it goes on.
    assert_eq!(server.status(&token).await, 401);
}

/// A server without requests does not poll after 30 s, and the next request still sees the current state.
#[tokio::test]
async fn an_idle_store_stops_polling_and_asks_again() {
    // As documented, and some time for a slow machine.
    const IDLE: Duration = Duration::from_secs(33);

    let cluster = shared_cluster!();
    let database = cluster.realm(LEASE).await;
    let store = open(&cluster.url(&database)).await;
    let commands = cluster.url(&database) + "?application_name=commands";
    let token = create(&open(&commands).await, "ci").await;
    let last_poll = || {
        let statement = "SELECT query_start FROM pg_stat_activity \
                         WHERE application_name = 'opencode-auth' AND datname = current_database()";
        cluster.psql(&database, statement)
    };
    assert!(is_known(&store, &token).await);
    let first = last_poll();
    sleep(LEASE).await;
    assert_ne!(last_poll(), first, "it polls while there are requests");

    sleep(IDLE).await;
    let last = last_poll();
    sleep(LEASE * 5).await;
    assert_eq!(last_poll(), last);
    cluster.psql(&database, "DELETE FROM opencode_auth.tokens");
    let asked = Instant::now();
    assert!(!is_known(&store, &token).await);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    let woken = last_poll();
    assert_ne!(woken, last);
    sleep(LEASE).await;
    assert_ne!(last_poll(), woken, "it polls again");
}

/// PgBouncer accepts connections while its database is down, and lets the clients wait.
fn names_the_outage(error: &str) -> bool {
    ["no connection", "server login has been failing", "did not answer", "has not answered"]
        .iter()
        .any(|words| error.contains(words))
}
