use std::process::{ExitCode, Termination};

/// How a command ended. Return it from `main`. Usage errors (exit code 2) are reported by clap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[must_use]
pub enum Exit {
    /// 0: the command succeeded.
    Done,
    /// 1: the command failed, changed nothing, and printed an error. Or `check` found a problem.
    Failed,
    /// 3: the change was made, but the disk did not confirm it, so a power cut may undo it.
    NotDurable,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotDurable => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}
