//! The `tracing` event of each refusal. Nothing secret is in it.

use axum::http::Request;

use crate::decision::Denial;
use crate::policy::Policy;

/// The longest path that is logged whole, in bytes.
const LONGEST: usize = 256;

pub(crate) fn refused<B>(request: &Request<B>, policy: &Policy, denial: &Denial) {
    tracing::info!(
        kind = denial.kind(),
        method = %shown(request.method().as_str()),
        path = %shown(request.uri().path()),
        token = denial.token_id().map(tracing::field::display),
        rule = %policy.explain(request),
        "request refused"
    );
}

/// A method or path as it may be logged: not too long, and without a token that somebody put there.
fn shown(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let holds_token = text.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"oct_"));
    if holds_token { "<contains a token>" } else { text }
}
