//! Clients that ask a server without a pause, and note what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use opencode_auth::{AuthLayer, FileTokenStore, Token, TokenRecord};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::support::process::shared_clock;

const CLIENTS: usize = 4;

/// What one request was told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Which of the tokens it had.
    pub token: usize,
    pub started: i128,
    pub answered: i128,
    pub status: u16,
}

/// A server, and clients of it, on a runtime of their own.
pub struct Hammer {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Told>>>,
}

impl Hammer {
    /// Starts the clients. `choose` says which token a client's next request has, given a number that
    /// is another one each time.
    pub fn start(
        store: FileTokenStore,
        tokens: &[(Token, TokenRecord)],
        choose: impl Fn(usize) -> usize + Clone + Send + 'static,
    ) -> Self {
        let secrets: Arc<[String]> =
            tokens.iter().map(|(token, _)| format!("Bearer {}", token.expose_secret())).collect();
        let app =
            Router::new().route("/config", get(|| async { "ok" })).layer(AuthLayer::new(store));
        let stop = Arc::new(AtomicBool::new(false));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let clients = (0..CLIENTS)
            .map(|client| {
                let (app, secrets, stop) = (app.clone(), Arc::clone(&secrets), Arc::clone(&stop));
                let choose = choose.clone();
                runtime.spawn(async move {
                    let mut told = Vec::new();
                    let mut number = client;
                    while !stop.load(Ordering::Relaxed) {
                        // Weyl's sequence: the next number is far from this one.
                        number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        let token = choose(number >> 32);
                        let request = Request::get("/config")
                            .header("authorization", &secrets[token])
                            .body(Body::empty())
                            .unwrap();
                        let started = shared_clock();
                        let response = app.clone().oneshot(request).await.unwrap();
                        let (answered, status) = (shared_clock(), response.status().as_u16());
                        told.push(Told { token, started, answered, status });
                        tokio::task::yield_now().await;
                    }
                    told
                })
            })
            .collect();
        Self { runtime, stop, clients }
    }

    /// Stops the clients and returns every response they got.
    pub fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let Self { runtime, clients, .. } = self;
        runtime.block_on(async {
            let mut told = Vec::new();
            for client in clients {
                told.extend(client.await.unwrap());
            }
            told
        })
    }
}
