//! Two stores as one.

use crate::store::{Lookup, LookupResult, TokenStore};
use crate::token::TokenDigest;

/// Two stores as one: the first that knows the token decides.
///
/// If neither knows it and one of them could not tell, the pair could not tell. Three stores are
/// `(a, (b, c))`.
///
/// ```
/// use opencode_auth::{AuthLayer, FileTokenStore, MemoryTokenStore, NewToken};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("auth-tokens.json");
/// let users = FileTokenStore::open(path)?;
/// // A token for the server's own client. It works until the process ends.
/// let own = MemoryTokenStore::new();
/// let token = own.create(NewToken::new().name("own client"))?.token;
/// let layer = AuthLayer::new((own, users));
/// # let _ = (layer, token);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
impl<A: TokenStore, B: TokenStore> TokenStore for (A, B) {
    fn find(&self, digest: &TokenDigest) -> Lookup {
        let first = match self.0.find(digest) {
            found @ Lookup::Ready(Ok(Some(_))) => return found,
            Lookup::Ready(Ok(None)) => return self.1.find(digest),
            first @ (Lookup::Ready(Err(_)) | Lookup::Pending(_)) => first,
        };
        match (first, self.1.find(digest)) {
            (Lookup::Ready(first), Lookup::Ready(second)) => Lookup::Ready(combine(first, second)),
            (first, second) => Lookup::pending(async {
                let first = first.wait().await;
                if let Ok(Some(_)) = first {
                    return first;
                }
                combine(first, second.wait().await)
            }),
        }
    }
}

/// A record wins over an error, and an error over "no such token".
fn combine(first: LookupResult, second: LookupResult) -> LookupResult {
    match (first, second) {
        (Ok(Some(record)), _) | (_, Ok(Some(record))) => Ok(Some(record)),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(None), Ok(None)) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;
    use crate::record::NewToken;
    use crate::store::{MemoryTokenStore, StoreError};

    /// A store whose look-ups are pending at first.
    struct Slow(MemoryTokenStore);

    impl TokenStore for Slow {
        fn find(&self, digest: &TokenDigest) -> Lookup {
            let lookup = self.0.find(digest);
            Lookup::pending(lookup.wait())
        }
    }

    fn result(lookup: Lookup) -> LookupResult {
        match std::pin::pin!(lookup.wait()).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => panic!("it never has to be waited for twice"),
        }
    }

    #[test]
    fn first_store_that_knows_the_token_decides_and_doubt_is_no_denial() {
        let created =
            |store: &MemoryTokenStore| store.create(NewToken::new()).unwrap().token.digest();
        for (first, second, expected) in [
            ("knows", "knows", "record"),
            ("knows", "fails", "record"),
            ("knows", "empty", "record"),
            ("fails", "knows", "record"),
            ("empty", "knows", "record"),
            ("fails", "fails", "first"),
            ("fails", "empty", "first"),
            ("empty", "fails", "second"),
            ("empty", "empty", "none"),
        ] {
            let known = MemoryTokenStore::new();
            let digest = created(&known);
            let store = |kind, name: &'static str| match kind {
                "knows" => known.clone(),
                "fails" => {
                    let store = MemoryTokenStore::new();
                    store.fail_with(StoreError::new(std::io::Error::other(name)));
                    store
                }
                _ => MemoryTokenStore::new(),
            };
            let [a, b] = [store(first, "first"), store(second, "second")];
            let lookups = [
                (a.clone(), b.clone()).find(&digest),
                (Slow(a.clone()), b.clone()).find(&digest),
                (a.clone(), Slow(b.clone())).find(&digest),
                (Slow(a), Slow(b)).find(&digest),
            ];
            for lookup in lookups {
                let found = match result(lookup) {
                    Ok(Some(_)) => "record".to_owned(),
                    Ok(None) => "none".to_owned(),
                    Err(error) => error.to_string(),
                };
                assert_eq!(found, expected, "{first}, {second}");
            }
        }
    }
}
