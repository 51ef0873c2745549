use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::ACCEPT_ENCODING;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, StatusCode, Uri, Version, uri};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::gateway::failure::Failure;
use crate::gateway::stop::Stopped;
use crate::gateway::upstream::Upstream;
use crate::gateway::{headers, ticket, websocket};
use crate::{Principal, Tickets};

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

/// In the extensions of a response that came from the upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed;

/// Passes requests on to the upstream.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) upstream: Arc<Upstream>,
    pub(super) tickets: Tickets,
    pub(super) stopped: Stopped,
}

/// Passes an allowed request on to the upstream. The principal is in the response's extensions.
pub(super) async fn pass_on(
    State(proxy): State<Proxy>,
    principal: Option<Principal>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response {
    let passed = proxy.pass_on(principal.clone(), client, request).await;
    let mut response = passed.unwrap_or_else(Failure::into_response);
    if let Some(principal) = principal {
        response.extensions_mut().insert(principal);
    }
    response
}

impl Proxy {
    async fn pass_on(
        &self,
        principal: Option<Principal>,
        client: Client,
        mut request: Request,
    ) -> Result<Response, Failure> {
        if headers::is_websocket(request.headers()) {
            return self.pass_on_websocket(principal, client, request).await;
        }
        if principal.is_none() {
            make_anonymous(&mut request);
        }
        let terminal = principal.zip(ticket::terminal(&request));
        for_upstream(&mut request, client)?;
        if terminal.is_some() {
            // The ticket is read from the response.
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        let response = self.for_client(self.upstream.send(request).await?);
        Ok(match terminal {
            Some((principal, path)) => {
                ticket::adopt(&self.tickets, &principal, &path, response).await
            }
            None => response,
        })
    }

    async fn pass_on_websocket(
        &self,
        principal: Option<Principal>,
        client: Client,
        mut request: Request,
    ) -> Result<Response, Failure> {
        if request.version() != Version::HTTP_11 {
            return Err(Failure::Request("A WebSocket takes HTTP/1.1."));
        }
        let Some(principal) = principal else {
            return Err(Failure::Request("Nothing that is public is a WebSocket."));
        };
        let client_side = hyper::upgrade::on(&mut request);
        for_upstream(&mut request, client)?;
        headers::set_websocket(request.headers_mut());
        let mut response = self.upstream.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(self.for_client(response));
        }
        let upstream_side = hyper::upgrade::on(&mut response);
        self.join(client_side, upstream_side, principal);
        let mut response = self.for_client(response);
        headers::set_websocket(response.headers_mut());
        Ok(response)
    }

    fn join(&self, client: OnUpgrade, upstream: OnUpgrade, principal: Principal) {
        let stopped = self.stopped.clone();
        tokio::spawn(async move {
            let joined = websocket::join(client, upstream, stopped.wait());
            // If the token ends first, both sides are closed.
            let _ = principal.until_ended(joined).await;
        });
    }

    /// Asks the upstream whether a page of another origin may send a request. Browsers ask without a
    /// credential, so the upstream gets none either.
    pub(super) async fn pass_on_preflight(&self, client: Client, mut request: Request) -> Response {
        make_anonymous(&mut request);
        let passed = match for_upstream(&mut request, client) {
            Ok(()) => self.upstream.send_anonymously(request).await,
            Err(failure) => Err(failure),
        };
        passed.map_or_else(Failure::into_response, |response| self.for_client(response))
    }

    fn for_client(&self, response: axum::http::Response<Incoming>) -> Response {
        let (mut parts, body) = response.into_parts();
        headers::for_client(&mut parts.headers);
        // What a connection to the upstream said of itself is of no concern to the client's.
        parts.extensions.clear();
        parts.extensions.insert(Passed);
        parts.version = Version::default();
        Response::from_parts(parts, self.stopped.guard(Body::new(body)))
    }
}

/// Removes what a request without a token must not decide at the upstream: the query, most headers, and the
/// body. `Content-Length` goes with the body: the upstream would take the next request on the connection for it.
fn make_anonymous(request: &mut Request) {
    headers::keep_anonymous(request.headers_mut());
    *request.body_mut() = Body::empty();
    let path = request.uri().path().to_owned();
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// Makes the request the one that the upstream receives.
fn for_upstream(request: &mut Request, client: Client) -> Result<(), Failure> {
    let target = headers::path_and_query(request.uri());
    let is_path = target.starts_with('/') && *request.method() != Method::CONNECT;
    let target = PathAndQuery::try_from(target).ok().filter(|_| is_path);
    let target = target.ok_or(Failure::Request("The request's target is not a path."))?;
    let version = request.version();
    let uri = std::mem::take(request.uri_mut());
    headers::for_upstream(request.headers_mut(), &uri, client.0, version);
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(target);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    request.extensions_mut().clear();
    Ok(())
}
