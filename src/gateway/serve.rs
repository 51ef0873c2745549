use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::gateway::front::Front;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How often a client that has an HTTP/2 connection open is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// After how long without data the system asks whether a client is still there. It does not ask while data is not
/// acknowledged: then it gives up after its own limit, some 15 minutes on Linux.
const PROBE: Duration = Duration::from_secs(30);

/// How long requests under way may take to finish when the gateway stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long accepting waits when the process has no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Serves HTTP/1.1 and HTTP/2 until `stopped` resolves and the requests under way have finished.
pub(super) async fn serve<S>(
    listener: TcpListener,
    front: Arc<Front<S>>,
    stopped: impl Future<Output = ()>,
) where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING);
    let graceful = GracefulShutdown::new();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let (stream, client) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    wait_after(&error).await;
                    continue;
                }
            },
            () = &mut stopped => break,
        };
        // An error means that the client is gone, which its own task will see.
        let _ = prepare(&stream);
        let front = Arc::clone(&front);
        let has_request = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&has_request);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            seen.store(true, Ordering::Relaxed);
            let front = Arc::clone(&front);
            async move { Ok::<_, Infallible>(front.respond(request.map(Body::new), client.ip()).await) }
        });
        let connection =
            builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        // A connection fails if its client breaks the protocol or goes away. The gateway cannot help that.
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            drop(unless_silent(connection, HEAD_TIMEOUT, &has_request).await);
        });
    }
    drop(listener);
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way and have been cut off");
    }
}

/// Sends small parts at once, and finds out that a client is gone without a word: its machine sleeps, or its
/// network is another one. An open stream would hold a connection to the upstream until its token ends.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE / 2);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Drops a connection that sends no request within the limit. hyper-util itself has no limit for the first
/// bytes, which tell it the version of HTTP.
async fn unless_silent<C: Future>(
    connection: C,
    limit: Duration,
    has_request: &AtomicBool,
) -> Option<C::Output> {
    let mut connection = std::pin::pin!(connection);
    match timeout(limit, &mut connection).await {
        Ok(ended) => Some(ended),
        Err(_) if has_request.load(Ordering::Relaxed) => Some(connection.await),
        Err(_) => None,
    }
}

async fn wait_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "failed to accept a connection");
        sleep(EXHAUSTED).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_asks_whether_a_client_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE / 2);
    }

    #[tokio::test]
    async fn silent_connection_is_given_up_and_a_slow_one_is_not() {
        let limit = Duration::from_millis(5);
        let answered = || async {
            sleep(limit * 4).await;
            "served"
        };
        let seen = AtomicBool::new(true);
        assert_eq!(unless_silent(answered(), limit, &seen).await, Some("served"));
        let silent = AtomicBool::new(false);
        assert_eq!(unless_silent(answered(), limit, &silent).await, None);
    }
}
