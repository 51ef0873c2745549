//! The `tracing` event of each refusal. Nothing secret is in it.

use axum::http::Request;

use crate::decision::Denial;
use crate::policy::Policy;
use crate::redact;
use crate::store::StoreError;

/// The longest path that is logged whole, in bytes.
const LONGEST: usize = 256;

/// `failure` is why the store could not tell, where that is the reason.
pub(crate) fn refused<B>(
    request: &Request<B>,
    policy: &Policy,
    denial: &Denial,
    failure: Option<&StoreError>,
) {
    tracing::info!(
        kind = denial.kind(),
        method = %shown(request.method().as_str()),
        path = %shown(request.uri().path()),
        token = denial.token_id().map(tracing::field::display),
        rule = %policy.explain(request),
        error = failure.map(tracing::field::display),
        "request refused"
    );
}

/// A method or path as it may be logged: not too long, without characters that a terminal or a log
/// takes for something else, and without a token that somebody put there.
fn shown(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // Of the whole text: where it is cut, there may be as much of a token as is not told for one.
    let shown = if redact::may_hold_token(text) { redact::HIDDEN } else { &text[..end] };
    shown.escape_default().to_string()
}
