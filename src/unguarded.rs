//! Finds the routes of a service that no [`AuthLayer`](crate::AuthLayer) guards.

use std::borrow::Borrow;
use std::fmt;
use std::future::poll_fn;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use tower::Service;

use crate::policy::Route;

/// A route that responded to a request without a token with another status than 401.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unguarded {
    /// The route.
    pub route: Route,
    /// The status of the response.
    pub status: StatusCode,
}

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} responded {}", self.route, self.status)
    }
}

/// Sends a request without a token to each route and returns those that did not respond with 401.
///
/// axum does not tell which routes are outside a layer, such as one that was added after it. Call this in a
/// test of your router, with the [routes of the policy](crate::Policy::routes) or those of an
/// [OpenAPI document](crate::OpenApi::routes). A public route is returned as well: only you know which are
/// meant to be.
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use opencode_auth::{AuthLayer, MemoryTokenStore, OpenApi, Policy, unguarded};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let document = r#"{"openapi": "3.1.0", "paths": {"/config": {"get": {}}, "/hooks": {"post": {}}}}"#;
/// # let layer = AuthLayer::new(MemoryTokenStore::new()).policy(Policy::default());
/// let app = Router::new().route("/config", get(|| async {})).layer(layer);
/// let app = app.route("/hooks", post(|| async {})); // outside the layer
///
/// let found = unguarded(app, OpenApi::parse(document)?.routes()).await?;
/// let found: Vec<_> = found.iter().map(ToString::to_string).collect();
/// assert_eq!(found, ["POST /hooks responded 200 OK"]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Each parameter of a path is `x`, and the body is empty. One request is sent after the other. A status of
/// 404 or 405 means that the router does not have the route and that its fallback is outside the layer.
///
/// # Security
///
/// A route that is not guarded runs. Use a router with harmless state.
///
/// # Errors
///
/// If the service fails. An axum `Router` never does.
pub async fn unguarded<S, B>(
    mut service: S,
    routes: impl IntoIterator<Item: Borrow<Route>>,
) -> Result<Vec<Unguarded>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    let mut found = Vec::new();
    for route in routes {
        let route = route.borrow();
        let mut request = Request::new(Body::empty());
        *request.method_mut() = route.method().clone();
        *request.uri_mut() = route.example().clone();
        poll_fn(|context| service.poll_ready(context)).await?;
        let status = service.call(request).await?.status();
        if status != StatusCode::UNAUTHORIZED {
            found.push(Unguarded { route: route.clone(), status });
        }
    }
    Ok(found)
}
