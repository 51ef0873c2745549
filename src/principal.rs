use std::sync::{Arc, LazyLock};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use time::UtcDateTime;

use crate::carrier::Carrier;
use crate::permission::Permissions;
use crate::record::{Expiry, NewToken, NewTokenError, TokenRecord};
use crate::token::{TokenDigest, TokenId};

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
}

impl Principal {
    pub(crate) const fn new(record: Arc<TokenRecord>, carrier: Carrier) -> Self {
        Self { record, carrier }
    }

    /// A principal with these permissions, for tests of handlers. It has no name and never expires.
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
        Ok(Self::new(Arc::new(record), Carrier::Bearer))
    }

    pub(crate) fn digest(&self) -> &TokenDigest {
        self.record.digest()
    }

    /// Puts the principal into a request's extensions, where the extractor finds it.
    pub(crate) fn attach(self, extensions: &mut Extensions) {
        if extensions.is_empty() {
            extensions.clone_from(&ROOMY);
        }
        extensions.insert(self);
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
