//! Routers whose handlers leave a mark, so that a test sees which route ran and not only the status.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderMap, Method};
use axum::routing::{any, get};
use opencode_auth::Permissions;

use crate::lenient;

/// What a handler saw.
#[derive(Clone, Debug)]
pub struct Mark {
    pub method: Method,
    pub interactive: bool,
    pub headers: HeaderMap,
}

impl Mark {
    /// What the request should have required. This is independent of the library.
    pub fn needed(&self) -> Permissions {
        let needed = match self.method.as_str() {
            "GET" | "HEAD" | "OPTIONS" => Permissions::READ,
            "POST" | "PUT" | "PATCH" | "DELETE" => Permissions::WRITE,
            _ => Permissions::ALL,
        };
        if self.interactive { needed | Permissions::EXECUTE } else { needed }
    }
}

/// Where handlers leave their marks.
#[derive(Clone, Default)]
pub struct Marks(Arc<Mutex<Vec<Mark>>>);

impl Marks {
    pub fn take(&self) -> Vec<Mark> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn leave(&self, request: &Request, interactive: bool) {
        self.0.lock().unwrap().push(Mark {
            method: request.method().clone(),
            interactive,
            headers: request.headers().clone(),
        });
    }
}

/// A router without its layer: interactive routes, harmless ones, and two that read the path as leniently as
/// any server.
pub fn routes(marks: &Marks) -> Router {
    interactive_routes(marks).merge(harmless_routes(marks)).fallback(reader(marks))
}

pub fn interactive_routes(marks: &Marks) -> Router {
    let mut router = Router::new();
    for prefix in lenient::INTERACTIVE {
        for path in ["", "/", "/{id}", "/{id}/message"] {
            router = router.route(&format!("/{prefix}{path}"), any(handler(marks, true)));
        }
    }
    router
}

pub fn harmless_routes(marks: &Marks) -> Router {
    Router::new()
        .route("/", any(handler(marks, false)))
        .route("/config", any(handler(marks, false)))
        .route("/global/health", get(handler(marks, false)))
        .route("/files/{*rest}", any(reader(marks)))
}

fn handler(
    marks: &Marks,
    interactive: bool,
) -> impl Fn(Request) -> Ready<&'static str> + Clone + Send + Sync + 'static {
    let marks = marks.clone();
    move |request| {
        marks.leave(&request, interactive);
        ready("reached")
    }
}

/// A handler that is interactive if any reader of the path would say so.
pub fn reader(
    marks: &Marks,
) -> impl Fn(OriginalUri, Request) -> Ready<&'static str> + Clone + Send + Sync + 'static {
    let marks = marks.clone();
    move |OriginalUri(original), request| {
        let paths = [request.uri().path(), original.path()];
        let interactive = paths.into_iter().any(lenient::is_interactive_to_some_reader);
        marks.leave(&request, interactive);
        ready("reached")
    }
}
