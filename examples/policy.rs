//! Shows what `Policy::opencode()` asks for: of every operation, or of one request.
//!
//! ```text
//! cargo run --example policy
//! cargo run --example policy -- POST /session/ses_1/message
//! ```

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use axum::http::{Method, Request, Uri};
use opencode_auth::{Permissions, Policy, Requirement};

const USAGE: &str = "\
usage: policy                  every operation of the opencode server, and what it needs
       policy METHOD PATH      what one request needs, and by which rule";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let policy = Policy::opencode();
    let answer = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(table(&policy)),
        [method, path] => decision(&policy, method, path),
        _ => Err(USAGE.to_owned()),
    };
    match answer {
        Ok(text) => {
            // Whoever reads only the first lines closes the pipe, which is no failure.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(text) => {
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(2)
        }
    }
}

/// The operations, those that need the same together.
fn table(policy: &Policy) -> String {
    let mut text = String::new();
    for needs in [
        Permissions::READ,
        Permissions::WRITE,
        Permissions::READ | Permissions::EXECUTE,
        Permissions::WRITE | Permissions::EXECUTE,
    ] {
        let operations: Vec<_> =
            policy.operations().iter().filter(|operation| operation.required() == needs).collect();
        let width =
            operations.iter().map(|operation| operation.path().len()).max().unwrap_or_default();
        let _ = writeln!(text, "{needs}: {} operations", operations.len());
        for operation in operations {
            let (method, path) = (operation.method().as_str(), operation.path());
            let _ = writeln!(text, "  {method:6}  {path:width$}  {operation}");
        }
        text.push('\n');
    }
    text.push_str("read,write,execute: every other request\n");
    text
}

fn decision(policy: &Policy, method: &str, path: &str) -> Result<String, String> {
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| format!("`{}` is not an HTTP method\n\n{USAGE}", method.escape_debug()))?;
    if !path.starts_with('/') {
        return Err(format!("`{}` does not begin with a slash\n\n{USAGE}", path.escape_debug()));
    }
    let uri = Uri::try_from(path).map_err(|error| {
        format!("`{}` is not a request's path: {error}\n\n{USAGE}", path.escape_debug())
    })?;
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    let decision = policy.decide(&request);
    let needs = match decision.requirement {
        Requirement::Permissions(needs) => needs.to_string(),
        _ => "no token".to_owned(),
    };
    Ok(format!("{method} {path} needs {needs} ({decision})"))
}
