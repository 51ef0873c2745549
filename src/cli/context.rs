/// What a host tells the token commands about itself. The commands use it in their hints.
///
/// ```
/// use opencode_auth::cli::Context;
///
/// let context = Context::new().url("http://127.0.0.1:8080/api/v1/config");
/// # let _ = context;
/// ```
#[derive(Clone, Debug)]
#[must_use = "pass it to `TokenCommand::run_with`"]
pub struct Context {
    pub(super) url: String,
    pub(super) command: Option<String>,
}

impl Context {
    /// An opencode server at its default address. Hints name the commands as the program has them.
    pub fn new() -> Self {
        Self { url: "http://127.0.0.1:4096/config".to_owned(), command: None }
    }

    /// A URL of the host that a token can read. `create` and `rotate` show how to request it with curl.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// The words that run the token commands, if they differ from those of the clap command, such as
    /// `my-wrapper token`.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}
