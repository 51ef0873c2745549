use std::collections::{BTreeSet, HashMap, hash_map};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::principal::Principal;
use crate::store::Moment;
use crate::token::{RandomError, TokenDigest};

/// The query parameter of a WebSocket handshake.
pub(super) const PARAMETER: &str = "ticket";

/// How many tickets there may be.
const MAX_TICKETS: usize = 10_000;

const RANDOM_BYTES: usize = 16;
/// 128 bits in base64url.
const LENGTH: usize = 22;

type Digest = [u8; 32];

/// One-time tickets for WebSocket handshakes. Clones share the tickets.
///
/// A page cannot set a header on a `WebSocket`. So it requests a ticket with its token first, and then opens
/// the socket with `?ticket=<ticket>`. A ticket represents one token. It can be used once, on one path, for a
/// limited time, which goes on while the machine sleeps. The token is looked up again when the ticket is
/// redeemed: a ticket of a deleted token is denied. A ticket that is unknown, used, expired or for another path
/// gets a 403.
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Extension, Json, Router, extract::Path, routing::{get, post}};
/// use opencode_auth::{AuthLayer, CredentialSources, MemoryTokenStore, Principal, RandomError, Tickets};
///
/// async fn connect_token(
///     Path(id): Path<String>,
///     Extension(tickets): Extension<Tickets>,
///     principal: Principal,
/// ) -> Result<Json<String>, String> {
///     let path = format!("/pty/{id}/connect");
///     let ticket = tickets.issue(&principal, &path, Duration::from_secs(60)).map_err(|error| error.to_string())?;
///     Ok(Json(ticket.expose_secret().to_owned()))
/// }
///
/// let tickets = Tickets::new();
/// let sources = CredentialSources::opencode().tickets(tickets.clone());
/// let app: Router = Router::new()
///     .route("/pty/{id}/connect-token", post(connect_token))
///     .route("/pty/{id}/connect", get(|| async { "…" }))
///     .layer(Extension(tickets))
///     .layer(AuthLayer::new(MemoryTokenStore::new()).credentials(sources));
/// ```
///
/// Only digests are kept, of at most 10,000 tickets. Expired tickets leave first. If there are still too many,
/// the token with the most tickets loses the one that expires first. So no token can use up the places of
/// others.
#[derive(Clone, Default)]
pub struct Tickets(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    entries: HashMap<Digest, Entry>,
    by_expiry: BTreeSet<(Moment, Digest)>,
    /// The tickets of each token, those that expire first in front.
    by_token: HashMap<Digest, BTreeSet<(Moment, Digest)>>,
}

struct Entry {
    token: TokenDigest,
    /// A path may be long, and a digest is not.
    path: Digest,
    expires: Moment,
    is_adopted: bool,
}

/// The token that a ticket represented.
pub(super) struct Redeemed {
    pub(super) token: TokenDigest,
    pub(super) is_adopted: bool,
}

impl Tickets {
    /// No tickets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Issues a ticket for the principal's token. The path is the one that the client requests, without
    /// the query, byte for byte.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system has no random bits.
    pub fn issue(
        &self,
        principal: &Principal,
        path: &str,
        lifetime: Duration,
    ) -> Result<Ticket, RandomError> {
        let ticket = Ticket::generate()?;
        self.add(ticket.expose_secret(), principal, path, lifetime, false);
        Ok(ticket)
    }

    /// Accepts a ticket that the wrapped server has issued. It stays in the request, because the server's
    /// handler checks it again.
    pub fn adopt(&self, ticket: &str, principal: &Principal, path: &str, lifetime: Duration) {
        self.add(ticket, principal, path, lifetime, true);
    }

    fn add(
        &self,
        ticket: &str,
        principal: &Principal,
        path: &str,
        lifetime: Duration,
        is_adopted: bool,
    ) {
        let now = Moment::now();
        let expires = now.after(lifetime);
        let (token, path) = (*principal.digest(), digest_of(path));
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(digest_of(ticket), Entry { token, path, expires, is_adopted });
        table.drop_expired(now);
        table.drop_one_too_many();
    }

    /// The token that the ticket represents on this path. The ticket cannot be redeemed again.
    pub(super) fn redeem(&self, value: &str, path: &str) -> Option<Redeemed> {
        let ticket = percent_decode_str(value).decode_utf8().ok()?;
        let (digest, path) = (digest_of(&ticket), digest_of(path));
        let now = Moment::now();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.drop_expired(now);
        if table.entries.get(&digest)?.path != path {
            return None;
        }
        let Entry { token, is_adopted, .. } = table.remove(&digest)?;
        Some(Redeemed { token, is_adopted })
    }
}

impl Table {
    fn insert(&mut self, digest: Digest, entry: Entry) {
        self.remove(&digest);
        let place = (entry.expires, digest);
        self.by_expiry.insert(place);
        self.by_token.entry(*entry.token.as_bytes()).or_default().insert(place);
        self.entries.insert(digest, entry);
    }

    fn remove(&mut self, digest: &Digest) -> Option<Entry> {
        let entry = self.entries.remove(digest)?;
        let place = (entry.expires, *digest);
        self.by_expiry.remove(&place);
        if let hash_map::Entry::Occupied(mut of_token) =
            self.by_token.entry(*entry.token.as_bytes())
        {
            of_token.get_mut().remove(&place);
            if of_token.get().is_empty() {
                of_token.remove();
            }
        }
        Some(entry)
    }

    fn drop_one_too_many(&mut self) {
        if self.entries.len() > MAX_TICKETS
            && let Some(most) = self.by_token.values().max_by_key(|tickets| tickets.len())
            && let Some((_, digest)) = most.first().copied()
        {
            self.remove(&digest);
        }
    }

    fn drop_expired(&mut self, now: Moment) {
        while let Some((expires, digest)) = self.by_expiry.first().copied()
            && expires <= now
        {
            self.remove(&digest);
        }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

fn digest_of(ticket: &str) -> Digest {
    Sha256::digest(ticket).into()
}

/// A one-time ticket: the secret itself. Show it once, to the client that requested it.
///
/// There is no `Clone`, `Display` or `Serialize`, `Debug` prints a fixed text, and the memory is wiped on
/// drop.
pub struct Ticket(Zeroizing<[u8; LENGTH]>);

impl Ticket {
    fn generate() -> Result<Self, RandomError> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        SysRng.try_fill_bytes(&mut *random).map_err(|source| RandomError(source.into()))?;
        let mut text = Zeroizing::new([0; LENGTH]);
        let written = URL_SAFE_NO_PAD.encode_slice(*random, &mut *text);
        debug_assert_eq!(written, Ok(LENGTH));
        Ok(Self(text))
    }

    /// The ticket's text: 22 characters that need no escape in a URL.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        // The text is ASCII by construction.
        str::from_utf8(&*self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(<secret>)")
    }
}
