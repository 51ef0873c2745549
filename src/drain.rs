//! Reads the rest of a denied request's body.
//!
//! A server that responds over HTTP/1.1 without reading the body has to close the connection, and a client
//! that is still sending then sees a broken pipe and not the response. Over HTTP/2 it resets the stream, and
//! curl 7.88 may then lose the response as well.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Request, Response, Version};
use bytes::Buf as _;
use futures_timer::Delay;

/// How much of the body is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainLimits {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self { bytes: 8 * 1024 * 1024, time: Duration::from_secs(1) }
    }
}

impl DrainLimits {
    /// Whether there is a body that the client sends whatever the response is. A client with
    /// `Expect: 100-continue` waits, and reading its body would tell it to go on.
    pub(crate) fn apply_to<B: HttpBody>(self, request: &Request<B>) -> bool {
        self.bytes > 0
            && !self.time.is_zero()
            && !request.headers().contains_key(EXPECT)
            && !request.body().is_end_stream()
    }
}

/// A denial that is sent once the body is read.
pub(crate) struct Drain<B> {
    body: Pin<Box<B>>,
    left: u64,
    time: Duration,
    /// It starts when the body has to be waited for.
    timeout: Option<Delay>,
    response: Option<Response<Bytes>>,
    /// Whether the connection has to be closed if the body is not read to its end.
    closes: bool,
}

impl<B: HttpBody> Drain<B> {
    pub(crate) fn new(request: Request<B>, limits: DrainLimits, response: Response<Bytes>) -> Self {
        Self {
            left: limits.bytes,
            time: limits.time,
            timeout: None,
            response: Some(response),
            closes: request.version() < Version::HTTP_2,
            body: Box::pin(request.into_body()),
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let is_drained = loop {
            match self.body.as_mut().poll_frame(context) {
                Poll::Ready(None) => break true,
                Poll::Ready(Some(Err(_))) => break false,
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                    match self.left.checked_sub(length) {
                        Some(left) => self.left = left,
                        None => break false,
                    }
                }
                Poll::Pending => {
                    let timeout = self.timeout.get_or_insert_with(|| Delay::new(self.time));
                    if Pin::new(timeout).poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    break false;
                }
            }
        };
        let Some(mut response) = self.response.take() else { return Poll::Pending };
        if !is_drained && self.closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(response)
    }
}
