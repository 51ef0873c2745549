//! What a URL and the environment contain, as text.

use std::borrow::Cow;
use std::env::{self, VarError};

use percent_encoding::percent_decode_str;

/// What is wrong with a URL.
pub(super) type Wrong = Cow<'static, str>;

pub(super) const NOT_ENCODED: &str = "the URL cannot be read; percent-encode the characters of the \
    password that have a meaning in URLs";

/// The value, else that of the variable.
pub(super) fn or_variable(found: Option<String>, name: &str) -> Result<Option<String>, Wrong> {
    found.map_or_else(|| variable(name), |found| Ok(Some(found)))
}

/// The value of a variable. An empty one counts as unset.
pub(super) fn variable(name: &str) -> Result<Option<String>, Wrong> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        // Without it, other certificates might be trusted.
        Err(VarError::NotUnicode(_)) => Err(format!("the variable {name} is not UTF-8").into()),
    }
}

/// The text with its escapes decoded once.
pub(super) fn decoded(text: &str) -> Result<String, Wrong> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| NOT_ENCODED)?;
    if decoded.contains('\0') {
        return Err("there is a zero byte in the URL".into());
    }
    Ok(decoded.into_owned())
}
