//! The routes of an OpenAPI document.

use std::fmt;
use std::marker::PhantomData;

use axum::http::Method;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::pattern::{Routes, Segment};
use super::route::Route;

/// The routes of an OpenAPI document, version 3.0 or 3.1, in JSON.
///
/// Compare it with a policy ([`Policy::drift`](crate::Policy::drift)). It never changes one.
///
/// Only the methods and paths are read. `{id}` is one segment. `*` as the last segment, which OpenAPI does not
/// have and opencode writes, is `{*rest}`. The prefix in `servers` is not read: if your router serves
/// the API under a prefix, the paths of the document must have it.
#[derive(Clone, Debug)]
pub struct OpenApi {
    routes: Routes<Route>,
    not_understood: Vec<String>,
}

impl OpenApi {
    /// Reads a document. Limit its size yourself: this uses memory in proportion to it.
    ///
    /// # Errors
    ///
    /// If the text is not JSON, not OpenAPI 3, or has no `paths`, or if a path does not begin with a slash.
    pub fn parse(json: impl AsRef<[u8]>) -> Result<Self, OpenApiError> {
        let document: Entries<&RawValue> = serde_json::from_slice(json.as_ref())?;
        let field = |name| document.0.iter().filter(move |(key, _)| key == name);
        let (_, version) = field("openapi").next().ok_or(OpenApiError::Version(None))?;
        let version: String = serde_json::from_str(version.get())?;
        if !version.starts_with("3.") {
            return Err(OpenApiError::Version(Some(version)));
        }
        let mut read = Self { routes: Routes::default(), not_understood: Vec::new() };
        let mut paths = field("paths").peekable();
        paths.peek().ok_or(OpenApiError::NoPaths)?;
        for (_, paths) in paths {
            let paths: Entries<&RawValue> = serde_json::from_str(paths.get())?;
            for (path, item) in paths.0 {
                if path.starts_with('/') {
                    read.add(&path, item)?;
                } else if !path.starts_with("x-") {
                    return Err(OpenApiError::Path(path));
                }
            }
        }
        Ok(read)
    }

    /// The routes, in the order of the document.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        self.routes.values()
    }

    /// What may be a route and could not be read, with the reason: `$ref` in place of a path's operations,
    /// a parameter that is part of a segment, a method that OpenAPI 3.0 and 3.1 do not have.
    #[must_use]
    pub fn not_understood(&self) -> &[String] {
        &self.not_understood
    }

    /// A document's route for `GET` serves `HEAD` too.
    pub(super) fn contains(&self, method: &Method, segments: &[Segment]) -> bool {
        self.routes.contains(method, segments)
    }

    fn add(&mut self, path: &str, item: &RawValue) -> Result<(), OpenApiError> {
        let item: Entries<IgnoredAny> = serde_json::from_str(item.get())
            .map_err(|_| OpenApiError::PathItem(path.to_owned()))?;
        for (field, _) in item.0 {
            let method = match &*field {
                "get" => Method::GET,
                "put" => Method::PUT,
                "post" => Method::POST,
                "delete" => Method::DELETE,
                "options" => Method::OPTIONS,
                "head" => Method::HEAD,
                "patch" => Method::PATCH,
                "trace" => Method::TRACE,
                "summary" | "description" | "servers" | "parameters" => continue,
                _ if field.starts_with("x-") => continue,
                _ => {
                    let (field, path) = (field.escape_debug(), path.escape_debug());
                    self.not_understood.push(format!("`{field}` of `{path}`"));
                    continue;
                }
            };
            let route = pattern(path)
                .map_err(|reason| format!("`{method} {}`: {reason}", path.escape_debug()))
                .and_then(|path| {
                    Route::new(method.clone(), &path)
                        .map_err(|error| format!("`{method} {}`: {error}", path.escape_debug()))
                });
            match route {
                // Two paths that differ in the names of parameters are one route.
                Ok(route) => {
                    let segments = route.segments().to_vec();
                    let _ = self.routes.insert(&method, &segments, route);
                }
                Err(reason) => self.not_understood.push(reason),
            }
        }
        Ok(())
    }
}

/// A path of a document in the notation of axum.
fn pattern(path: &str) -> Result<String, &'static str> {
    if path.contains("{{") || path.contains("}}") {
        return Err("a brace has no partner");
    }
    let path = match path.strip_suffix("/*") {
        Some(start) => format!("{start}/{{*rest}}"),
        None => path.to_owned(),
    };
    if path.replace("{*", "").contains('*') {
        return Err("a wildcard is not the last segment");
    }
    Ok(path)
}

/// Why a text is not an OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenApiError {
    /// The text is not JSON, or breaks off.
    #[error("failed to read the OpenAPI document: it is not JSON: {0}")]
    NotJson(String),
    /// The text is JSON and not an OpenAPI document.
    #[error("failed to read the OpenAPI document: {0}")]
    Structure(String),
    /// The document has another version than 3, or none.
    #[error(
        "failed to read the OpenAPI document: {}; give one of version 3.0 or 3.1",
        match .0 {
            Some(version) => format!("its version is `{}`", version.escape_debug()),
            None => "it has no field `openapi`".to_owned(),
        }
    )]
    Version(Option<String>),
    /// The document has no `paths`.
    #[error("failed to read the OpenAPI document: it has no field `paths`")]
    NoPaths,
    /// A path does not begin with a slash.
    #[error(
        "failed to read the OpenAPI document: the path `{}` does not begin with a slash",
        .0.escape_debug()
    )]
    Path(String),
    /// The operations of a path are not an object.
    #[error("failed to read the OpenAPI document: the path `{}` is not an object", .0.escape_debug())]
    PathItem(String),
}

impl From<serde_json::Error> for OpenApiError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() {
            Self::Structure(error.to_string())
        } else {
            Self::NotJson(error.to_string())
        }
    }
}

/// The entries of an object. Unlike a map, it has both values of a key that comes twice.
struct Entries<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}
