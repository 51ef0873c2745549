/// What `check` says about a store, one finding to a line.
pub(super) struct Findings {
    pub(super) text: String,
    pub(super) is_fine: bool,
}

impl Findings {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), is_fine: true }
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn wrong(&mut self, what: &str) {
        self.is_fine = false;
        self.line(&format!("Wrong: {what}"));
    }

    /// Says how many tokens there are, and how to delete the expired ones.
    pub(super) fn count(&mut self, tokens: usize, expired: usize, program: &str) {
        self.line(&match (tokens, expired) {
            (0, _) => "It has no tokens.".to_owned(),
            (1, 0) => "It has 1 token, none expired.".to_owned(),
            (1, _) => "It has 1 token, which is expired.".to_owned(),
            (_, 0) => format!("It has {tokens} tokens, none expired."),
            _ => format!("It has {tokens} tokens, {expired} of them expired."),
        });
        if expired > 0 {
            self.line(&format!("Delete the expired tokens with: {program} delete --expired"));
        }
    }
}
