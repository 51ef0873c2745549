use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use axum::http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::credentials::Credential;
use crate::decision::Denied;
use crate::drain::Drain;
use crate::guard::{Allowed, Config, admit, deny};
use crate::permission::Permissions;
use crate::policy::Decision;
use crate::store::LookupFuture;
use crate::stream::ResponseBody;
use crate::watch::Watch;

pin_project! {
    /// The response of an [`AuthService`](crate::AuthService).
    pub struct ResponseFuture<S: Service<Request<B>>, B, M> {
        #[pin]
        state: State<S, B, S::Future>,
        mode: PhantomData<fn() -> M>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F> {
        Called { #[pin] future: F, allowed: Allowed },
        // Boxed because they are rare and large.
        Denied { response: Option<Box<Response<Bytes>>> },
        Draining { drain: Box<Drain<B>> },
        LookingUp { pending: Option<Box<PendingLookup<S, B>>> },
    }
}

/// A request whose token is being looked up.
pub(crate) struct PendingLookup<S, B> {
    pub(crate) lookup: LookupFuture,
    pub(crate) request: Request<B>,
    pub(crate) credential: Credential,
    pub(crate) required: Permissions,
    pub(crate) decision: Decision,
    pub(crate) service: S,
    pub(crate) watch: Arc<Watch>,
    pub(crate) config: Arc<Config>,
}

impl<S: Service<Request<B>>, B, M> ResponseFuture<S, B, M> {
    const fn new(state: State<S, B, S::Future>) -> Self {
        Self { state, mode: PhantomData }
    }

    pub(crate) const fn called(future: S::Future, allowed: Allowed) -> Self {
        Self::new(State::Called { future, allowed })
    }

    pub(crate) fn denied(
        request: Request<B>,
        decision: &Decision,
        denied: impl Into<Denied>,
        config: &Config,
    ) -> Self
    where
        B: HttpBody,
    {
        Self::new(State::denied(request, decision, denied, config))
    }

    pub(crate) fn looking_up(pending: PendingLookup<S, B>) -> Self {
        Self::new(State::LookingUp { pending: Some(Box::new(pending)) })
    }
}

impl<S, B: HttpBody, F> State<S, B, F> {
    fn denied(
        request: Request<B>,
        decision: &Decision,
        denied: impl Into<Denied>,
        config: &Config,
    ) -> Self {
        let response = deny(config, &request, decision, denied);
        let limits = config.denial_drain;
        if limits.apply_to(&request) {
            let drain = Box::new(Drain::new(request, limits, response));
            return Self::Draining { drain };
        }
        Self::Denied { response: Some(Box::new(response)) }
    }
}

impl<S, B, M, R> Future for ResponseFuture<S, B, M>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: HttpBody + 'static,
    M: ResponseBody<R>,
{
    type Output = Result<Response<M::Body>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                StateProjection::Called { future, allowed } => {
                    let response = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(allowed.finish::<M, R>(response)));
                }
                StateProjection::Denied { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(M::denied(*response))),
                    // Polled again after completion, which breaks the contract of a future.
                    None => return Poll::Pending,
                },
                StateProjection::Draining { drain } => {
                    State::Denied { response: Some(Box::new(ready!(drain.poll(context)))) }
                }
                StateProjection::LookingUp { pending } => {
                    let Some(lookup) = pending.as_mut().map(|pending| &mut pending.lookup) else {
                        return Poll::Pending;
                    };
                    let found = ready!(lookup.as_mut().poll(context));
                    let Some(pending) = pending.take() else { return Poll::Pending };
                    let PendingLookup {
                        mut request,
                        credential,
                        required,
                        decision,
                        mut service,
                        watch,
                        config,
                        ..
                    } = *pending;
                    match admit(&mut request, found, credential, required, &watch) {
                        Ok(allowed) => State::Called { future: service.call(request), allowed },
                        Err(denied) => State::denied(request, &decision, denied, &config),
                    }
                }
            };
            self.as_mut().project().state.set(next);
        }
    }
}

impl<S: Service<Request<B>>, B, M> fmt::Debug for ResponseFuture<S, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
