use std::convert::Infallible;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::ORIGIN;
use axum::response::{IntoResponse as _, Response};
use tower::Service;

use crate::gateway::cors::{self, Cors};
use crate::gateway::log::Line;
use crate::gateway::proxy::{Client, Proxy};

/// What lies outside of the guard: the log, and preflights, which carry no credentials.
pub(super) struct Front<S> {
    /// The guarded application.
    pub(super) app: S,
    pub(super) proxy: Proxy,
    pub(super) cors: Cors,
}

impl<S> Front<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    pub(super) async fn respond(&self, mut request: Request<Body>, client: IpAddr) -> Response {
        let line = Line::begin(&request);
        let client = Client(client);
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = if cors::is_preflight(&request) {
            match self.cors.preflight(&request) {
                Some(response) => response,
                None => self.proxy.pass_on_preflight(client, request).await,
            }
        } else {
            request.extensions_mut().insert(client);
            let mut app = self.app.clone();
            match std::future::poll_fn(|context| app.poll_ready(context)).await {
                Ok(()) => app.call(request).await.into_response(),
                Err(never) => match never {},
            }
        };
        self.cors.allow(origin, &mut response);
        line.write(&response);
        response
    }
}
