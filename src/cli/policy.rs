//! The policy commands: what a policy requires, and whether it fits a server.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use axum::http::{Method, Request, Uri};
use clap::{Subcommand, ValueEnum, ValueHint};

use crate::cli::{exit::Exit, output};
use crate::permission::Permissions;
use crate::policy::{OpenApi, Operation, Policy, Route, Rule, method_in_capitals};
use crate::redact::{escape, redact};
use crate::shell;

/// The words of the examples that run the policy commands.
pub(super) const EXAMPLE_COMMAND: &str = "opencode-auth policy";

/// The most that is read of a document or of a list of routes.
const LARGEST_INPUT: u64 = 64 << 20;

/// The policy commands and their arguments, as parsed from a command line.
///
/// Use it as [`TokenCommand`](crate::cli::TokenCommand) is used. The examples in its help name
/// `opencode-auth policy`; [`name_examples`](crate::cli::name_examples) replaces that.
#[derive(Clone, clap::Args)]
#[command(
    about = "Show what requests require, and compare that with a server",
    long_about = None,
    after_help = "Without a command, it prints the policy's operations.\n\n\
        Examples:\n  \
        opencode-auth policy\n  \
        opencode-auth policy explain POST /session/ses_1/message\n  \
        opencode-auth policy --policy default --mount /api/v1 audit < routes.txt\n\n\
        Exit codes:\n  \
        0  the command succeeded\n  \
        1  it failed, or check found a difference\n  \
        2  wrong usage"
)]
pub struct PolicyCommand {
    /// The policy
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help = "The policy: opencode, opencode-v2, default or by-method"
    )]
    policy: Name,
    /// The path under which the API is served
    #[arg(long, global = true, value_name = "PATH")]
    mount: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Name {
    #[default]
    Opencode,
    OpencodeV2,
    Default,
    ByMethod,
}

#[derive(Clone, Subcommand)]
enum Action {
    /// Say what one request requires, and by which rule
    #[command(after_help = "Example:\n  opencode-auth policy explain POST /session/ses_1/message")]
    Explain {
        /// The method, in capitals
        #[arg(value_parser = parse_method)]
        method: Method,
        /// The path, with the mount
        #[arg(value_parser = parse_path)]
        path: Uri,
    },
    /// Compare the policy with an OpenAPI document
    #[command(after_help = "Examples:\n  \
        opencode-auth policy check --audited-for 1.18 openapi.json\n  \
        curl -s http://127.0.0.1:4096/doc | opencode-auth policy check -")]
    Check {
        /// The document, in JSON; - is standard input
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Expect only the operations of this opencode version: 1.18 or 2.0
        #[arg(long, value_name = "VERSION", value_parser = ["1.18", "2.0"])]
        audited_for: Option<String>,
    },
    /// Say what each route on standard input requires
    #[command(
        after_help = "A line is a method and a path, as in `POST /hooks/{name}`. A line that begins\n\
        with # does not count.\n\n\
        Example:\n  \
        opencode-auth policy audit --policy default --mount /api/v1 < routes.txt"
    )]
    Audit,
}

impl PolicyCommand {
    /// Runs the command, prints its output, and returns how it ended.
    pub fn run(&self) -> Exit {
        let policy = self.policy();
        let ended = match &self.action {
            None => output::print(self.table(&policy)).map(|()| Exit::Done),
            Some(Action::Explain { method, path }) => {
                output::print(explain(&policy, method, path)).map(|()| Exit::Done)
            }
            Some(Action::Check { file, audited_for }) => {
                check(&policy, file, audited_for.as_deref())
            }
            Some(Action::Audit) => audit(&policy),
        };
        ended.unwrap_or_else(|failure| {
            output::error(failure);
            Exit::Failed
        })
    }

    fn policy(&self) -> Policy {
        let policy = match self.policy {
            Name::Opencode => Policy::opencode(),
            Name::OpencodeV2 => Policy::opencode_v2().into(),
            Name::Default => Policy::default(),
            Name::ByMethod => Policy::by_method(),
        };
        match &self.mount {
            Some(mount) => policy.mount(mount),
            None => policy,
        }
    }

    fn table(&self, policy: &Policy) -> String {
        match self.policy {
            Name::Opencode | Name::OpencodeV2 => operations(policy),
            Name::Default => format!("{METHODS}{PREFIXES}{EVERYTHING_ELSE}"),
            Name::ByMethod => format!("{METHODS}{EVERYTHING_ELSE}"),
        }
    }
}

impl fmt::Debug for PolicyCommand {
    /// Omits the arguments, because a user may have typed a token in a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyCommand").finish_non_exhaustive()
    }
}

const METHODS: &str = "\
read: every GET, HEAD and OPTIONS
write: every POST, PUT, PATCH and DELETE
";
const PREFIXES: &str = "\
execute in addition: everything under /pty, /session, /message, /api/pty, /api/session and /api/message
";
const EVERYTHING_ELSE: &str = "read,write,execute: every other request\n";

/// The operations, grouped by what they require.
fn operations(policy: &Policy) -> String {
    let all: Vec<(&Operation, Route)> = policy.operations().zip(policy.routes()).collect();
    let mut text = String::new();
    for required in [
        Permissions::READ,
        Permissions::WRITE,
        Permissions::READ | Permissions::EXECUTE,
        Permissions::WRITE | Permissions::EXECUTE,
        Permissions::ALL,
    ] {
        let group: Vec<_> = all.iter().filter(|(one, _)| one.required() == required).collect();
        let width = group.iter().map(|(_, route)| route.path().len()).max().unwrap_or_default();
        let _ = writeln!(text, "{required}: {} operations", group.len());
        for (operation, route) in group {
            let (method, path) = (route.method().as_str(), route.path());
            let _ = writeln!(text, "  {method:6}  {path:width$}  {operation}");
        }
        text.push('\n');
    }
    text + EVERYTHING_ELSE
}

fn explain(policy: &Policy, method: &Method, path: &Uri) -> String {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.clone();
    let decision = policy.decide(&request);
    let path = escape(redact(path.path()));
    let mut text = format!("{method} {path} requires {}.\n", decision.requirement);
    let _ = writeln!(text, "  rule          {decision}");
    if let Rule::Operation(operation) = decision.rule {
        let experimental = if operation.is_experimental() { "yes" } else { "no" };
        let _ = write!(
            text,
            "  operation     {} {}\n  audited for   opencode {}\n  experimental  {experimental}\n",
            operation.method(),
            operation.path(),
            operation.audited_for().join(" and "),
        );
    }
    text
}

fn check(policy: &Policy, file: &Path, audited_for: Option<&str>) -> Result<Exit, String> {
    let document = if file == Path::new("-") {
        read(io::stdin().lock()).map_err(|error| format!("failed to read standard input: {error}"))
    } else {
        File::open(file).and_then(read).map_err(|error| {
            format!("failed to read the file `{}`: {error}", shell::escape_path(file))
        })
    }?;
    let document = OpenApi::parse(document).map_err(|error| error.to_string())?;
    let mut drift = policy.drift(&document);
    if let Some(version) = audited_for {
        drift.missing.retain(|operation| operation.audited_for().contains(&version));
    }
    if drift.is_empty() {
        output::print(format!(
            "No difference: the policy knows the {} operations of the document.\n",
            document.routes().len()
        ))?;
        return Ok(Exit::Done);
    }
    output::print(drift.to_string())?;
    Ok(Exit::Failed)
}

fn audit(policy: &Policy) -> Result<Exit, String> {
    let text = read(io::stdin().lock())
        .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
        .map_err(|error| format!("failed to read standard input: {error}"))?;
    let mut audits = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let route: Route = line.parse().map_err(|error| format!("line {}: {error}", number + 1))?;
        audits.push(policy.audit(&route));
    }
    let width = |of: fn(&Route) -> &str| {
        audits.iter().map(|audit| of(&audit.route).chars().count()).max().unwrap_or_default()
    };
    let (methods, paths) = (width(|route| route.method().as_str()), width(Route::path));
    let mut text = String::new();
    for audit in &audits {
        let (method, path) = (audit.route.method().as_str(), escape(audit.route.path()));
        let (required, rule) = (audit.decision.requirement.to_string(), &audit.decision);
        let _ = writeln!(text, "{method:methods$}  {path:paths$}  {required:18}  {rule}");
        if let Some(word) = &audit.warning {
            let _ = writeln!(text, "  warning: `{word}` may run code, and execute is not required");
        }
    }
    output::print(text)?;
    Ok(Exit::Done)
}

fn parse_method(text: &str) -> Result<Method, String> {
    match method_in_capitals(text) {
        Some(meant) => Err(format!("methods are case-sensitive: did you mean {meant}?")),
        None => text.parse().map_err(|_| "it is not an HTTP method".to_owned()),
    }
}

fn parse_path(text: &str) -> Result<Uri, String> {
    if !text.starts_with('/') {
        return Err("a path begins with a slash".to_owned());
    }
    text.parse().map_err(|error| format!("{error}"))
}

fn read(input: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    input.take(LARGEST_INPUT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_INPUT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    Ok(text)
}
