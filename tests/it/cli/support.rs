//! A home directory to run the binary in, and what the binary printed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use opencode_auth::{FileTokenStore, Token, TokenRecord};
use snapbox::{Assert, Redactions, assert::DEFAULT_ACTION_ENV};
use tempfile::TempDir;
use time::{Duration, UtcDateTime};

pub const BINARY: &str = env!("CARGO_BIN_EXE_opencode-auth");

/// Somebody's home, with nothing in it.
pub struct Home {
    directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("home-").tempdir().unwrap();
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn store_path(&self) -> PathBuf {
        self.path().join(".config/opencode/auth-tokens.json")
    }

    pub fn store_directory(&self) -> PathBuf {
        self.path().join(".config/opencode")
    }

    /// Writes a store with these tokens, each a JSON object.
    pub fn with_tokens(tokens: &[String]) -> Self {
        let home = Self::new();
        home.write(&format!("{{\"version\": 1, \"tokens\": [{}]}}", tokens.join(",\n")));
        home
    }

    pub fn write(&self, content: &str) {
        fs::create_dir_all(self.store_directory()).unwrap();
        fs::write(self.store_path(), content).unwrap();
        set_mode(&self.store_path(), 0o600);
    }

    pub fn store(&self) -> FileTokenStore {
        FileTokenStore::open(self.store_path()).unwrap()
    }

    #[track_caller]
    pub fn records(&self) -> Vec<TokenRecord> {
        self.store().list().unwrap()
    }

    /// Whether a server would find the token.
    #[track_caller]
    pub fn knows(&self, token: &str) -> bool {
        let token: Token = token.parse().unwrap();
        crate::support::store::accepts(&self.store(), &token)
    }

    /// `opencode-auth token <arguments>`, without this process's environment.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = self.program(BINARY);
        command.arg("token").args(arguments);
        command
    }

    /// Another program, such as a shell, in which `opencode-auth` can be found.
    pub fn program(&self, program: &str) -> Command {
        let binaries = Path::new(BINARY).parent().unwrap().display();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", format!("{binaries}:{}", std::env::var("PATH").unwrap_or_default()))
            .env("TERM", "xterm-256color")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    /// Creates a token and returns its text.
    #[track_caller]
    pub fn create(&self, arguments: &[&str]) -> String {
        let outcome = self.run(&[&["create"], arguments].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        outcome.stdout.trim_end().to_owned()
    }
}

/// What a program wrote, and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// Compares the exit code and both streams. Tokens, ids, times and the home are redacted.
    #[track_caller]
    pub fn is(
        &self,
        code: i32,
        stdout: impl snapbox::IntoData,
        stderr: impl snapbox::IntoData,
    ) -> &Self {
        let assert = Assert::new().action_env(DEFAULT_ACTION_ENV).redact_with(redactions());
        assert.eq(self.stderr.clone(), stderr);
        assert.eq(self.stdout.clone(), stdout);
        assert_eq!(self.code, code, "{}", self.stderr);
        self
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn redactions() -> Redactions {
    let mut redactions = Redactions::new();
    for (placeholder, pattern) in [
        ("[TOKEN]", "oct_[A-Za-z0-9_-]{28}"),
        ("[ID]", r#"(^|[ \n"'`])(?<redacted>[0-9a-f]{12})\b"#),
        ("[HOME]", "/[A-Za-z0-9_./-]*/home-[A-Za-z0-9]+"),
        ("[TIME]", r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| UTC)"),
        ("[TODAY]", r"  (?<redacted>20\d\d-\d\d-\d\d)  "),
    ] {
        let pattern = regex::Regex::new(pattern).unwrap();
        redactions.insert(placeholder, pattern).unwrap();
    }
    redactions
}

/// A token of a store's file: its id and digest are made of `digit`, and it expires so long from now.
pub fn token(digit: char, name: &str, expires_in: Option<Duration>) -> String {
    let repeated = |times| digit.to_string().repeat(times);
    let expires_at = expires_in.map_or("null".to_owned(), |in_| format!("\"{}\"", stamp(in_)));
    format!(
        r#"{{"id": "{}", "name": "{name}", "digest": "sha256:{}", "permissions": ["read","write","execute"], "created_at": "{}", "expires_at": {expires_at}}}"#,
        repeated(12),
        repeated(64),
        stamp(Duration::days(-90)),
    )
}

fn stamp(from_now: Duration) -> String {
    let time = UtcDateTime::now() + from_now;
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.format(form).unwrap()
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The write end of a pipe that nobody reads.
pub fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A device that is always full. Without one, `None` and a message.
pub fn full_device() -> Option<Stdio> {
    match fs::OpenOptions::new().write(true).open("/dev/full") {
        Ok(file) => Some(file.into()),
        Err(error) => {
            eprintln!("skipped: /dev/full: {error}");
            None
        }
    }
}

/// Whether a program can be run here, with a word about it if not.
pub fn can_run(program: &str, arguments: &[&str]) -> bool {
    let works = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: {program} {} does not work here", arguments.join(" "));
    }
    works
}
