//! The arguments of the commands.
//!
//! The examples name `opencode auth token`. [`name_examples`](crate::cli::name_examples) replaces that.

use clap::builder::{PossibleValue, TypedValueParser};
use clap_complete::Shell;

use crate::permission::Permissions;
use crate::record::Expiry;

/// The words of the examples that run the token commands.
pub(super) const EXAMPLE_COMMAND: &str = "opencode auth token";

#[derive(Clone, clap::Subcommand)]
pub(super) enum Action {
    /// Create a token and print it once
    #[command(after_help = "Examples:\n  \
        opencode auth token create --name laptop\n  \
        TOKEN=$(opencode auth token create --permissions read --expires 30d)")]
    Create(Create),
    /// List the tokens without their secrets
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  \
        opencode auth token list\n  \
        opencode auth token list --json | jq -r '.[].id'"
    )]
    List(List),
    /// Delete tokens: servers deny them at once
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  \
        opencode auth token delete laptop 3f9c0a1b2c3d\n  \
        opencode auth token delete --expired\n  \
        printf %s \"$TOKEN\" | opencode auth token delete -"
    )]
    Delete(Delete),
    /// Give a token a new secret: the old one stops working at once
    #[command(after_help = "Examples:\n  \
        TOKEN=$(opencode auth token rotate ci)\n  \
        TOKEN=$(opencode auth token rotate ci --expires 30d)")]
    Rotate(Rotate),
    /// Say which token standard input holds
    #[command(after_help = "Example:\n  \
        printf %s \"$TOKEN\" | opencode auth token identify")]
    Identify(Identify),
    /// Print the path of the token file
    #[command(after_help = "Example:\n  ls -l \"$(opencode auth token path)\"")]
    Path,
    /// Check the token file without changing it
    #[command(after_help = "Example:\n  opencode auth token check")]
    Check,
    /// Create the tables of a store in PostgreSQL
    #[command(after_help = "Examples:\n  \
        opencode auth token init --store postgres://me@db.example.org/opencode\n  \
        opencode auth token init --print")]
    Init(Init),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  source <(opencode auth token completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Clone, clap::Args)]
pub(super) struct Init {
    /// Print the statements and run nothing
    #[arg(long)]
    pub(super) print: bool,
}

#[derive(Clone, clap::Args)]
pub(super) struct Create {
    /// A name that no other token has
    #[arg(long)]
    pub(super) name: Option<String>,
    /// What the token allows: read, write and execute,
    /// separated by commas
    #[arg(
        long,
        value_name = "LIST",
        default_value_t = Permissions::ALL,
        value_parser = PermissionsParser,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub(super) permissions: Permissions,
    /// When it expires: 12h, 90d, 2w or 1y from now,
    /// 2027-01-31, a time in the form of RFC 3339,
    /// or never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = DEFAULT_EXPIRY,
        value_parser = parse_expiry,
        verbatim_doc_comment
    )]
    pub(super) expires: Expiry,
    /// Print the token and its record as a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// [`Expiry::default`] as text.
const DEFAULT_EXPIRY: &str = "90d";

#[derive(Clone, clap::Args)]
pub(super) struct List {
    /// Print the records as a JSON array
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Delete {
    /// Ids, names, or the first 6 or more characters of ids;
    /// - reads a token from standard input
    #[arg(value_name = "ID|NAME", verbatim_doc_comment)]
    pub(super) ids_or_names: Vec<String>,
    /// Delete every expired token
    #[arg(long)]
    pub(super) expired: bool,
}

#[derive(Clone, clap::Args)]
pub(super) struct Rotate {
    /// The id, the name, or the first 6 or more characters
    /// of the id; - reads a token from standard input
    #[arg(value_name = "ID|NAME", verbatim_doc_comment)]
    pub(super) id_or_name: String,
    /// When the new secret expires, as for create. Without it
    /// a date stays, and a lifetime starts again
    #[arg(long, value_name = "WHEN", value_parser = parse_expiry, verbatim_doc_comment)]
    pub(super) expires: Option<Expiry>,
    /// Print the token and its record as a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, clap::Args)]
pub(super) struct Identify {
    /// Print the record as a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn parse_expiry(text: &str) -> Result<Expiry, String> {
    text.parse().map_err(|error: crate::record::ParseExpiryError| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            format!("the unit is missing: give {text}d for days, {text}h for hours, or {text}w for weeks")
        } else {
            error.to_string()
        }
    })
}

/// Parses [`Permissions`], and tells completions which values there are.
#[derive(Clone)]
struct PermissionsParser;

impl TypedValueParser for PermissionsParser {
    type Value = Permissions;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Permissions, clap::Error> {
        let parse = |text: &str| text.parse::<Permissions>();
        TypedValueParser::parse_ref(&parse, command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = ["read", "read,write", "read,write,execute", "write", "execute"];
        Some(Box::new(values.into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_expiry_is_the_library_s() {
        assert_eq!(DEFAULT_EXPIRY.parse(), Ok(Expiry::default()));
    }
}
