//! What can be asked for on the command line.
//!
//! The examples name `opencode auth token`; a host of another name can replace that in its
//! [`clap::Command`], as the binary `opencode-auth` does.

use clap_complete::Shell;

use crate::permission::Permissions;
use crate::record::Expiry;

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// Create a token, and print it this once
    #[command(after_help = "Examples:\n  \
        opencode auth token create --name laptop\n  \
        TOKEN=$(opencode auth token create --permissions read --expires 30d)")]
    Create(Create),
    /// List the tokens, without their secrets
    #[command(after_help = "Examples:\n  \
        opencode auth token list\n  \
        opencode auth token list --json | jq -r '.[].id'")]
    List(List),
    /// Delete tokens: servers refuse them from then on
    #[command(after_help = "Examples:\n  \
        opencode auth token delete laptop 3f9c0a1b2c3d\n  \
        opencode auth token delete --expired")]
    Delete(Delete),
    /// Give a token a new secret: the old one stops at once
    #[command(after_help = "Example:\n  TOKEN=$(opencode auth token rotate ci)")]
    Rotate(Rotate),
    /// Print the path of the file with the tokens
    #[command(after_help = "Example:\n  ls -l \"$(opencode auth token path)\"")]
    Path,
    /// Say what is wrong with the file, and change nothing
    #[command(after_help = "Example:\n  opencode auth token check")]
    Check,
    /// Print completions for a shell
    #[command(after_help = "Example:\n  source <(opencode auth token completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(clap::Args)]
pub(super) struct Create {
    /// A name for it, which no other token has
    #[arg(long)]
    pub(super) name: Option<String>,
    /// What it allows: any of read, write and execute, with
    /// commas between
    #[arg(long, value_name = "LIST", default_value_t = Permissions::ALL, verbatim_doc_comment)]
    pub(super) permissions: Permissions,
    /// When: 12h, 90d, 2w or 1y from now, on 2027-01-31, at
    /// a time as in RFC 3339, or never
    #[arg(long, value_name = "WHEN", default_value = DEFAULT_EXPIRY, verbatim_doc_comment)]
    pub(super) expires: Expiry,
    /// Print the token and its record as a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// [`Expiry::default`], as it is written.
const DEFAULT_EXPIRY: &str = "90d";

#[derive(clap::Args)]
pub(super) struct List {
    /// Print the records as a JSON array
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Delete {
    /// Ids, names, or at least 6 characters that an id begins with
    #[arg(value_name = "ID|NAME")]
    pub(super) keys: Vec<String>,
    /// Delete every token that is expired
    #[arg(long)]
    pub(super) expired: bool,
}

#[derive(clap::Args)]
pub(super) struct Rotate {
    /// Its id, its name, or at least 6 characters that the id begins with
    #[arg(value_name = "ID|NAME")]
    pub(super) key: String,
    /// Print the token and its record as a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_expiry_is_the_library_s() {
        assert_eq!(DEFAULT_EXPIRY.parse(), Ok(Expiry::default()));
    }
}
