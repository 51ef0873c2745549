//! The bodies of requests.
//!
//! A client may send the head of a request, wait until its token is deleted, and then choose the body. So the
//! token is looked up again for each part of the body.

use std::any::Any;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use http_body::{Frame, SizeHint};

use crate::store::{Lookup, LookupFuture, LookupResult};
use crate::watch::{Subject, Watch};

/// Makes the request's body fail when the token ends before it. The body of axum 0.8 only: another type has
/// no place for the check.
#[inline]
pub(crate) fn check<B: 'static>(
    request: &mut Request<B>,
    watch: &Arc<Watch>,
    subject: impl FnOnce() -> Subject,
) {
    let body: &mut dyn Any = request.body_mut();
    if let Some(body) = body.downcast_mut::<Body>()
        && !body.is_end_stream()
    {
        let inner = mem::take(body);
        let (watch, subject) = (Arc::clone(watch), subject());
        *body = Body::new(CheckedBody { inner, watch, subject, state: State::Reading });
    }
}

struct CheckedBody {
    inner: Body,
    watch: Arc<Watch>,
    subject: Subject,
    state: State,
}

enum State {
    Reading,
    LookingUp(LookupFuture, Part),
    Failed,
}

/// A frame, an error, or the end.
type Part = Option<Result<Frame<Bytes>, axum::Error>>;

/// Why a request's body ends early.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum BodyError {
    #[error("the token of the request ended before its body did")]
    TokenEnded,
    #[error("the token store could not tell whether the token of the request is still valid")]
    StoreUnavailable,
}

impl CheckedBody {
    fn poll_lookup(
        &mut self,
        mut lookup: LookupFuture,
        part: Part,
        context: &mut Context<'_>,
    ) -> Poll<Part> {
        match lookup.as_mut().poll(context) {
            Poll::Ready(found) => Poll::Ready(self.pass(part, found)),
            Poll::Pending => {
                self.state = State::LookingUp(lookup, part);
                Poll::Pending
            }
        }
    }

    /// The part, if the token still allows the request. Otherwise the error that ends the body.
    fn pass(&mut self, part: Part, found: LookupResult) -> Part {
        let error = match self.subject.is_allowed(found) {
            Some(true) => return part,
            Some(false) => BodyError::TokenEnded,
            // A reason to stop here: the request could be sent again.
            None => BodyError::StoreUnavailable,
        };
        self.inner = Body::empty();
        self.state = State::Failed;
        Some(Err(axum::Error::new(error)))
    }
}

impl HttpBody for CheckedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Part> {
        let this = &mut *self;
        match mem::replace(&mut this.state, State::Reading) {
            State::Failed => {
                this.state = State::Failed;
                Poll::Ready(None)
            }
            State::LookingUp(lookup, part) => this.poll_lookup(lookup, part, context),
            State::Reading => {
                let part = ready!(Pin::new(&mut this.inner).poll_frame(context));
                match this.watch.find(&this.subject.digest) {
                    Lookup::Ready(found) => Poll::Ready(this.pass(part, found)),
                    Lookup::Pending(lookup) => this.poll_lookup(lookup, part, context),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Reading => self.inner.is_end_stream(),
            State::LookingUp(..) => false,
            State::Failed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
