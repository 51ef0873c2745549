//! The check of one request.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderValue, Request, Response};

use crate::carrier::Carrier;
use crate::credentials::{Credential, CredentialSources, Selection};
use crate::decision::{Denial, Denied, authorize};
use crate::drain::DrainLimits;
use crate::event;
use crate::origin::TrustedOrigins;
use crate::permission::Permissions;
use crate::policy::{Decision, Policy};
use crate::principal::{self, Principal};
use crate::response::{DenialResponses, dialog_helps};
use crate::store::LookupResult;
use crate::stream::ResponseBody;
use crate::upload;
use crate::watch::{Subject, Watch};

/// What an [`AuthLayer`](crate::AuthLayer) was configured with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) responses: DenialResponses,
    pub(crate) sources: CredentialSources,
    pub(crate) trusted_origins: TrustedOrigins,
    pub(crate) forward_credentials: bool,
    pub(crate) denial_drain: DrainLimits,
}

impl Config {
    /// Takes the token out of a request.
    #[inline]
    pub(crate) fn credential<B>(
        &self,
        request: &mut Request<B>,
        required: Permissions,
    ) -> Result<Credential, Denied> {
        let mut presented = self.sources.take(request, self.forward_credentials);
        if let Ok(credential) = &presented
            && credential.carrier.is_ambient()
            && self.trusted_origins.is_cross_origin(request, required)
        {
            presented = Err(Denial::CrossOrigin.into());
        }
        presented
    }
}

/// What the clones of a service share. Routers clone a service for each request, and all threads write to
/// each reference count that this touches: one count is enough.
#[derive(Debug)]
pub(crate) struct Guard<T> {
    pub(crate) store: Arc<T>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) config: Arc<Config>,
}

/// Attaches the principal to an allowed request. Returns what has to happen to its response.
pub(crate) fn admit<B: 'static>(
    request: &mut Request<B>,
    found: LookupResult,
    credential: Credential,
    required: Permissions,
    watch: &Arc<Watch>,
) -> Result<Allowed, Denied> {
    let Credential { digest, carrier, select } = credential;
    let denied = |denial, failure| {
        let by_query = matches!(carrier, Carrier::Query | Carrier::Ticket);
        Denied { denial, failure, by_query }
    };
    let record = found.map_err(|error| denied(Denial::StoreUnavailable, Some(error)))?;
    let record =
        authorize(record, required, SystemTime::now()).map_err(|denial| denied(denial, None))?;
    let id = record.id();
    let subject = || Subject { digest, id, required };
    upload::check(request, watch, subject);
    principal::make_room(request.extensions_mut());
    request.extensions_mut().insert(Principal::new(record, carrier, required, watch.id()));
    let is_private = !carrier.is_known_to_caches();
    Ok(Allowed { stream: Some((Arc::clone(watch), subject())), select, is_private })
}

/// What has to happen to the response to an allowed request.
#[derive(Default)]
pub(crate) struct Allowed {
    /// The token whose end ends a streaming body. A public request has none.
    stream: Option<(Arc<Watch>, Subject)>,
    select: Option<Box<Selection>>,
    /// Whether a shared cache could take the response for one that everybody may have.
    is_private: bool,
}

impl Allowed {
    #[inline]
    pub(crate) fn finish<M: ResponseBody<R>, R>(
        &mut self,
        mut response: Response<R>,
    ) -> Response<M::Body> {
        if let Some(select) = self.select.take()
            && response.status() == select.status
        {
            response.headers_mut().entry(SEC_WEBSOCKET_PROTOCOL).or_insert(select.protocol);
        }
        if self.is_private {
            let private = HeaderValue::from_static("private");
            response.headers_mut().entry(CACHE_CONTROL).or_insert(private);
        }
        match &self.stream {
            Some((watch, subject)) if M::streams(&response) => {
                M::streaming(response, watch.ended(*subject))
            }
            Some(_) | None => M::allowed(response),
        }
    }
}

/// Logs a denial and builds the response to it.
pub(crate) fn deny<B>(
    config: &Config,
    request: &Request<B>,
    decision: &Decision,
    denied: impl Into<Denied>,
) -> Response<Bytes> {
    let Denied { mut denial, failure, by_query } = denied.into();
    if let Denial::PermissionMissing { doubt, .. } = &mut denial {
        *doubt = decision.doubt();
    }
    event::denied(request, decision, &denial, failure.as_ref());
    // After the dialog, the browser would send the same query again.
    let offers_basic =
        config.sources.accepts_basic() && dialog_helps(&denial, request.headers()) && !by_query;
    config.responses.respond(denial, offers_basic)
}
