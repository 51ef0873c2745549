use std::io;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long one side may stay open after the other has ended.
const LINGER: Duration = Duration::from_secs(5);

/// Joins both sides of a WebSocket until one of them ends, or until `ended` resolves.
///
/// Bytes pass as they are, so messages, extensions and close codes are those of the two ends.
pub(super) async fn join(client: OnUpgrade, upstream: OnUpgrade, ended: impl Future<Output = ()>) {
    // An error says that one side is gone before the upgrade was complete.
    let Ok((client, upstream)) = tokio::try_join!(client, upstream) else { return };
    tokio::select! {
        () = pass(client, upstream) => {}
        () = ended => {}
    }
}

async fn pass(client: Upgraded, upstream: Upgraded) {
    let (client_reader, client_writer) = tokio::io::split(TokioIo::new(client));
    let (upstream_reader, upstream_writer) = tokio::io::split(TokioIo::new(upstream));
    let mut up = std::pin::pin!(copy(client_reader, upstream_writer));
    let mut down = std::pin::pin!(copy(upstream_reader, client_writer));
    // The other direction still delivers what is under way, such as the close frame. It may wait for a
    // process that is stopped, so there is a limit.
    tokio::select! {
        _ = &mut up => { let _ = timeout(LINGER, down).await; }
        _ = &mut down => { let _ = timeout(LINGER, up).await; }
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
