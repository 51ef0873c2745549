use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderValue;

use tower::Layer;

use crate::decision::Denial;
use crate::policy::Policy;
use crate::service::{AuthService, Config};

/// Lets only those requests through to a service that present a bearer token which allows them.
///
/// ```
/// use axum::{Router, routing::get};
/// use opencode_auth::{AuthLayer, MemoryTokenStore, Policy};
///
/// let store = MemoryTokenStore::new();
/// let router: Router = Router::new().route("/config", get(|| async { "…" }));
/// let app: Router = router.layer(AuthLayer::new(store).policy(Policy::default()).realm("opencode"));
/// ```
///
/// # Order
///
/// Put it on a finished router with `Router::layer`, after its routes and its fallback: `route_layer`
/// does not see requests that no route matches. Layers that are added after it lie outside of it. CORS
/// belongs there, for a preflight carries no credentials, and so do tracing and compression, which
/// change the type of the response's body.
///
/// Around the whole router it costs less than inside it, where axum makes a service of each route for each
/// request:
///
/// ```no_run
/// use axum::{Router, ServiceExt, extract::Request};
/// use opencode_auth::{AuthLayer, FileTokenStore};
/// use tower::Layer as _;
///
/// # async fn serve(listener: tokio::net::TcpListener, router: Router) -> Result<(), Box<dyn std::error::Error>> {
/// let app = AuthLayer::new(FileTokenStore::open_default()?).layer(router);
/// axum::serve(listener, ServiceExt::<Request>::into_make_service(app)).await?;
/// # Ok(())
/// # }
/// ```
///
/// Two of these layers around one route need [`forward_credentials`](Self::forward_credentials) on the
/// outer one, which otherwise takes the header off.
///
/// Inside axum 0.8's `nest` the layer also looks at the original path. axum 0.7's keeps that from it:
/// there the layer belongs outside of `nest`.
///
/// # Security
///
/// A policy reads paths as they are outside the router that the layer wraps. If that router nests its
/// API under a prefix, the policy has to know: see [`Policy::mount`].
///
/// # Answers
///
/// 401 for credentials that are absent, malformed, unknown or expired, 403 for permissions that are
/// missing, and 503 when the store cannot be read, each with a challenge (RFC 6750) or `Retry-After`,
/// `Cache-Control: no-store`, and a JSON body that opencode clients show. The [`Denial`] is in the
/// response's extensions. A request that is refused reaches nothing inside, and its body is not read.
///
/// Each refusal is a `tracing` event `request refused` at level INFO, with `kind`, `method`, `path` (no
/// query), `token` (the id, where it is known), `rule` and, for a 503, `error`. A change of the store's state
/// is one event: ERROR when it cannot be read, WARN when its file is missing, INFO when it is good again.
///
/// A request that is allowed goes on with a [`Principal`](crate::Principal) in its extensions and
/// without its `Authorization` header.
#[derive(Clone, Debug)]
#[must_use]
pub struct AuthLayer<T> {
    store: T,
    config: Arc<Config>,
}

impl<T> AuthLayer<T> {
    /// Checks tokens against this store, by [`Policy::default`].
    pub fn new(store: T) -> Self {
        Self { store, config: Arc::default() }
    }

    /// Sets what requests need.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.config_mut().policy = policy;
        self
    }

    /// Sets the realm that challenges name, `opencode` by default. Any text will do: what a quoted
    /// string cannot hold is replaced by `_`.
    pub fn realm(mut self, realm: &str) -> Self {
        self.config_mut().answers.set_realm(realm);
        self
    }

    /// Replaces the body of refusals: the closure answers its content type and its bytes. Status and
    /// headers stay.
    ///
    /// ```
    /// use axum::body::Bytes;
    /// use axum::http::HeaderValue;
    /// use opencode_auth::{AuthLayer, MemoryTokenStore};
    ///
    /// let layer = AuthLayer::new(MemoryTokenStore::new()).refusal_body(|denial| {
    ///     (HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from(denial.message()))
    /// });
    /// # let _ = layer;
    /// ```
    pub fn refusal_body(
        mut self,
        body: impl Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.config_mut().answers.set_body(body);
        self
    }

    /// Leaves the `Authorization` header on allowed requests, marked as sensitive.
    ///
    /// # Security
    ///
    /// By default it is taken off, so that a handler that passes requests on cannot hand the token to
    /// another server.
    pub fn forward_credentials(mut self, forward: bool) -> Self {
        self.config_mut().forward_credentials = forward;
        self
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl<S, T: Clone> Layer<S> for AuthLayer<T> {
    type Service = AuthService<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService::new(inner, self.store.clone(), Arc::clone(&self.config))
    }
}
