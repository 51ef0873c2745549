//! The `tracing` event of each denial. It contains no secret.

use axum::http::Request;

use crate::decision::Denial;
use crate::policy::Decision;
use crate::redact;
use crate::store::StoreError;

/// The longest path that is logged whole, in bytes.
const LONGEST: usize = 256;

/// `failure` says why the store could not tell, if that is the reason.
pub(crate) fn denied<B>(
    request: &Request<B>,
    decision: &Decision,
    denial: &Denial,
    failure: Option<&StoreError>,
) {
    tracing::info!(
        kind = denial.kind(),
        method = %loggable(request.method().as_str()),
        path = %loggable(request.uri().path()),
        token = denial.token_id().map(tracing::field::display),
        rule = %decision,
        error = failure.map(tracing::field::display),
        "request denied"
    );
}

/// A method or path as it may be logged: cut to a length, escaped, and without a token that somebody put
/// into it.
fn loggable(text: &str) -> String {
    // The cut may leave part of a token that is too short to be recognized. So the search goes 16
    // characters further, each of which may be percent-encoded twice.
    let searched = cut(text, LONGEST + 16 * 5);
    let text = if redact::may_hold_token(searched) { redact::REDACTED } else { cut(text, LONGEST) };
    text.escape_default().to_string()
}

/// The first `longest` bytes of the text, or a few less so that no character is cut.
fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
