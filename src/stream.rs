//! The bodies of responses.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::watch::Ended;

/// How an [`AuthService`](crate::AuthService) makes its response of the inner service's.
///
/// The two implementations are [`AxumBody`], the default, and [`AnyBody`], which
/// [`AuthLayer::wrap_body`](crate::AuthLayer::wrap_body) chooses.
pub trait ResponseBody<B>: sealed::Sealed {
    /// The body of the response.
    type Body;

    #[doc(hidden)]
    fn denied(response: Response<Bytes>) -> Response<Self::Body>;

    /// Whether the response streams: its body has no known length.
    #[doc(hidden)]
    fn streams(response: &Response<B>) -> bool;

    #[doc(hidden)]
    fn allowed(response: Response<B>) -> Response<Self::Body>;

    /// An allowed response whose body ends when the token does.
    #[doc(hidden)]
    fn streaming(response: Response<B>, ended: Ended) -> Response<Self::Body>;
}

/// The inner service responds with the body of axum 0.8, and so does the layer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AxumBody;

/// The inner service responds with any body of `Bytes`, and the layer with an [`AuthBody`] around it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AnyBody;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AxumBody {}
    impl Sealed for super::AnyBody {}
}

impl ResponseBody<Body> for AxumBody {
    type Body = Body;

    fn denied(response: Response<Bytes>) -> Response<Body> {
        response.map(Body::from)
    }

    #[inline]
    fn streams(response: &Response<Body>) -> bool {
        streams(response)
    }

    #[inline]
    fn allowed(response: Response<Body>) -> Response<Body> {
        response
    }

    fn streaming(response: Response<Body>, ended: Ended) -> Response<Body> {
        response.map(|body| Body::new(AuthBody::new(body, Some(ended))))
    }
}

impl<B: HttpBody<Data = Bytes>> ResponseBody<B> for AnyBody {
    type Body = AuthBody<B>;

    fn denied(response: Response<Bytes>) -> Response<AuthBody<B>> {
        response.map(|body| AuthBody { state: State::Denied { body: Some(body) } })
    }

    fn streams(response: &Response<B>) -> bool {
        streams(response)
    }

    fn allowed(response: Response<B>) -> Response<AuthBody<B>> {
        response.map(|body| AuthBody::new(body, None))
    }

    fn streaming(response: Response<B>, ended: Ended) -> Response<AuthBody<B>> {
        response.map(|body| AuthBody::new(body, Some(ended)))
    }
}

/// A body of a known length ends by itself, and one with `Content-Length` must not end early.
#[inline]
fn streams<B: HttpBody>(response: &Response<B>) -> bool {
    let body = response.body();
    body.size_hint().exact().is_none()
        && !body.is_end_stream()
        && !response.headers().contains_key(CONTENT_LENGTH)
}

pin_project! {
    /// The response body of a layer with [`wrap_body`](crate::AuthLayer::wrap_body): the body of a denial,
    /// or the inner service's. Without a known length, it ends when the token does. Trailers are delivered
    /// if the inner body ends by itself.
    pub struct AuthBody<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<B> {
        Denied { body: Option<Bytes> },
        Inner { #[pin] body: B, ended: Option<Ended> },
    }
}

impl<B> AuthBody<B> {
    const fn new(body: B, ended: Option<Ended>) -> Self {
        Self { state: State::Inner { body, ended } }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for AuthBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.as_mut().project().state.project() {
            StateProjection::Denied { body } => Poll::Ready(body.take().map(Frame::data).map(Ok)),
            StateProjection::Inner { body, ended } => {
                // The token comes first, because a body may have a frame ready each time.
                if !ended.as_mut().is_some_and(|ended| Pin::new(ended).poll(context).is_ready()) {
                    return body.poll_frame(context);
                }
                // The inner body is dropped, so that what feeds it stops.
                self.project().state.set(State::Denied { body: None });
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Denied { body } => body.is_none(),
            State::Inner { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Denied { body } => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            State::Inner { body, .. } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for AuthBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthBody").finish_non_exhaustive()
    }
}
