//! Where a request may carry its token.

mod upgrade;
mod presented;
mod authorization;
mod query;
mod websocket;
mod ticket;
mod sources;

pub(crate) use self::presented::{Credential, Selection};
pub use self::sources::CredentialSources;
pub use self::ticket::{Ticket, Tickets};
pub(crate) use self::upgrade::is_upgrade;
