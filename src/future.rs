use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::carrier::Carrier;
use crate::guard::{Config, admit, deny};
use crate::permission::Permissions;
use crate::policy::Decision;
use crate::store::LookupFuture;
use crate::stream::ResponseBody;

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
        Called { #[pin] future: F },
        Denied { response: Option<Response<Bytes>> },
        // Boxed because it is rare and large.
        LookingUp { pending: Option<Box<PendingLookup<S, B>>> },
    }
}

/// A request whose token is being looked up.
pub(crate) struct PendingLookup<S, B> {
    pub(crate) lookup: LookupFuture,
    pub(crate) request: Request<B>,
    pub(crate) carrier: Carrier,
    pub(crate) required: Permissions,
    pub(crate) decision: Decision,
    pub(crate) service: S,
    pub(crate) config: Arc<Config>,
}

impl<S: Service<Request<B>>, B, M> ResponseFuture<S, B, M> {
    const fn new(state: State<S, B, S::Future>) -> Self {
        Self { state, mode: PhantomData }
    }

    pub(crate) const fn called(future: S::Future) -> Self {
        Self::new(State::Called { future })
    }

    pub(crate) const fn denied(response: Response<Bytes>) -> Self {
        Self::new(State::Denied { response: Some(response) })
    }

    pub(crate) fn looking_up(pending: PendingLookup<S, B>) -> Self {
        Self::new(State::LookingUp { pending: Some(Box::new(pending)) })
    }
}

impl<S, B, M, R> Future for ResponseFuture<S, B, M>
where
    S: Service<Request<B>, Response = Response<R>>,
    M: ResponseBody<R>,
{
    type Output = Result<Response<M::Body>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                StateProjection::Called { future } => {
                    return future.poll(context).map_ok(M::allowed);
                }
                StateProjection::Denied { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(M::denied(response))),
                    // Polled again after completion, which breaks the contract of a future.
                    None => return Poll::Pending,
                },
                StateProjection::LookingUp { pending } => {
                    let Some(lookup) = pending.as_mut().map(|pending| &mut pending.lookup) else {
                        return Poll::Pending;
                    };
                    let found = ready!(lookup.as_mut().poll(context));
                    let Some(mut pending) = pending.take() else { return Poll::Pending };
                    let PendingLookup { request, carrier, required, decision, config, .. } =
                        &mut *pending;
                    match admit(request, found, *carrier, decision, *required) {
                        Ok(()) => State::Called { future: pending.service.call(pending.request) },
                        Err(refused) => State::Denied {
                            response: Some(deny(config, request, decision, refused)),
                        },
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
