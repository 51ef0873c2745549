//! The bodies of requests: one that comes after its token ended, and one of a request that is denied.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{Request, Response, Version};
use axum::routing::{get, post};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use opencode_auth::{
    AuthLayer, Lookup, MemoryTokenStore, NewToken, Permissions, StoreError, TokenDigest, TokenStore,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::support::{bearer, send, store_with};

async fn serve(app: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

async fn read_all(socket: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut received));
    let _ = read.await.expect("the server hangs");
    String::from_utf8_lossy(&received).into_owned()
}

/// A store whose look-ups take some time, or none.
#[derive(Clone)]
struct Late(MemoryTokenStore, bool);

impl TokenStore for Late {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        if !self.1 {
            return self.0.find(digest);
        }
        let (store, digest) = (self.0.clone(), *digest);
        Lookup::pending(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let Lookup::Ready(found) = store.find(&digest) else { unreachable!() };
            found
        })
    }
}

#[tokio::test]
async fn a_body_that_comes_after_its_token_was_deleted_reaches_no_handler() {
    for late in [false, true] {
        for (case, deleted, chunked) in [
            ("good", false, false),
            ("good, chunked", false, true),
            ("deleted", true, false),
            ("deleted, chunked", true, true),
        ] {
            let (store, token) = store_with(Permissions::ALL);
            let ran = Arc::new(AtomicUsize::new(0));
            let handler = {
                let ran = Arc::clone(&ran);
                move |body: String| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    std::future::ready(format!("ran {body}"))
                }
            };
            let app = Router::new()
                .route("/session/1/shell", post(handler))
                .layer(AuthLayer::new(Late(store.clone(), late)));
            let address = serve(app).await;
            let mut socket = TcpStream::connect(address).await.unwrap();
            let length = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 6" };
            let head = format!(
                "POST /session/1/shell HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{length}\r\n\
                 Authorization: Bearer {}\r\n\r\n",
                token.expose_secret()
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if deleted {
                let _ = store.delete(store.list()[0].id().as_str()).unwrap();
            }
            let body = if chunked { "6\r\nrm -rf\r\n0\r\n\r\n" } else { "rm -rf" };
            socket.write_all(body.as_bytes()).await.unwrap();
            let response = read_all(&mut socket).await;
            if deleted {
                assert_eq!(ran.load(Ordering::SeqCst), 0, "{case}: {response}");
                assert!(response.starts_with("HTTP/1.1 400 "), "{case}: {response}");
                assert!(
                    response.contains("the token of the request ended before its body did"),
                    "{case}: {response}"
                );
            } else {
                assert!(response.ends_with("ran rm -rf"), "{case}: {response}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_checked_says_so() {
    let (store, token) = store_with(Permissions::ALL);
    let failing = store.clone();
    let handler = async move |mut body: Body| {
        failing.fail_with(StoreError::new(std::io::Error::other("gone")));
        let error = body.frame().await.unwrap().unwrap_err().to_string();
        assert!(body.is_end_stream() && body.frame().await.is_none());
        error
    };
    let app = Router::new().fallback(handler).layer(AuthLayer::new(store));
    let request = bearer("POST", "/config", &token).map(|_| Body::from("x"));
    let response = send(&app, request).await;
    assert_eq!(
        response.body,
        "the token store could not tell whether the token of the request is still valid"
    );
}

/// A handler that sends a request on has to know whether there is a body, and how long it is.
#[tokio::test]
async fn a_checked_body_keeps_its_length_and_its_end() {
    let (store, token) = store_with(Permissions::ALL);
    let handler = async |request: Request<Body>| {
        let mut body = request.into_body();
        let state = |body: &Body| (body.is_end_stream(), body.size_hint().exact());
        let before = state(&body);
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        format!("{before:?} {frame:?} {:?}", state(&body))
    };
    for late in [false, true] {
        let app = Router::new().fallback(handler).layer(AuthLayer::new(Late(store.clone(), late)));
        let request = bearer("POST", "/session", &token).map(|_| Body::from("rm -rf"));
        let response = send(&app, request).await;
        assert_eq!(response.body, r#"(false, Some(6)) b"rm -rf" (true, Some(0))"#);
    }
}

/// A body that never goes on.
fn pending<T>() -> stream::Pending<Result<T, std::io::Error>> {
    stream::pending()
}

/// A body of this many chunks of 64 KiB, and how many of them were read.
fn chunks(count: usize) -> (Body, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let chunks = stream::iter((0..count).map(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(&[0; 65_536]))
    }));
    (Body::from_stream(chunks), read)
}

#[tokio::test]
async fn the_rest_of_a_denied_body_is_read_up_to_a_limit() {
    let layer = || AuthLayer::new(MemoryTokenStore::new());
    let limited = |bytes| layer().denial_drain(bytes, Duration::from_secs(1));
    for (case, layer, sent, headers, read, closes) in [
        ("all of it", layer(), 100, vec![], 100, false),
        ("8 MiB", layer(), 128, vec![], 128, false),
        ("more than 8 MiB", layer(), 200, vec![], 129, true),
        ("exactly the limit", limited(65_536 * 2), 2, vec![], 2, false),
        ("a byte more", limited(65_536 * 2 - 1), 3, vec![], 2, true),
        ("none", limited(0), 3, vec![], 0, false),
        ("a client that waits", layer(), 3, vec![("expect", "100-continue")], 0, false),
    ] {
        let app = Router::new().layer(layer);
        let (body, counted) = chunks(sent);
        let mut request = Request::post("/config");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = app.oneshot(request.body(body).unwrap()).await.unwrap();
        assert_eq!(response.status(), 401, "{case}");
        assert_eq!(counted.load(Ordering::SeqCst), read, "{case}");
        let closed = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(closed, closes, "{case}");
    }
    // Over HTTP/2 a stream ends without its connection.
    for (sent, read) in [(3, 3), (200, 129)] {
        let (body, counted) = chunks(sent);
        let request = Request::post("/config").version(Version::HTTP_2).body(body).unwrap();
        let app: Router = Router::new().layer(layer());
        let response = app.oneshot(request).await.unwrap();
        assert_eq!((response.status().as_u16(), counted.load(Ordering::SeqCst)), (401, read));
        assert!(!response.headers().contains_key("connection"));
    }
}

#[tokio::test]
async fn a_denied_body_that_does_not_come_is_waited_for_one_second() {
    let app: Router = Router::new().layer(AuthLayer::new(MemoryTokenStore::new()));
    let body = Body::from_stream(pending::<Bytes>());
    let began = Instant::now();
    let request = Request::post("/config").body(body).unwrap();
    let response: Response<Body> = app.oneshot(request).await.unwrap();
    let elapsed = began.elapsed();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["connection"], "close");
    assert!((1.0..3.0).contains(&elapsed.as_secs_f64()), "{elapsed:?}");
}

/// A store that is stuck in a look-up of the thread that watches tokens.
#[derive(Clone)]
struct Stuck(MemoryTokenStore, Arc<Mutex<mpsc::Receiver<()>>>);

impl TokenStore for Stuck {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        if std::thread::current().name() == Some("opencode-auth-watch") {
            let _ = self.1.lock().unwrap().recv();
        }
        self.0.find(digest)
    }
}

#[tokio::test]
async fn a_denied_body_is_not_waited_for_longer_if_the_store_is_stuck() {
    let (store, token) = store_with(Permissions::ALL);
    let (stuck, until_dropped) = mpsc::channel::<()>();
    let stream = || std::future::ready(Body::from_stream(pending::<Bytes>()));
    let app: Router = Router::new().route("/event", get(stream)).layer(
        AuthLayer::new(Stuck(store, Arc::new(Mutex::new(until_dropped))))
            .denial_drain(1, Duration::from_millis(300)),
    );
    let event = app.clone().oneshot(bearer("GET", "/event", &token)).await.unwrap();
    assert_eq!(event.status(), 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    let body = Body::from_stream(pending::<Bytes>());
    let response = app.oneshot(Request::post("/config").body(body).unwrap());
    let response = tokio::time::timeout(Duration::from_secs(3), response).await;
    assert_eq!(response.expect("it waits for the store").unwrap().status(), 401);
    assert!(began.elapsed() >= Duration::from_millis(300));
    drop((event, stuck));
}

#[tokio::test]
async fn the_longest_time_to_wait_for_a_denied_body_is_no_mistake() {
    let layer = AuthLayer::new(MemoryTokenStore::new()).denial_drain(u64::MAX, Duration::MAX);
    let app: Router = Router::new().layer(layer);
    let chunks = pending::<Bytes>().take_until(tokio::time::sleep(Duration::from_millis(50)));
    let request = Request::post("/config").body(Body::from_stream(chunks)).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(!response.headers().contains_key("connection"));
}

/// What a client of a real server sees that sends 5 MB before it reads.
#[tokio::test]
async fn a_client_that_sends_5_mb_with_a_bad_token_reads_the_401() {
    let store = MemoryTokenStore::new();
    let _ = store.create(NewToken::new()).unwrap();
    let address = serve(Router::new().layer(AuthLayer::new(store))).await;
    for _ in 0..20 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = "POST /config HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5000000\r\n\
                    Authorization: Bearer x\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![0; 5_000_000]).await.expect("the server hung up");
        let response = read_all(&mut socket).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    }
}
