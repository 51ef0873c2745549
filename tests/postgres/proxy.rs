//! A proxy between a store and its database that can drop what it receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the proxy does.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Forward,
    /// Nothing passes, and nothing is closed.
    Swallow,
    /// The next COMMIT reaches the database, and then the connection is closed.
    CloseAfterCommit,
    /// The next COMMIT is lost, and the connection is closed.
    CloseBeforeCommit,
    /// The next COMMIT reaches the database, and from then on nothing passes.
    SwallowAfterCommit,
}

const MODES: [Mode; 5] = [
    Mode::Forward,
    Mode::Swallow,
    Mode::CloseAfterCommit,
    Mode::CloseBeforeCommit,
    Mode::SwallowAfterCommit,
];

pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mode = Arc::new(AtomicU8::new(Mode::Forward as u8));
        let shared = Arc::clone(&mode);
        let own_port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(client, port, Arc::clone(&shared)));
            }
        });
        Self { port: own_port, mode, task }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, port: u16, mode: Arc<AtomicU8>) {
    let current = || MODES[usize::from(mode.load(Ordering::SeqCst))];
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut asked = vec![0; 65536];
    let mut received = vec![0; 65536];
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let is_commit = asked[..read].windows(7).any(|bytes| bytes == b"COMMIT\0");
                match current() {
                    Mode::Swallow => continue,
                    Mode::CloseBeforeCommit if is_commit => {
                        mode.store(Mode::Forward as u8, Ordering::SeqCst);
                        return;
                    }
                    Mode::CloseAfterCommit if is_commit => {
                        to_server.write_all(&asked[..read]).await.unwrap();
                        // The response shows that the commit is done. It is dropped.
                        let _ = from_server.read(&mut received).await;
                        mode.store(Mode::Forward as u8, Ordering::SeqCst);
                        return;
                    }
                    Mode::SwallowAfterCommit if is_commit => {
                        to_server.write_all(&asked[..read]).await.unwrap();
                        mode.store(Mode::Swallow as u8, Ordering::SeqCst);
                        continue;
                    }
                    _ => {}
                }
                if to_server.write_all(&asked[..read]).await.is_err() { return }
            }
            read = from_server.read(&mut received) => {
                let Ok(read @ 1..) = read else { return };
                if current() == Mode::Swallow { continue }
                if to_client.write_all(&received[..read]).await.is_err() { return }
            }
        }
    }
}
