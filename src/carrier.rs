/// The part of a request that carried the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// `Authorization: Bearer <token>`.
    Bearer,
    /// `Authorization: Basic base64(user:token)`.
    Basic,
    /// A custom header, such as `x-opencode-token: <token>`.
    Header,
    /// A query parameter, such as `?auth_token=<token>`.
    Query,
    /// `Sec-WebSocket-Protocol: bearer, <token>`.
    WebSocketProtocol,
    /// A one-time ticket that was issued for the token.
    Ticket,
}

impl Carrier {
    /// Whether shared caches know that a response is not for everybody. They do if the request has
    /// `Authorization` (RFC 9111 section 3.5).
    pub(crate) const fn is_known_to_caches(self) -> bool {
        match self {
            Self::Bearer | Self::Basic => true,
            Self::Header | Self::Query | Self::WebSocketProtocol | Self::Ticket => false,
        }
    }

    /// Whether a browser adds the credentials by itself, also to requests that another site's page makes.
    pub(crate) const fn is_ambient(self) -> bool {
        match self {
            Self::Basic => true,
            Self::Bearer | Self::Header | Self::Query | Self::WebSocketProtocol | Self::Ticket => {
                false
            }
        }
    }
}
