//! What the store in PostgreSQL costs. Takes the URL of a database that may be filled:
//!
//! ```sh
//! BENCH_URL=postgres://postgres@127.0.0.1/bench cargo bench --features postgres --bench postgres
//! ```
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::pedantic,
    unreachable_pub,
    reason = "it is a measurement"
)]

#[path = "store_file.rs"]
mod store_file;

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use opencode_auth::{
    AuthLayer, FileTokenStore, Lookup, NewToken, PostgresTokenStore, TokenDigest, TokenStore,
};
use tokio::runtime::Runtime;
use tower::{Layer as _, ServiceExt as _, service_fn};

const LOOKUPS: u32 = 2_000_000;

fn main() {
    let Ok(url) = std::env::var("BENCH_URL") else {
        println!("skipped: BENCH_URL names no database");
        return;
    };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(PostgresTokenStore::init(&url)).unwrap();
    for tokens in [1, 1_000] {
        find(&runtime, &url, tokens);
    }
    runtime.block_on(polls(&url));
    for tokens in [1_000, 100_000] {
        fill(&runtime, &url, tokens);
        load(&runtime, &url, tokens);
    }
    runtime.block_on(latency(&url));
    fill(&runtime, &url, 0);
}

/// Replaces the realm's tokens with this many.
fn fill(runtime: &Runtime, url: &str, tokens: usize) {
    runtime.block_on(async {
        let client = connect(url).await;
        let statement = format!(
            "TRUNCATE opencode_auth.tokens; INSERT INTO opencode_auth.tokens \
             SELECT 'default', lpad(to_hex(i), 12, '0'), 'token-' || i, sha256(i::text::bytea), \
             '{{read,write}}', now(), now() + interval '90 days' FROM generate_series(1, {tokens}) i"
        );
        client.batch_execute(&statement).await.unwrap();
    });
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// One look-up, beside the file store's, in turns. Both stores have the same tokens.
fn find(runtime: &Runtime, url: &str, tokens: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth-tokens.json");
    let digest = store_file::write(&path, tokens).digest();
    // As long a lease as the other has, so that refreshes do not count.
    let file =
        FileTokenStore::options().freshness_window(Duration::from_secs(3600)).open(&path).unwrap();
    copy(runtime, &file, url);
    let postgres = runtime.block_on(PostgresTokenStore::open(url)).unwrap();
    let (mut of_file, mut of_postgres) = (Vec::new(), Vec::new());
    for round in 0..30 {
        if round % 2 == 0 {
            of_file.push(timed(&file, &digest));
            of_postgres.push(timed(&postgres, &digest));
        } else {
            of_postgres.push(timed(&postgres, &digest));
            of_file.push(timed(&file, &digest));
        }
    }
    let ratio = median(of_postgres.iter().zip(&of_file).map(|(one, other)| one / other).collect());
    let (file, postgres) = (median(of_file), median(of_postgres));
    println!(
        "find, {tokens} tokens each: file {file:.1} ns, PostgreSQL {postgres:.1} ns, ratio {ratio:.3}"
    );
}

/// Replaces the realm's tokens with the file's.
fn copy(runtime: &Runtime, file: &FileTokenStore, url: &str) {
    let rows: Vec<_> = file
        .list()
        .unwrap()
        .iter()
        .map(|record| {
            let digest: String =
                record.digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let (id, name) = (record.id(), record.name().unwrap());
            format!(
                "('default', '{id}', '{name}', '\\x{digest}', '{{read,write,execute}}', now(), \
                 now() + interval '90 days')"
            )
        })
        .collect();
    runtime.block_on(async {
        let client = connect(url).await;
        let rows = rows.join(", ");
        let statement = format!(
            "TRUNCATE opencode_auth.tokens; INSERT INTO opencode_auth.tokens VALUES {rows}"
        );
        client.batch_execute(&statement).await.unwrap();
    });
}

fn timed(store: &impl TokenStore, digest: &TokenDigest) -> f64 {
    let began = Instant::now();
    for _ in 0..LOOKUPS {
        let Lookup::Ready(Ok(Some(found))) = store.find(black_box(digest)) else {
            // A poll was late: this machine has other work.
            continue;
        };
        black_box(found);
    }
    began.elapsed().as_nanos() as f64 / f64::from(LOOKUPS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn load(runtime: &Runtime, url: &str, tokens: usize) {
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let store = runtime.block_on(PostgresTokenStore::open(url)).unwrap();
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        drop(store);
    }
    println!("open with {tokens} tokens: {:.1} ms", median(times));
}

/// How many polls a second one database answers, on 32 connections.
async fn polls(url: &str) {
    const POLL: &str = "SELECT version, xmin::text::bigint, format, lease_ms, \
        pg_catalog.pg_is_in_recovery() FROM opencode_auth.realms r WHERE r.realm = $1";
    let began = Instant::now();
    let span = Duration::from_secs(4);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let url = url.to_owned();
            tokio::spawn(async move {
                let client = connect(&url).await;
                let mut polls = 0;
                while began.elapsed() < span {
                    let realm = (&"default" as _, tokio_postgres::types::Type::TEXT);
                    client.query_typed(POLL, &[realm]).await.unwrap();
                    polls += 1;
                }
                polls
            })
        })
        .collect();
    let mut polls = 0;
    for task in tasks {
        polls += task.await.unwrap();
    }
    println!("polls: {:.0} a second", f64::from(polls) / span.as_secs_f64());
}

/// Look-ups and allowed requests of one task while polls run, and while 100,000 tokens are loaded again and again.
async fn latency(url: &str) {
    let store = PostgresTokenStore::open(url).await.unwrap();
    let digest = TokenDigest::from_bytes([0; 32]);
    let token = store.create(NewToken::new()).await.unwrap().token;
    let handler = service_fn(async |_: Request| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = AuthLayer::new(store.clone()).layer(handler);
    for (what, is_changing) in [("polls run", false), ("100,000 tokens are loaded", true)] {
        let changes = url.to_owned();
        let change = tokio::spawn(async move {
            let client = connect(&changes).await;
            if !is_changing {
                return;
            }
            loop {
                let edit = "UPDATE opencode_auth.realms SET version = version + 1";
                client.batch_execute(edit).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1000)).await;
            }
        });
        let (mut times, mut requests, mut waited) = (Vec::new(), Vec::new(), 0);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            let asked = Instant::now();
            match store.find(&digest) {
                Lookup::Ready(found) => drop(black_box(found)),
                Lookup::Pending(found) => {
                    waited += 1;
                    drop(black_box(found.await));
                }
            }
            times.push(asked.elapsed().as_nanos() as f64);
            let request = Request::get("/config")
                .header("authorization", format!("Bearer {}", token.expose_secret()))
                .body(Body::empty())
                .unwrap();
            let sent = Instant::now();
            let response = service.clone().oneshot(request).await.unwrap();
            requests.push(sent.elapsed().as_nanos() as f64);
            assert_eq!(response.status(), 200);
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        change.abort();
        println!("find while {what}: {}, {waited} of {} waited", spread(&mut times), times.len());
        println!("an allowed request while {what}: {}", spread(&mut requests));
    }
}

fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    format!(
        "p50 {:.1} µs, p99 {:.1} µs, longest {:.1} µs",
        times[times.len() / 2] / 1000.0,
        times[times.len() * 99 / 100] / 1000.0,
        times[times.len() - 1] / 1000.0,
    )
}
