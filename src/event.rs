//! The `tracing` event of each refusal. Nothing secret is in it.

use axum::http::Request;

use crate::decision::Denial;
use crate::policy::Decision;
use crate::redact;
use crate::store::StoreError;

/// The longest path that is logged whole, in bytes.
const LONGEST: usize = 256;

/// `failure` is why the store could not tell, where that is the reason.
pub(crate) fn refused<B>(
    request: &Request<B>,
    decision: &Decision,
    denial: &Denial,
    failure: Option<&StoreError>,
) {
    tracing::info!(
        kind = denial.kind(),
        method = %shown(request.method().as_str()),
        path = %shown(request.uri().path()),
        token = denial.token_id().map(tracing::field::display),
        rule = %decision,
        error = failure.map(tracing::field::display),
        "request refused"
    );
}

/// A method or path as it may be logged: not too long, without characters that a terminal or a log
/// takes for something else, and without a token that somebody put there.
fn shown(text: &str) -> String {
    // Where it is cut, there may be as much of a token as is not told for one, so that more is searched: 16
    // characters, each percent-encoded twice.
    let searched = cut(text, LONGEST + 16 * 5);
    let shown = if redact::may_hold_token(searched) { redact::HIDDEN } else { cut(text, LONGEST) };
    shown.escape_default().to_string()
}

/// So many bytes of the text, or a few less where a character would be cut.
fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
