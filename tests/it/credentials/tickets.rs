//! A one-time ticket works once, on one path, for a limited time. Its token is looked up again.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{Request, Uri};
use opencode_auth::{
    AuthLayer, CredentialSources, Denial, MemoryTokenStore, NewToken, Permissions, Principal,
    StoreError, Tickets, Token,
};
use tower::ServiceExt as _;

use crate::support::{bearer, send};

const MINUTE: Duration = Duration::from_secs(60);
const PATH: &str = "/pty/1/connect";

struct Guarded {
    app: Router,
    store: MemoryTokenStore,
    tickets: Tickets,
    principal: Principal,
    token: Token,
}

/// An app, a token with these permissions, and the principal that a handler got for it.
async fn guarded(permissions: Permissions) -> Guarded {
    let (store, tickets) = (MemoryTokenStore::new(), Tickets::new());
    let token = store.create(NewToken::new().name("t").permissions(permissions)).unwrap().token;
    let seen = async |principal: Principal, OriginalUri(original): OriginalUri, uri: Uri| {
        assert_eq!(uri, original);
        format!("{:?} {uri}", principal.carrier())
    };
    let sources = CredentialSources::opencode().tickets(tickets.clone());
    let app = Router::new()
        .route(
            "/principal",
            axum::routing::get(async |principal: Principal| axum::Extension(principal)),
        )
        .fallback(seen)
        .layer(AuthLayer::new(store.clone()).credentials(sources));
    let principal = principal(&app, &token).await;
    Guarded { app, store, tickets, principal, token }
}

/// What a handler got for this token.
async fn principal(app: &Router, token: &Token) -> Principal {
    let response = app.clone().oneshot(bearer("GET", "/principal", token)).await.unwrap();
    response.extensions().get::<Principal>().cloned().unwrap()
}

fn handshake(uri: &str) -> Request<Body> {
    Request::get(uri)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .body(Body::empty())
        .unwrap()
}

impl Guarded {
    /// The principal of a second token.
    async fn another(&self, name: &str) -> Principal {
        let token = self.store.create(NewToken::new().name(name)).unwrap().token;
        principal(&self.app, &token).await
    }

    async fn redeem(&self, uri: &str) -> (u16, String) {
        let response = send(&self.app, handshake(uri)).await;
        if response.status == 403 {
            assert!(
                !response.headers.contains_key("www-authenticate"),
                "a browser would open a dialog"
            );
        }
        (response.status.as_u16(), response.body)
    }
}

fn at(path: &str, ticket: &str) -> String {
    format!("{path}?ticket={ticket}")
}

const INVALID: &str = concat!(
    r#"{"name":"ForbiddenError","_tag":"ForbiddenError","message":"The ticket is not valid: it is unknown, used, "#,
    r#"expired or for another path. Request a new one.","data":{"message":"The ticket is not valid: it is unknown, "#,
    r#"used, expired or for another path. Request a new one."}}"#,
);

#[tokio::test]
async fn a_ticket_is_good_once_and_is_removed() {
    let guarded = guarded(Permissions::ALL).await;
    let ticket = guarded.tickets.issue(&guarded.principal, PATH, MINUTE).unwrap();
    let text = ticket.expose_secret();
    assert!(
        text.len() == 22
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    );
    assert_eq!(format!("{ticket:?} {:?}", guarded.tickets), "Ticket(<secret>) Tickets { .. }");
    let uri = format!("{PATH}?cursor=0&ticket={text}&x=%2f");
    assert_eq!(guarded.redeem(&uri).await, (200, format!("Ticket {PATH}?cursor=0&x=%2f")));
    assert_eq!(guarded.redeem(&uri).await, (403, INVALID.to_owned()));
}

#[tokio::test]
async fn a_ticket_that_is_not_exactly_right_is_forbidden() {
    let guarded = guarded(Permissions::ALL).await;
    let issue = |path: &str, lifetime| {
        let ticket = guarded.tickets.issue(&guarded.principal, path, lifetime).unwrap();
        ticket.expose_secret().to_owned()
    };
    let (spent, good) = (issue(PATH, Duration::ZERO), issue(PATH, MINUTE));
    let token = guarded.token.expose_secret();
    for (case, uri) in [
        ("another path", at("/pty/2/connect", &good)),
        ("a path with a slash more", at(&format!("{PATH}/"), &good)),
        ("a path in another spelling", at("/pty/%31/connect", &good)),
        ("expired", at(PATH, &spent)),
        ("never issued", at(PATH, "AAAAAAAAAAAAAAAAAAAAAA")),
        ("a longer one", at(PATH, &format!("{good}A"))),
        ("a shorter one", at(PATH, &good[1..])),
        ("a token", at(PATH, token)),
        ("no text", at(PATH, "%ff")),
        ("twice", format!("{PATH}?ticket={good}&ticket={good}")),
    ] {
        assert_eq!(guarded.redeem(&uri).await, (403, INVALID.to_owned()), "{case}");
    }
    // Two credentials: with the token in the URL as well, neither counts.
    let both = format!("{PATH}?ticket={good}&auth_token={token}");
    assert_eq!(guarded.redeem(&both).await.0, 401);
    assert_eq!(guarded.redeem(&at(PATH, "")).await.0, 401, "an empty one is absent");
}

#[tokio::test]
async fn a_ticket_counts_for_handshakes_only() {
    let guarded = guarded(Permissions::ALL).await;
    let ticket = guarded.tickets.issue(&guarded.principal, PATH, MINUTE).unwrap();
    let uri = at(PATH, ticket.expose_secret());
    let plain = Request::get(&uri).body(Body::empty()).unwrap();
    assert_eq!(send(&guarded.app, plain).await.status, 401);
    for method in ["POST", "DELETE", "HEAD", "QUERY"] {
        let mut request = handshake(&uri);
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(send(&guarded.app, request).await.status, 401, "{method}");
    }
    // A parameter of that name is the host's own elsewhere.
    let bearer = format!("Bearer {}", guarded.token.expose_secret());
    let own = Request::get("/issues?ticket=7").header("authorization", bearer);
    let response = send(&guarded.app, own.body(Body::empty()).unwrap()).await;
    assert_eq!(response.body, "Bearer /issues?ticket=7");
    assert_eq!(guarded.redeem(&uri).await.0, 200, "it was not used up");
}

#[tokio::test]
async fn the_token_of_a_ticket_is_looked_up_again() {
    let guarded = guarded(Permissions::READ | Permissions::EXECUTE).await;
    let issue = || {
        let ticket = guarded.tickets.issue(&guarded.principal, PATH, MINUTE).unwrap();
        at(PATH, ticket.expose_secret())
    };
    let denial = async |uri: &str| {
        let response = guarded.app.clone().oneshot(handshake(uri)).await.unwrap();
        let denial = response.extensions().get::<Denial>().cloned();
        (response.status().as_u16(), denial.map(|denial| denial.kind()))
    };
    assert_eq!(denial(&issue()).await, (200, None));
    let uri = issue();
    guarded.store.fail_with(StoreError::new(std::io::Error::other("gone")));
    assert_eq!(denial(&uri).await, (503, Some("store_unavailable")));
    guarded.store.fail_with(None);
    let uri = issue();
    let _ = guarded.store.delete("t").unwrap();
    assert_eq!(denial(&uri).await, (401, Some("token_unknown")));
}

#[tokio::test]
async fn an_adopted_ticket_stays_for_the_handler() {
    let guarded = guarded(Permissions::ALL).await;
    guarded.tickets.adopt("the server's own/ticket", &guarded.principal, PATH, MINUTE);
    let uri = at(PATH, "the%20server's%20own%2Fticket");
    assert_eq!(guarded.redeem(&uri).await, (200, format!("Ticket {uri}")));
    assert_eq!(guarded.redeem(&uri).await.0, 403);
}

#[tokio::test]
async fn of_many_redemptions_at_once_exactly_one_wins() {
    let guarded = guarded(Permissions::ALL).await;
    for _ in 0..50 {
        let ticket = guarded.tickets.issue(&guarded.principal, PATH, MINUTE).unwrap();
        let uri = at(PATH, ticket.expose_secret());
        let barrier = std::sync::Barrier::new(4);
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (app, uri, barrier) = (guarded.app.clone(), &uri, &barrier);
                    scope.spawn(move || {
                        let runtime =
                            tokio::runtime::Builder::new_current_thread().build().unwrap();
                        barrier.wait();
                        runtime.block_on(app.oneshot(handshake(uri))).unwrap().status() == 200
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn there_are_ten_thousand_tickets_at_most_and_expired_ones_leave_first() {
    let guarded = guarded(Permissions::ALL).await;
    let issue = |lifetime| guarded.tickets.issue(&guarded.principal, PATH, lifetime).unwrap();
    let long = issue(10 * MINUTE);
    let first = issue(MINUTE);
    for _ in 0..20_000 {
        let _ = issue(Duration::ZERO);
    }
    assert_eq!(
        guarded.redeem(&at(PATH, first.expose_secret())).await.0,
        200,
        "expired ones left first"
    );
    let first = issue(MINUTE);
    let second = issue(2 * MINUTE);
    for _ in 0..10_000 - 2 {
        let _ = issue(3 * MINUTE);
    }
    // 10,001 were there: the one that would have expired first is gone.
    assert_eq!(guarded.redeem(&at(PATH, first.expose_secret())).await.0, 403);
    assert_eq!(guarded.redeem(&at(PATH, second.expose_secret())).await.0, 200);
    assert_eq!(guarded.redeem(&at(PATH, long.expose_secret())).await.0, 200);
}

#[tokio::test]
async fn a_token_with_many_tickets_pushes_out_none_of_another() {
    let guarded = guarded(Permissions::ALL).await;
    let other = guarded.another("other").await;
    let issue = |principal: &Principal, lifetime| {
        let ticket = guarded.tickets.issue(principal, PATH, lifetime).unwrap();
        at(PATH, ticket.expose_secret())
    };
    // Its tickets expire before those of the greedy token, and half of them came first.
    let mut theirs: Vec<_> = (0..50).map(|_| issue(&other, MINUTE)).collect();
    let first = issue(&guarded.principal, 2 * MINUTE);
    for _ in 0..15_000 {
        let _ = issue(&guarded.principal, 3 * MINUTE);
    }
    theirs.extend((0..50).map(|_| issue(&other, MINUTE)));
    let last = issue(&guarded.principal, 3 * MINUTE);
    for uri in &theirs {
        assert_eq!(guarded.redeem(uri).await.0, 200);
    }
    assert_eq!(guarded.redeem(&first).await.0, 403, "the greedy token lost its first");
    assert_eq!(guarded.redeem(&last).await.0, 200);

    // Redeemed and expired tickets no longer count for their token: two tokens share the places evenly.
    for _ in 0..20_000 {
        let _ = issue(&other, Duration::ZERO);
    }
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..6_000 {
        ours.push(issue(&guarded.principal, 5 * MINUTE));
        theirs.push(issue(&other, 4 * MINUTE));
    }
    for (name, uris) in [("ours", ours), ("theirs", theirs)] {
        let mut good = 0;
        for uri in &uris {
            good += usize::from(guarded.redeem(uri).await.0 == 200);
        }
        assert_eq!(good, 5_000, "{name}");
    }
}

#[tokio::test]
async fn the_longest_lifetime_is_no_mistake() {
    let guarded = guarded(Permissions::ALL).await;
    let ticket = guarded.tickets.issue(&guarded.principal, PATH, Duration::MAX).unwrap();
    let _ = guarded.tickets.issue(&guarded.principal, PATH, MINUTE).unwrap();
    assert_eq!(guarded.redeem(&at(PATH, ticket.expose_secret())).await.0, 200);
}

#[tokio::test]
async fn a_ticket_that_is_adopted_again_belongs_to_the_last_token() {
    let guarded = guarded(Permissions::ALL).await;
    let other = guarded.another("other").await;
    guarded.tickets.adopt("same", &other, "/elsewhere", Duration::from_millis(20));
    guarded.tickets.adopt("same", &guarded.principal, PATH, MINUTE);
    let _ = guarded.store.delete("other").unwrap();
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(guarded.redeem(&at("/elsewhere", "same")).await.0, 403);
    assert_eq!(guarded.redeem(&at(PATH, "same")).await.0, 200);
    assert_eq!(guarded.redeem(&at(PATH, "same")).await.0, 403);
}
