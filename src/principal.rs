use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use time::UtcDateTime;

use crate::carrier::Carrier;
use crate::permission::Permissions;
use crate::record::{Expiry, NewToken, NewTokenError, TokenRecord};
use crate::token::{TokenDigest, TokenId};
use crate::watch::{Ended, Subject, WatchId};

/// The token that a request was allowed with, without its secret.
///
/// [`AuthLayer`](crate::AuthLayer) puts it into the extensions of every allowed request. In an axum
/// handler it is an extractor. A [public](crate::Policy::public) route takes `Option<Principal>`, which
/// is `None` there.
///
/// ```
/// use opencode_auth::Principal;
///
/// async fn whoami(principal: Principal) -> String {
///     format!("{} ({})", principal.name().unwrap_or("no name"), principal.id())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    record: Arc<TokenRecord>,
    carrier: Carrier,
    required: Permissions,
    watch: WatchId,
}

impl Principal {
    pub(crate) const fn new(
        record: Arc<TokenRecord>,
        carrier: Carrier,
        required: Permissions,
        watch: WatchId,
    ) -> Self {
        Self { record, carrier, required, watch }
    }

    /// A principal with these permissions, for tests of handlers. It has no name and never ends.
    ///
    /// ```
    /// use axum::{Extension, Router, routing::get};
    /// use opencode_auth::{Permissions, Principal};
    ///
    /// # fn main() -> Result<(), opencode_auth::NewTokenError> {
    /// let router: Router = Router::new()
    ///     .route("/whoami", get(async |principal: Principal| principal.id().to_string()))
    ///     .layer(Extension(Principal::for_test(Permissions::READ)?));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NewTokenError`] if the set of permissions is empty, or the operating system has no random bits.
    pub fn for_test(permissions: Permissions) -> Result<Self, NewTokenError> {
        let new = NewToken::new().permissions(permissions).expires(Expiry::Never);
        let (_token, record) = new.issue(UtcDateTime::UNIX_EPOCH)?;
        Ok(Self::new(Arc::new(record), Carrier::Bearer, permissions, WatchId::NONE))
    }

    pub(crate) fn digest(&self) -> &TokenDigest {
        self.record.digest()
    }

    /// The token's id.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.record.id()
    }

    /// The token's name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.record.name()
    }

    /// What the token was granted. This may be more than the request required.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.record.permissions()
    }

    /// How the request carried the token.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// When the token expires; `None` if never.
    #[must_use]
    pub fn expires_at(&self) -> Option<UtcDateTime> {
        self.record.expires_at()
    }
}

/// Makes room in a request's extensions for the principal and for what the router adds.
#[inline]
pub(crate) fn make_room(extensions: &mut Extensions) {
    if extensions.is_empty() {
        extensions.clone_from(&ROOMY);
    }
}

/// An empty table with room for seven extensions. axum's router adds three to the principal. A table that
/// began with the principal would have to grow for the last of them.
static ROOMY: LazyLock<Extensions> = LazyLock::new(|| {
    let mut extensions = Extensions::new();
    extensions.insert(0_u8);
    extensions.insert(0_u16);
    extensions.insert(0_u32);
    extensions.insert(0_u64);
    extensions.clear();
    extensions
});

impl Principal {
    /// A future that resolves when the token ends: when it is deleted, rotated or expired, or loses a
    /// permission that the request required. A store that cannot tell ends nothing until it can. Once the layer
    /// and all services that it made are dropped, nobody watches the token, and a new future resolves at once.
    ///
    /// The layer ends streaming responses by itself. It cannot end an upgraded connection, such as a
    /// WebSocket: its handler has to wait for this future. [`until_ended`](Self::until_ended) does it in
    /// one line.
    ///
    /// It resolves within 250 ms of the change, if a look-up takes less than 50 ms. The store is polled ten
    /// times a second while someone waits, however many wait, and not otherwise.
    ///
    /// ```
    /// use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
    /// use axum::response::Response;
    /// use opencode_auth::Principal;
    ///
    /// async fn connect(principal: Principal, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(async move |mut socket: WebSocket| {
    ///         let mut ended = principal.ended();
    ///         loop {
    ///             let message = tokio::select! {
    ///                 message = socket.recv() => message,
    ///                 () = &mut ended => {
    ///                     let _ = socket.send(Message::Close(None)).await;
    ///                     return;
    ///                 }
    ///             };
    ///             let Some(Ok(_message)) = message else { return };
    ///         }
    ///     })
    /// }
    /// ```
    pub fn ended(&self) -> Ended {
        let (digest, id) = (*self.record.digest(), self.record.id());
        self.watch.ended(Subject { digest, id, required: self.required })
    }

    /// Runs a future until it completes or the token ends. If the token ends first, the future is dropped and
    /// the result is `None`.
    ///
    /// ```
    /// use axum::extract::ws::{WebSocket, WebSocketUpgrade};
    /// use axum::response::Response;
    /// use opencode_auth::Principal;
    ///
    /// async fn connect(principal: Principal, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_upgrade(async move |socket| {
    ///         let _ = principal.until_ended(terminal(socket)).await;
    ///     })
    /// }
    ///
    /// async fn terminal(socket: WebSocket) {
    ///     # drop(socket);
    ///     // …
    /// }
    /// ```
    pub async fn until_ended<F: Future>(&self, future: F) -> Option<F::Output> {
        let (mut ended, mut future) = (self.ended(), pin!(future));
        poll_fn(|context| {
            if Pin::new(&mut ended).poll(context).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        })
        .await
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = PrincipalMissing;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(PrincipalMissing)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

/// A handler takes a [`Principal`], and the request has none: no [`AuthLayer`](crate::AuthLayer) wraps
/// the route, or the route is public. The response is a 500, because the mistake is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this handler takes a `Principal`, but no `opencode_auth::AuthLayer` has allowed the request: wrap \
     the router in the layer, or take `Option<Principal>` on a public route"
)]
pub struct PrincipalMissing;

impl IntoResponse for PrincipalMissing {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
