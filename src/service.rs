use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use axum::http::{Request, Response};
use tower::Service;

use crate::future::{PendingLookup, ResponseFuture};
use crate::guard::{Allowed, Guard, admit};
use crate::policy::Requirement;
use crate::store::{Lookup, TokenStore};
use crate::stream::{AxumBody, ResponseBody};

/// The service that [`AuthLayer`](crate::AuthLayer) wraps around another.
pub struct AuthService<S, T, M = AxumBody> {
    inner: S,
    guard: Arc<Guard<T>>,
    mode: PhantomData<fn() -> M>,
}

impl<S, T, M> AuthService<S, T, M> {
    pub(crate) const fn new(inner: S, guard: Arc<Guard<T>>) -> Self {
        Self { inner, guard, mode: PhantomData }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably. Calling it bypasses the check.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the check.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, T, M, B, R> Service<Request<B>> for AuthService<S, T, M>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    T: TokenStore,
    B: HttpBody + 'static,
    M: ResponseBody<R>,
{
    type Response = Response<M::Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, M>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Guard { store, watch, config } = &*self.guard;
        let decision = config.policy.decide(&request);
        let Requirement::Permissions(required) = decision.requirement else {
            return ResponseFuture::called(self.inner.call(request), Allowed::default());
        };
        let credential = match config.credential(&mut request, required) {
            Ok(credential) => credential,
            Err(denial) => {
                return ResponseFuture::denied(request, &decision, denial, config);
            }
        };
        match store.find(&credential.digest) {
            Lookup::Ready(found) => match admit(&mut request, found, credential, required, watch) {
                Ok(allowed) => ResponseFuture::called(self.inner.call(request), allowed),
                Err(denied) => ResponseFuture::denied(request, &decision, denied, config),
            },
            Lookup::Pending(lookup) => {
                let (watch, config) = (Arc::clone(watch), Arc::clone(config));
                // `self.inner` was polled ready, so it is the one to call. Its clone gets polled anew.
                let clone = self.inner.clone();
                let service = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::looking_up(PendingLookup {
                    lookup,
                    request,
                    credential,
                    required,
                    decision,
                    service,
                    watch,
                    config,
                })
            }
        }
    }
}

impl<S: Clone, T, M> Clone for AuthService<S, T, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.guard))
    }
}

impl<S: fmt::Debug, T: fmt::Debug, M> fmt::Debug for AuthService<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService")
            .field("inner", &self.inner)
            .field("guard", &self.guard)
            .finish()
    }
}
