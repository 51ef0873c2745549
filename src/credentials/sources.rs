use axum::extract::OriginalUri;
use axum::http::header::{AUTHORIZATION, REFERER};
use axum::http::{HeaderMap, HeaderName, Request, header};

use super::presented::{self, Credential, Presented, both};
use super::ticket::{self, Tickets};
use super::upgrade::upgraded;
use super::{authorization, query, websocket};
use crate::carrier::Carrier;
use crate::decision::{Denial, Denied};

/// The parts of a request that may carry a token.
///
/// The default is [`bearer`](Self::bearer): the header `Authorization: Bearer <token>` and nothing else. The
/// methods add others. A source that is not added is never read.
///
/// ```
/// use opencode_auth::{AuthLayer, CredentialSources, MemoryTokenStore};
///
/// let layer = AuthLayer::new(MemoryTokenStore::new()).credentials(CredentialSources::opencode());
/// # let _ = layer;
/// ```
///
/// | client | sources |
/// |---|---|
/// | `curl`, scripts, the SDK with a header of its own | `bearer()` |
/// | `opencode run --attach`, `opencode attach`, the SDK with a password | `.basic()` |
/// | a browser that signs in with its dialog | `.basic()` |
/// | a browser that opens a link with `?auth_token=`, `EventSource` | `.query("auth_token")` |
/// | `WebSocket` in a page, with the token | `.websocket_protocol()` or `.query("auth_token")` |
/// | the terminal of opencode's web UI, with a one-time ticket | `.tickets(tickets)` |
/// | a client behind a proxy that uses `Authorization` itself | `.header(name)` |
/// | all stock opencode clients, without tickets | `opencode()` |
///
/// # Exactly one
///
/// A request presents exactly one token. Two, in whichever sources, are malformed and get a 401. The
/// exception is the query: if its parameter or a ticket is there, that alone decides, because a browser adds the
/// Basic credentials that it remembers to a link with another token. The parameter beside a ticket is malformed.
/// An empty one counts as absent.
///
/// # Removal
///
/// The layer removes the credentials of a request that it checks: the headers, the query parameter (from the
/// URI and from axum's `OriginalUri`), and the entries of `Sec-WebSocket-Protocol`. Other query parameters keep
/// their bytes and their order. A `Referer` that contains the query parameter is removed as well. A public route
/// gets what was sent. [`forward_credentials`](crate::AuthLayer::forward_credentials) leaves everything in place.
///
/// # Security
///
/// - A token in a URL ends up in browser histories and in the logs of proxies, and at level DEBUG in the span of
///   tower-http's `TraceLayer` if that is outside of this layer. Use short-lived tokens for links.
/// - A shared cache gives nobody else the response to a request with `Authorization`. It does not know the other
///   carriers, so for these the response has `Cache-Control: private` unless the handler sets that header.
/// - A browser adds Basic credentials by itself, also to requests of other sites' pages. For these the layer
///   checks the origin: see [`AuthLayer::trusted_origins`](crate::AuthLayer::trusted_origins).
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CredentialSources {
    basic: bool,
    websocket_protocol: bool,
    header: Option<HeaderName>,
    query: Option<Box<str>>,
    tickets: Option<Tickets>,
}

impl CredentialSources {
    /// `Authorization: Bearer <token>` (RFC 6750 section 2.1). The default.
    pub fn bearer() -> Self {
        Self::default()
    }

    /// What stock opencode clients send: Basic, the query parameter `auth_token`, and the WebSocket
    /// protocol.
    pub fn opencode() -> Self {
        Self::bearer().basic().query("auth_token").websocket_protocol()
    }

    /// Adds `Authorization: Basic base64(user:token)` (RFC 7617). The token is the password, and any user
    /// name will do.
    pub fn basic(mut self) -> Self {
        self.basic = true;
        self
    }

    /// Adds a query parameter. Its value is the token itself or `base64(user:token)`. There is one: a second call
    /// replaces it, also that of [`opencode`](Self::opencode).
    pub fn query(mut self, name: impl Into<Box<str>>) -> Self {
        self.query = Some(name.into());
        self
    }

    /// Adds the subprotocols of a WebSocket handshake: the two entries `bearer, <token>`, or the one entry
    /// `opencode.bearer.<token>`.
    ///
    /// A browser closes the connection if the server selects none of the protocols that it offered. If the
    /// handler selects none, the layer selects `bearer`. For the one-entry form it selects the first of the
    /// other entries, and the entry with the token only if there is no other. The response to a denied
    /// handshake is an ordinary one: 401, 403 or 503.
    pub fn websocket_protocol(mut self) -> Self {
        self.websocket_protocol = true;
        self
    }

    /// Adds a header whose value is the token itself, such as `x-opencode-token`. There is one: a second call
    /// replaces it.
    ///
    /// # Security
    ///
    /// A browser must not add the header by itself, as it does with `Cookie`: the layer does not check the origin
    /// of the page for it.
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = Some(name);
        self
    }

    /// Adds one-time tickets: the query parameter `ticket` of a WebSocket handshake.
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Whether a browser's login dialog helps.
    pub(crate) const fn accepts_basic(&self) -> bool {
        self.basic
    }

    /// Reads the credentials of a request. Unless they are to be forwarded, removes them.
    #[inline]
    pub(crate) fn take<B>(
        &self,
        request: &mut Request<B>,
        forward: bool,
    ) -> Result<Credential, Denied> {
        if self.header.is_none()
            && self.query.is_none()
            && self.tickets.is_none()
            && !self.websocket_protocol
        {
            self.take_authorization(request.headers_mut(), forward).map_err(Denied::from)
        } else {
            self.take_all(request, forward)
        }
    }

    #[inline]
    fn take_authorization(&self, headers: &mut HeaderMap, forward: bool) -> Presented {
        take_header(headers, &AUTHORIZATION, forward, |value| {
            authorization::read(value, self.basic)
        })
    }

    fn take_all<B>(&self, request: &mut Request<B>, forward: bool) -> Result<Credential, Denied> {
        let authorization = self.take_authorization(request.headers_mut(), forward);
        let upgraded = upgraded(request);
        let header = self.header.as_ref().map_or(Err(Denial::CredentialsAbsent), |name| {
            let read = |value: &[u8]| presented::token(value, Carrier::Header);
            take_header(request.headers_mut(), name, forward, read)
        });
        let protocol = if self.websocket_protocol {
            websocket::take(request.headers_mut(), upgraded, forward)
        } else {
            Err(Denial::CredentialsAbsent)
        };
        let query = self.take_query(request, forward);
        let ticket = match &self.tickets {
            Some(tickets) if upgraded.is_some() => take_ticket(tickets, request, forward),
            Some(_) | None => Err(Denial::CredentialsAbsent),
        };
        match both(query, ticket) {
            Err(Denial::CredentialsAbsent) => {
                both(both(authorization, header), protocol).map_err(Denied::from)
            }
            // The client closes the connection if it gets none of the protocols that it offered.
            Ok(alone) => {
                let select = protocol.ok().and_then(|protocol| protocol.select);
                Ok(Credential { select, ..alone })
            }
            Err(denial) => Err(Denied { by_query: true, ..denial.into() }),
        }
    }

    fn take_query<B>(&self, request: &mut Request<B>, forward: bool) -> Presented {
        let Some(name) = &self.query else { return Err(Denial::CredentialsAbsent) };
        let presented = match query::find(request.uri().query(), name) {
            query::Found::Absent => Err(Denial::CredentialsAbsent),
            query::Found::Many => Err(Denial::CredentialsMalformed),
            query::Found::One(value) => query::read(value),
        };
        // A page that was opened by a link names the link in the `Referer` of its own requests.
        if let header::Entry::Occupied(mut referers) = request.headers_mut().entry(REFERER)
            && referers.iter().any(|referer| query::is_in_referer(referer.as_bytes(), name))
        {
            if forward {
                referers.iter_mut().for_each(|referer| referer.set_sensitive(true));
            } else {
                referers.remove_entry_mult();
            }
        }
        if forward {
            return presented;
        }
        match remove_parameter(request, name) {
            Ok(()) => presented,
            // The token would reach the handler.
            Err(_) => Err(Denial::CredentialsMalformed),
        }
    }
}

/// Removes a query parameter from the URI and from the one that axum's `nest` keeps.
fn remove_parameter<B>(request: &mut Request<B>, name: &str) -> Result<(), axum::http::Error> {
    query::remove(request.uri_mut(), name)?;
    match request.extensions_mut().get_mut::<OriginalUri>() {
        Some(original) => query::remove(&mut original.0, name),
        None => Ok(()),
    }
}

fn take_ticket<B>(tickets: &Tickets, request: &mut Request<B>, forward: bool) -> Presented {
    let value = match query::find(request.uri().query(), ticket::PARAMETER) {
        query::Found::Absent => return Err(Denial::CredentialsAbsent),
        query::Found::Many => return Err(Denial::TicketInvalid),
        query::Found::One(value) => value,
    };
    // The path that the client sees: `nest` has removed a part of the other one.
    let path = request
        .extensions()
        .get::<OriginalUri>()
        .map_or(request.uri().path(), |original| original.0.path());
    let Some(redeemed) = tickets.redeem(value, path) else { return Err(Denial::TicketInvalid) };
    let is_removed = !redeemed.is_adopted && !forward;
    if is_removed && remove_parameter(request, ticket::PARAMETER).is_err() {
        return Err(Denial::CredentialsMalformed);
    }
    Ok(Credential { digest: redeemed.token, carrier: Carrier::Ticket, select: None })
}

/// Reads the one value of a header, which is removed or marked as sensitive.
#[inline]
fn take_header(
    headers: &mut HeaderMap,
    name: &HeaderName,
    forward: bool,
    read: impl FnOnce(&[u8]) -> Presented,
) -> Presented {
    // Two readers of a repeated header may each take another value.
    let repeated = Err(Denial::CredentialsMalformed);
    if forward {
        let header::Entry::Occupied(mut entry) = headers.entry(name) else {
            return Err(Denial::CredentialsAbsent);
        };
        entry.iter_mut().for_each(|value| value.set_sensitive(true));
        let mut values = entry.iter();
        return match (values.next(), values.next()) {
            (Some(value), None) => read(value.as_bytes()),
            _ => repeated,
        };
    }
    let before = headers.len();
    match headers.remove(name) {
        None => Err(Denial::CredentialsAbsent),
        // `remove` removes all values and returns one of them.
        Some(_) if before - headers.len() > 1 => repeated,
        Some(value) => read(value.as_bytes()),
    }
}
