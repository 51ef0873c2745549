//! Bodies that stream.

use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use opencode_auth::Permissions;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stub;
use crate::support::{Gateway, basic, eventually, open, request, send};

/// What is uploaded, in MiB. `OPENCODE_AUTH_TEST_UPLOAD` sets another size.
fn upload_size() -> usize {
    std::env::var("OPENCODE_AUTH_TEST_UPLOAD").map_or(128, |size| size.parse().unwrap())
}

async fn event(body: &mut Incoming) -> Option<Value> {
    let frame = timeout(Duration::from_secs(5), body.frame()).await.unwrap()?.unwrap();
    let data = frame.into_data().unwrap();
    let text = String::from_utf8(data.to_vec()).unwrap();
    Some(
        serde_json::from_str(text.strip_prefix("data: ").unwrap().lines().next().unwrap()).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_as_the_upstream_sends_them() {
    let (upstream, streams) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let response = open(gateway.request("GET", "/event")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for number in 0..3 {
        let event = event(&mut body).await.unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
        let micros = now - u128::from(event["sent"].as_u64().unwrap());
        assert_eq!(event["number"], number);
        assert!(micros < 50_000, "event {number} took {micros} us");
    }
    // A client that goes away ends the request to the upstream.
    assert_eq!(streams.count(), 1);
    drop(body);
    eventually("the upstream's stream is closed", || streams.count() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_ends_with_its_token() {
    let (upstream, streams) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let token = gateway.token("events", Permissions::READ);
    let mut body =
        open(request(gateway.address, "GET", "/event", &basic(&token))).await.into_body();
    event(&mut body).await.unwrap();
    let _ = gateway.store.delete("events").unwrap();
    let deleted = Instant::now();
    // It ends cleanly: opencode's clients connect again after a reset.
    while event(&mut body).await.is_some() {}
    let elapsed = deleted.elapsed();
    assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
    eventually("the upstream's stream is closed", || streams.count() == 0);
    let again = send(request(gateway.address, "GET", "/event", &basic(&token))).await;
    assert_eq!(again.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_upload_takes_constant_memory() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    gateway.get("/config").await;
    let before = gateway.memory("VmHWM");
    let part = Bytes::from(vec![0; 1 << 20]);
    let size = upload_size();
    let parts = stream::iter((0..size).map(move |_| Ok::<_, std::io::Error>(part.clone())));
    let response = send(gateway.request("POST", "/upload").map(|_| Body::from_stream(parts))).await;
    assert_eq!(String::from_utf8(response.body).unwrap(), (size << 20).to_string());
    let grown = gateway.memory("VmHWM") - before;
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_whose_token_ends_is_not_the_upstreams_fault() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let token = gateway.token("uploads", Permissions::ALL);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-length: 10\r\n\
         connection: close\r\n\r\nbegun",
        basic(&token)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = gateway.store.delete("uploads").unwrap();
    stream.write_all(b"ended").await.unwrap();
    let mut response = String::new();
    let read = stream.read_to_string(&mut response);
    timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
    assert!(response.contains("The request's body ended early"), "{response}");
}

/// The upstream's response begins before the request's body has ended.
#[tokio::test(flavor = "multi_thread")]
async fn upload_that_the_client_breaks_off_ends_at_the_upstream() {
    let (upstream, _) = stub::first().await;
    let gateway = Gateway::start(upstream);
    let before = gateway.descriptors();
    let parts =
        stream::iter([Ok(Bytes::from_static(b"begun")), Err(std::io::Error::other("gone"))]);
    let broken = gateway.request("POST", "/upload").map(|_| Body::from_stream(parts));
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<Body>();
    assert!(client.request(broken).await.is_err());
    drop(client);
    eventually("both connections are closed", || gateway.descriptors() <= before);
}
