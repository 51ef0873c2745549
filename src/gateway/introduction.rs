//! What the gateway prints when it is ready.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Expiry, FileTokenStore, NewToken};

/// The address, and how to use it. Creates a token if the store has none: it blocks.
pub(super) fn introduce(
    store: &FileTokenStore,
    listen: SocketAddr,
    upstream: &str,
) -> Result<String, String> {
    let url = format!("http://{}", reachable(listen));
    let head = format!("Listening on {url} in front of {upstream}.\n");
    let tokens = store.list().map_err(|error| error.to_string())?;
    if !tokens.is_empty() {
        return Ok(format!(
            "{head}Tokens are those of `{}`. To create one: opencode-auth token create\n",
            store.path().display()
        ));
    }
    let new = NewToken::new().name("gateway").expires(Expiry::days(90));
    let created = store.create(new).map_err(|error| error.to_string())?;
    let token = created.token.expose_secret();
    // The page reads a user name and a password from it.
    let link = STANDARD.encode(format!("opencode:{token}")).replace('+', "%2B").replace('=', "%3D");
    Ok(format!(
        "\
{head}
The store had no token. This one allows everything for 90 days. It is shown only this once:

  TOKEN={token}

Paste that line into a terminal, and then one of these. The last line is for a browser.

  curl -u opencode:$TOKEN {url}/config
  opencode attach {url} -p $TOKEN
  {url}/?auth_token={link}

"
    ))
}

/// The address at which a program on this machine reaches the gateway.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => [0, 0, 0, 0, 0, 0, 0, 1].into(),
        });
    }
    address
}
