//! The layer around services of all kinds.

use axum::Router;
use axum::routing::get;
use opencode_auth::{AuthLayer, Permissions, Principal};

use crate::support::{bearer, permission_sets, request, send, store_with};

fn app(store: opencode_auth::MemoryTokenStore) -> Router {
    Router::new()
        .route("/config", get(|principal: Principal| async move { principal.id().to_string() }))
        .fallback(|| async { "fallback" })
        .layer(AuthLayer::new(store))
}

#[tokio::test]
async fn a_valid_token_passes_and_the_handler_sees_the_principal() {
    let (store, token) = store_with(Permissions::READ);
    let app = app(store.clone());
    let answer = send(&app, bearer("GET", "/config", &token)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, store.list()[0].id().to_string());
}

#[tokio::test]
async fn every_set_of_permissions_opens_what_it_holds() {
    for permissions in permission_sets().filter(|permissions| !permissions.is_empty()) {
        let (store, token) = store_with(permissions);
        let status = send(&app(store), bearer("GET", "/config", &token)).await.status;
        assert_eq!(status == 200, permissions.contains(Permissions::READ), "{permissions}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_inside_is_reached() {
    let (store, _token) = store_with(Permissions::ALL);
    let app = app(store);
    for path in ["/config", "/nowhere", "/"] {
        let answer = send(&app, request("GET", path)).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="opencode""#));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}
