//! The check of one request.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, Response};

use crate::decision::{Denial, authorize};
use crate::event;
use crate::permission::Permissions;
use crate::policy::{Decision, Policy};
use crate::principal::Principal;
use crate::response::DenialResponses;
use crate::store::{LookupResult, StoreError};

/// What an [`AuthLayer`](crate::AuthLayer) was configured with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) responses: DenialResponses,
    pub(crate) forward_credentials: bool,
}

/// What the clones of a service share. Routers clone a service for each request, and all threads write to
/// each reference count that this touches: one count is enough.
#[derive(Debug)]
pub(crate) struct Guard<T> {
    pub(crate) store: T,
    pub(crate) config: Arc<Config>,
}

/// Attaches the principal to an allowed request.
pub(crate) fn admit<B>(
    request: &mut Request<B>,
    found: LookupResult,
    required: Permissions,
    config: &Config,
) -> Result<(), Refused> {
    let record = found
        .map_err(|error| Refused { denial: Denial::StoreUnavailable, failure: Some(error) })?;
    let record = authorize(record, required, SystemTime::now())?;
    if config.forward_credentials
        && let Some(value) = request.headers_mut().get_mut(AUTHORIZATION)
    {
        value.set_sensitive(true);
    }
    Principal::new(record).attach(request.extensions_mut());
    Ok(())
}

/// A denial, and why the store could not tell if that is the reason.
pub(crate) struct Refused {
    denial: Denial,
    failure: Option<StoreError>,
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self { denial, failure: None }
    }
}

/// Logs a denial and builds the response to it.
pub(crate) fn deny<B>(
    config: &Config,
    request: &Request<B>,
    decision: &Decision,
    refused: impl Into<Refused>,
) -> Response<Bytes> {
    let Refused { denial, failure } = refused.into();
    event::denied(request, decision, &denial, failure.as_ref());
    config.responses.respond(denial)
}
