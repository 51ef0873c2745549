use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderValue;
use tower::Layer;

use crate::credentials::CredentialSources;
use crate::decision::Denial;
use crate::drain::DrainLimits;
use crate::guard::{Config, Guard};
use crate::origin::OriginError;
use crate::policy::Policy;
use crate::service::AuthService;
use crate::store::TokenStore;
use crate::stream::{AnyBody, AxumBody};
use crate::watch::Watch;

/// Middleware that rejects requests without a valid token.
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
/// An allowed request gets a [`Principal`](crate::Principal) in its extensions and loses its
/// credentials. A denied request reaches nothing inside.
///
/// # Where it goes
///
/// Add it to a finished router with `Router::layer`, after the routes and the fallback. (`route_layer`
/// does not see requests that match no route.) Layers that are added later lie outside of it. That is the
/// place for CORS, because a preflight carries no credentials, and for tracing and compression.
///
/// A route that is added after the layer is not guarded: by `route`, by `merge`, or as a second method of a path
/// that is already there. Neither is a `fallback` or `method_not_allowed_fallback` that is added after it.
///
/// In a `ServiceBuilder` the order is the reverse: the first layer is the outermost.
///
/// ```
/// use axum::{Router, routing::get};
/// use opencode_auth::{AuthLayer, MemoryTokenStore};
/// use tower::ServiceBuilder;
/// use tower_http::{cors::CorsLayer, trace::TraceLayer};
///
/// let layers = ServiceBuilder::new()
///     .layer(TraceLayer::new_for_http()) // sees each request first
///     .layer(CorsLayer::permissive()) // responds to preflights
///     .layer(AuthLayer::new(MemoryTokenStore::new())); // closest to the routes
/// let app: Router = Router::new().route("/config", get(|| async { "…" })).layer(layers);
/// ```
///
/// Around the router it costs less than inside it, because axum makes a service of each route for each
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
/// If one route has two of these layers, the outer one needs
/// [`forward_credentials`](Self::forward_credentials). Otherwise it removes the header that the inner one
/// reads.
///
/// Inside axum 0.8's `nest` the layer also reads the original path. axum 0.7 hides that path, so with
/// axum 0.7 the layer belongs outside of `nest`.
///
/// # Which bodies
///
/// The wrapped service responds with the [`Body`](axum::body::Body) of axum 0.8. For services with another
/// body, such as `ServeDir`, tonic's routes or axum 0.7, call [`wrap_body`](Self::wrap_body).
///
/// # Security
///
/// A policy reads the path as it is outside of the wrapped router. If that router nests its API under a
/// prefix, tell the policy: see [`Policy::mount`].
///
/// # Streams end with their token
///
/// When a token is deleted, rotated or expires, or loses a permission that the request required, its open
/// responses end: those whose body has no known length, such as event streams. They end cleanly, within 250 ms
/// if a look-up takes less than 50 ms, also beside up to 1,000 tokens whose look-ups take longer. The layer polls
/// the store for this ten times a second while a stream is open, and not otherwise. It cannot end a WebSocket: a
/// handler of one calls [`Principal::until_ended`](crate::Principal::until_ended). A client that does not read what
/// it was sent gets nothing new, and its stream ends when it reads on: a server may ask the body only then.
///
/// A request's body ends too: a part of it that arrives after its token ended is an error for the handler that
/// reads it. This takes the `Body` of axum 0.8 in the request. With another type of request body, a client can
/// send the head of a request before its token is deleted, and the body after that.
///
/// # Testing
///
/// A test of the whole app uses a [`MemoryTokenStore`](crate::MemoryTokenStore). A test of one handler needs no layer:
/// see [`Principal::for_test`](crate::Principal::for_test).
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, routing::get};
/// use opencode_auth::{AuthLayer, MemoryTokenStore, NewToken, Permissions, TokenStore};
/// use tower::ServiceExt as _;
///
/// fn app(store: impl TokenStore + Send + Sync + 'static) -> Router {
///     Router::new().route("/session", get(async || "sessions")).layer(AuthLayer::new(store))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryTokenStore::new();
/// let token = store.create(NewToken::new().permissions(Permissions::READ))?.token;
/// let request = Request::get("/session")
///     .header("authorization", format!("Bearer {}", token.expose_secret()))
///     .body(Body::empty())?;
///
/// // Under `/session` the default policy requires execute too.
/// assert_eq!(app(store).oneshot(request).await?.status(), StatusCode::FORBIDDEN);
/// # Ok(())
/// # }
/// ```
///
/// # Responses to denied requests
///
/// | status | if |
/// |---|---|
/// | 401 | credentials are absent, malformed, unknown or expired |
/// | 403 | the token lacks a permission, a ticket is not valid, or a page of another origin used credentials that the browser added |
/// | 503 | the store cannot be read |
///
/// A 401, and a 403 for a missing permission, has a challenge (RFC 6750). With [`CredentialSources::basic`] a 401
/// has a second one, for `Basic`, if a browser's login dialog helps. A 503 has `Retry-After`. Each has
/// `Cache-Control: no-store` and a JSON body that opencode clients can show. The [`Denial`] is in the extensions of
/// the response.
///
/// Each denial is a `tracing` event `request denied` at level INFO. Its fields are `kind`, `method`, `path`
/// (without the query), `token` (the id, if it is known), `rule` and, for a 503, `error`. The store logs
/// each change of its own state once: ERROR if it cannot be read, WARN if its file is missing, INFO if it
/// is good again.
#[must_use]
pub struct AuthLayer<T, M = AxumBody> {
    store: Arc<T>,
    watch: Arc<Watch>,
    config: Arc<Config>,
    mode: PhantomData<fn() -> M>,
}

impl<T: TokenStore + Send + Sync + 'static> AuthLayer<T> {
    /// Checks tokens against this store, with [`Policy::default`].
    pub fn new(store: T) -> Self {
        let store = Arc::new(store);
        let watch = Watch::new(Arc::clone(&store));
        Self { store, watch, config: Arc::default(), mode: PhantomData }
    }
}

impl<T> AuthLayer<T> {
    /// Serves inner services with any response body: `ServeDir`, tonic's routes, boxed bodies, axum 0.7.
    /// The response then has an [`AuthBody`](crate::AuthBody) around the inner one.
    ///
    /// ```
    /// use opencode_auth::{AuthLayer, MemoryTokenStore};
    /// use tower::Layer as _;
    /// use tower_http::services::ServeDir;
    ///
    /// let files = AuthLayer::new(MemoryTokenStore::new()).wrap_body().layer(ServeDir::new("public"));
    /// let app: axum::Router = axum::Router::new().fallback_service(files);
    /// ```
    ///
    /// Without it, such a service does not compile:
    ///
    /// ```compile_fail
    /// # use opencode_auth::{AuthLayer, MemoryTokenStore};
    /// # use tower::Layer as _;
    /// # use tower_http::services::ServeDir;
    /// let files = AuthLayer::new(MemoryTokenStore::new()).layer(ServeDir::new("public"));
    /// let app: axum::Router = axum::Router::new().fallback_service(files);
    /// ```
    pub fn wrap_body(self) -> AuthLayer<T, AnyBody> {
        let Self { store, watch, config, .. } = self;
        AuthLayer { store, watch, config, mode: PhantomData }
    }
}

impl<T, M> AuthLayer<T, M> {
    /// Sets what requests require.
    pub fn policy(mut self, policy: impl Into<Policy>) -> Self {
        self.config_mut().policy = policy.into();
        self
    }

    /// Sets the realm in challenges, `opencode` by default. Characters that a quoted string cannot contain
    /// are replaced by `_`.
    pub fn realm(mut self, realm: &str) -> Self {
        self.config_mut().responses.set_realm(realm);
        self
    }

    /// Sets where a request may carry its token: [`CredentialSources::bearer`] by default.
    pub fn credentials(mut self, sources: CredentialSources) -> Self {
        self.config_mut().sources = sources;
        self
    }

    /// Trusts the pages of these origins, beside the server's own.
    ///
    /// A browser adds Basic credentials by itself, also to requests that another site's page makes. With
    /// [`CredentialSources::basic`] such a request gets a 403 (`cross_origin`), unless its method is `GET`,
    /// `HEAD` or `OPTIONS`, the policy requires no more than read, it asks for no upgrade, and it names no directory
    /// in its query (opencode loads the plugins of such a directory). Pages of trusted origins are exempt.
    /// Credentials that a browser does not add by itself are not checked.
    ///
    /// ```
    /// use opencode_auth::{AuthLayer, CredentialSources, MemoryTokenStore};
    ///
    /// let layer = AuthLayer::new(MemoryTokenStore::new())
    ///     .credentials(CredentialSources::opencode())
    ///     .trusted_origins(["https://app.example.org", "http://localhost:3000"])?;
    /// # let _ = layer;
    /// # Ok::<_, opencode_auth::OriginError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OriginError`] for a text that is not exactly an origin as browsers send it.
    ///
    /// # Security
    ///
    /// `Sec-Fetch-Site` decides, or, for older browsers, `Origin` and `Host`. Over plain HTTP some browsers
    /// send neither with a form of another site. Only `https` or `localhost` is safe with Basic.
    pub fn trusted_origins<I>(mut self, origins: I) -> Result<Self, OriginError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        for origin in origins {
            self.config_mut().trusted_origins.add(origin.as_ref())?;
        }
        Ok(self)
    }

    /// Sets the command that creates a token, as the bodies of denials name it. The default is
    /// `opencode auth token create`.
    pub fn create_command(mut self, command: &str) -> Self {
        self.config_mut().responses.set_create_command(command);
        self
    }

    /// Replaces the body of denials. The closure returns the content type and the bytes. Status and
    /// headers stay as they are.
    ///
    /// ```
    /// use axum::body::Bytes;
    /// use axum::http::HeaderValue;
    /// use opencode_auth::{AuthLayer, MemoryTokenStore};
    ///
    /// let layer = AuthLayer::new(MemoryTokenStore::new()).denial_body(|denial| {
    ///     (HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from(denial.message()))
    /// });
    /// # let _ = layer;
    /// ```
    pub fn denial_body(
        mut self,
        body: impl Fn(&Denial) -> (HeaderValue, Bytes) + Send + Sync + 'static,
    ) -> Self {
        self.config_mut().responses.set_body(body);
        self
    }

    /// Leaves the credentials in allowed requests, marked as sensitive.
    ///
    /// # Security
    ///
    /// By default they are removed, so that a handler that forwards requests cannot send the token to
    /// another server.
    pub fn forward_credentials(mut self, forward: bool) -> Self {
        self.config_mut().forward_credentials = forward;
        self
    }

    /// Sets how much of a denied request's body is read, and for how long, before the response is sent: 8 MiB and
    /// one second by default. Zero reads nothing.
    ///
    /// A client that is still sending its body over HTTP/1.1 when the server responds and closes the
    /// connection often sees a broken pipe and not the response. Over HTTP/2 the server resets the stream, and
    /// some clients, such as curl 7.88, then lose the response. What is read is dropped at once. Beyond the
    /// limit the client may miss the response, which over HTTP/1.1 has `Connection: close`. A client with larger
    /// bodies should send `Expect: 100-continue`: then it gets the denial before it sends the body, and none is
    /// read.
    pub fn denial_drain(mut self, bytes: u64, time: Duration) -> Self {
        self.config_mut().denial_drain = DrainLimits { bytes, time };
        self
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl<S, T, M> Layer<S> for AuthLayer<T, M> {
    type Service = AuthService<S, T, M>;

    fn layer(&self, inner: S) -> Self::Service {
        let guard = Guard {
            store: Arc::clone(&self.store),
            watch: Arc::clone(&self.watch),
            config: Arc::clone(&self.config),
        };
        AuthService::new(inner, Arc::new(guard))
    }
}

impl<T, M> Clone for AuthLayer<T, M> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            watch: Arc::clone(&self.watch),
            config: Arc::clone(&self.config),
            mode: PhantomData,
        }
    }
}

impl<T: fmt::Debug, M> fmt::Debug for AuthLayer<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer")
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
