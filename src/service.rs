use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Bytes;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::credentials::Credentials;
use crate::decision::{Denial, authorize};
use crate::event;
use crate::permission::Permissions;
use crate::policy::{Decision, Policy, Requirement};
use crate::record::TokenRecord;
use crate::response::Answers;
use crate::store::{Lookup, LookupFuture, LookupResult, StoreError, TokenStore};

/// What a layer hands to each of its services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) answers: Answers,
    pub(crate) forward_credentials: bool,
}

/// The service that [`AuthLayer`](crate::AuthLayer) makes of another.
#[derive(Clone, Debug)]
pub struct AuthService<S, T> {
    inner: S,
    guard: Arc<Guard<T>>,
}

/// What the clones of a service share. Routers clone a service for each request, and each reference that
/// is counted then is one that all threads write to.
#[derive(Debug)]
struct Guard<T> {
    store: T,
    config: Arc<Config>,
}

impl<S, T> AuthService<S, T> {
    pub(crate) fn new(inner: S, store: T, config: Arc<Config>) -> Self {
        Self { inner, guard: Arc::new(Guard { store, config }) }
    }
}

impl<S, T, RequestBody, ResponseBody> Service<Request<RequestBody>> for AuthService<S, T>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone,
    T: TokenStore,
    ResponseBody: From<Bytes>,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, RequestBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let Guard { store, config } = &*self.guard;
        let decision = config.policy.decide(&request);
        let Requirement::Permissions(required) = decision.requirement else {
            return ResponseFuture::called(self.inner.call(request));
        };
        let credentials = if config.forward_credentials {
            Credentials::from_headers(request.headers())
        } else {
            // Off the request before anything is decided, so that nothing inside can get at them.
            Credentials::take(request.headers_mut())
        };
        let digest = match credentials {
            Credentials::Bearer(digest) => digest,
            Credentials::Absent => {
                return ResponseFuture::refused(
                    config,
                    &request,
                    &decision,
                    Denial::CredentialsAbsent,
                );
            }
            Credentials::Malformed => {
                return ResponseFuture::refused(
                    config,
                    &request,
                    &decision,
                    Denial::CredentialsMalformed,
                );
            }
        };
        match store.find(&digest) {
            Lookup::Ready(found) => match admit(&mut request, found, required, &decision, config) {
                Ok(()) => ResponseFuture::called(self.inner.call(request)),
                Err(refused) => ResponseFuture::answered(refused),
            },
            Lookup::Pending(lookup) => {
                // The service that was polled ready is the one to call; its clone is polled anew.
                let clone = self.inner.clone();
                let service = std::mem::replace(&mut self.inner, clone);
                let config = Arc::clone(config);
                ResponseFuture::waiting(Waiting {
                    lookup,
                    request,
                    required,
                    decision,
                    service,
                    config,
                })
            }
        }
    }
}

/// Makes the request what it is to be if it goes on; otherwise this is the answer.
fn admit<B, R: From<Bytes>>(
    request: &mut Request<B>,
    found: LookupResult,
    required: Permissions,
    decision: &Decision,
    config: &Config,
) -> Result<(), Response<R>> {
    let record = match found {
        Ok(record) => record,
        Err(failure) => {
            return Err(refuse(
                config,
                request,
                decision,
                Denial::StoreUnavailable,
                Some(&failure),
            ));
        }
    };
    let now = record.as_deref().map_or(SystemTime::UNIX_EPOCH, now);
    match authorize(record, required, now) {
        Ok(principal) => {
            if config.forward_credentials
                && let Some(value) = request.headers_mut().get_mut(AUTHORIZATION)
            {
                value.set_sensitive(true);
            }
            principal.attach(request.extensions_mut());
            Ok(())
        }
        Err(denial) => Err(refuse(config, request, decision, denial, None)),
    }
}

/// The time, as exactly as it matters for this record.
///
/// Linux keeps the time of its last tick, which is read in a quarter of the time. It is some milliseconds
/// behind, and more on a machine that is kept from running: near its expiry, a token is worth the exact one.
fn now(record: &TokenRecord) -> SystemTime {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::time::Duration;

        const NEAR: Duration = Duration::from_secs(60);
        let last_tick = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        if let Ok(since_1970) = Duration::try_from(last_tick)
            && let Some(last_tick) = SystemTime::UNIX_EPOCH.checked_add(since_1970)
            && let Some(soon) = last_tick.checked_add(NEAR)
            && !record.is_expired(soon)
        {
            return last_tick;
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = record;
    SystemTime::now()
}

fn refuse<B, R: From<Bytes>>(
    config: &Config,
    request: &Request<B>,
    decision: &Decision,
    denial: Denial,
    failure: Option<&StoreError>,
) -> Response<R> {
    event::refused(request, decision, &denial, failure);
    config.answers.answer(denial)
}

pin_project! {
    /// The response of an [`AuthService`].
    pub struct ResponseFuture<S: Service<Request<B>>, B> {
        #[pin]
        state: State<S, B, S::Future, S::Response>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F, R> {
        Called { #[pin] future: F },
        Answered { response: Option<R> },
        // In a box, for it is rare and large.
        Waiting { waiting: Option<Box<Waiting<S, B>>> },
    }
}

/// A request whose token is being looked up.
struct Waiting<S, B> {
    lookup: LookupFuture,
    request: Request<B>,
    required: Permissions,
    decision: Decision,
    service: S,
    config: Arc<Config>,
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    const fn called(future: S::Future) -> Self {
        Self { state: State::Called { future } }
    }

    const fn answered(response: S::Response) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }

    fn waiting(waiting: Waiting<S, B>) -> Self {
        Self { state: State::Waiting { waiting: Some(Box::new(waiting)) } }
    }
}

impl<S, B, R> ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    fn refused(config: &Config, request: &Request<B>, decision: &Decision, denial: Denial) -> Self {
        Self::answered(refuse(config, request, decision, denial, None))
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                StateProjection::Called { future } => return future.poll(context),
                StateProjection::Answered { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(response)),
                    // Polled again after it was done, which a future's contract does not allow.
                    None => return Poll::Pending,
                },
                StateProjection::Waiting { waiting } => {
                    let Some(pending) = waiting else { return Poll::Pending };
                    let found = ready!(pending.lookup.as_mut().poll(context));
                    let Some(pending) = waiting.take() else { return Poll::Pending };
                    let Waiting { mut request, required, decision, mut service, config, .. } =
                        *pending;
                    match admit(&mut request, found, required, &decision, &config) {
                        Ok(()) => State::Called { future: service.call(request) },
                        Err(refused) => State::Answered { response: Some(refused) },
                    }
                }
            };
            self.as_mut().project().state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
