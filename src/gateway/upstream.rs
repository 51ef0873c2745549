use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::{Authority, Scheme};
use axum::http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::gateway::connection::{Connector, Delivered};
use crate::gateway::failure::Failure;

/// An idle connection is closed after this time. opencode keeps one open for longer.
const IDLE: Duration = Duration::from_secs(4);

/// How long a health check may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the result of a health check counts: anybody may ask for one.
const HEALTH_VALID: Duration = Duration::from_secs(1);

/// How long a request waits for its response before the gateway checks whether the upstream is there at
/// all. A prompt may well take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The opencode server that the gateway guards.
pub(super) struct Upstream {
    authority: Authority,
    credential: Option<HeaderValue>,
    client: Client<Connector, Body>,
    health: Mutex<Option<(Instant, bool)>>,
}

impl Upstream {
    /// `credential` is `user:password`.
    pub(super) fn new(authority: Authority, credential: Option<&str>) -> Self {
        let credential = credential.and_then(|credential| {
            let mut value =
                HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credential))).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .set_host(false)
            .build(Connector::new());
        Self { authority, credential, client, health: Mutex::default() }
    }

    pub(super) const fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) const fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// Sends a request with the gateway's own credential.
    ///
    /// The request's URI has a path and a query alone.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        if let Some(credential) = &self.credential {
            request.headers_mut().insert(AUTHORIZATION, credential.clone());
        }
        let response = self.send_anonymously(request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Failure::Password);
        }
        Ok(response)
    }

    /// Sends a request without a credential.
    pub(super) async fn send_anonymously(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(uri)
            .map_err(|_| Failure::Request("The request's target is not a path."))?;
        if !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(self.authority.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        // Each attempt that fails takes a stale connection out of the pool.
        loop {
            let spare = spare(&request);
            let error = match self.attempt(request).await? {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match spare {
                Some(spare) if is_stale(&error) => request = spare,
                _ => return Err(failure(&error)),
            }
        }
    }

    /// Waits for the response as long as the upstream passes health checks.
    async fn attempt(
        &self,
        request: Request<Body>,
    ) -> Result<Result<Response<Incoming>, Error>, Failure> {
        let mut response = std::pin::pin!(self.request(request));
        loop {
            if let Ok(outcome) = timeout(PATIENCE, &mut response).await {
                return Ok(outcome);
            }
            tokio::select! {
                outcome = &mut response => return Ok(outcome),
                responds = self.responds() => if !responds { return Err(Failure::Silent) },
            }
        }
    }

    /// Whether the upstream responds to a health check. Concurrent callers share one.
    pub(super) async fn responds(&self) -> bool {
        let mut health = self.health.lock().await;
        if let Some((checked, responds)) = *health
            && checked.elapsed() < HEALTH_VALID
        {
            return responds;
        }
        let responds = self.get("/global/health").await.is_some();
        *health = Some((Instant::now(), responds));
        responds
    }

    /// Requests a path with the gateway's credential. `None` if the upstream does not respond within the limit. Any
    /// status counts, also 401: the upstream is there.
    pub(super) async fn get(&self, path: &'static str) -> Option<Response<Incoming>> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .ok()?;
        request.headers_mut().insert(HOST, HeaderValue::from_str(self.authority.as_str()).ok()?);
        if let Some(credential) = &self.credential {
            request.headers_mut().insert(AUTHORIZATION, credential.clone());
        }
        timeout(HEALTH_TIMEOUT, self.request(request)).await.ok()?.ok()
    }

    /// Sends the request once, and remembers that its connection has delivered a response.
    async fn request(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let response = self.client.request(request).await?;
        if let Some(delivered) = response.extensions().get::<Delivered>() {
            delivered.set();
        }
        Ok(response)
    }
}

/// A copy of the request for another attempt, if it may be sent twice.
fn spare(request: &Request<Body>) -> Option<Request<Body>> {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if !is_idempotent || !request.body().is_end_stream() {
        return None;
    }
    let mut spare = Request::new(Body::empty());
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.headers_mut() = request.headers().clone();
    Some(spare)
}

/// Whether the upstream may have closed the connection before it saw the request: the connection has
/// delivered a response before, and nothing of this one.
fn is_stale(error: &Error) -> bool {
    let mut extensions = Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extensions);
    }
    extensions.get::<Delivered>().is_some_and(Delivered::get) && is_closed(error)
}

fn failure(error: &Error) -> Failure {
    if error.is_connect() {
        Failure::Unreachable
    } else if cause(error).is_some_and(hyper::Error::is_user) {
        Failure::Request(
            "The request's body ended early: the client broke it off, or its token could not be \
             confirmed again.",
        )
    } else if is_closed(error) {
        Failure::Closed
    } else {
        Failure::Garbled
    }
}

fn cause(error: &Error) -> Option<&hyper::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Whether the connection ended, as opposed to a response that cannot be parsed.
fn is_closed(error: &Error) -> bool {
    cause(error).is_some_and(|cause| {
        cause.is_incomplete_message()
            || cause.is_closed()
            || cause.is_canceled()
            || std::error::Error::source(cause)
                .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
    })
}
