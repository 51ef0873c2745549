//! Requests while the store's file is replaced: how long they wait, and how long the runtime is held up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use opencode_auth::{AuthLayer, FileTokenStore, Token};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::store_file;

pub const TOKENS: usize = 10_000;
const CLIENTS: usize = 4;
const WINDOW: Duration = Duration::from_millis(10);

/// What was measured in one period.
pub struct Figures {
    /// How long each request took.
    pub requests: Vec<Duration>,
    /// How long it took until a task that has nothing to do with the layer ran.
    pub delays: Vec<Duration>,
    /// How often the file was replaced, each time followed by a request that has to see it.
    pub replaced: usize,
}

/// Sends requests for that long on a runtime with two workers. With an interval, the file is replaced so
/// often; a token that comes and goes with it tells whether each request sees the file that it has to see.
pub fn run(directory: &Path, lasting: Duration, interval: Option<Duration>) -> Figures {
    let path = directory.join("auth-tokens.json");
    let (token, guest) = (Token::generate().unwrap(), Token::generate().unwrap());
    let without = store_file::text(TOKENS, &token);
    let with = with_guest(&without, &guest);
    store_file::replace(&path, &without);
    let store = FileTokenStore::options().freshness_window(WINDOW).open(&path).unwrap();
    let app = Router::new()
        .route("/config", get(async || "config"))
        .layer(AuthLayer::new(store))
        .with_state(());

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = || over.load(Ordering::Relaxed);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| runtime.spawn(client(app.clone(), header(&token), Arc::clone(&over))))
        .collect();

    let (sender, mut receiver) = mpsc::unbounded_channel::<Instant>();
    let other = runtime.spawn(async move {
        let mut delays = Vec::new();
        while let Some(sent) = receiver.recv().await {
            delays.push(sent.elapsed());
        }
        delays
    });
    let replaced = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                sender.send(Instant::now()).unwrap();
                thread::sleep(Duration::from_micros(500));
            }
            drop(sender);
        });
        let began = Instant::now();
        let mut replaced = 0;
        while let Some(interval) = interval.filter(|_| began.elapsed() < lasting) {
            thread::sleep(interval);
            replaced += 1;
            let is_guest_there = replaced % 2 == 1;
            store_file::replace(&path, if is_guest_there { &with } else { &without });
            // As long as a writer waits before it returns.
            thread::sleep(WINDOW);
            let (status, _) = runtime.block_on(send(&app, &header(&guest)));
            let expected = if is_guest_there { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(status, expected, "a request was decided by an old file");
        }
        thread::sleep(lasting.saturating_sub(began.elapsed()));
        over.store(true, Ordering::Relaxed);
        replaced
    });
    let requests = clients.into_iter().flat_map(|client| runtime.block_on(client).unwrap());
    let requests = requests.collect();
    Figures { requests, delays: runtime.block_on(other).unwrap(), replaced }
}

/// Sends a request every millisecond or so, and says how long each took.
async fn client(app: Router, authorization: String, over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (status, duration) = send(&app, &authorization).await;
        assert_eq!(status, StatusCode::OK);
        took.push(duration);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took
}

async fn send(app: &Router, authorization: &str) -> (StatusCode, Duration) {
    let request = Request::get("/config").header("authorization", authorization);
    let request = request.body(Body::empty()).unwrap();
    let began = Instant::now();
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status(), began.elapsed())
}

fn header(token: &Token) -> String {
    format!("Bearer {}", token.expose_secret())
}

/// The same store with one more token.
fn with_guest(text: &str, guest: &Token) -> String {
    let record = store_file::text(1, guest);
    let record = record.lines().nth(3).unwrap();
    let record = record.replace("000000000000", "ffffffffffff").replace("token 0", "guest");
    text.replacen("\n  ]", &format!(",\n{record}\n  ]"), 1)
}
