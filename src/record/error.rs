use std::fmt;

use crate::record::name::NameError;
use crate::token::RandomError;

/// A token cannot be created as described. Nothing was created and nothing was written.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NewTokenError {
    /// The name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The set of permissions is empty, so the token would allow nothing.
    #[error("a token needs at least one of the permissions read, write and execute")]
    NoPermissions,
    /// The token would be expired from the start.
    #[error("the expiry must be in the future")]
    ExpiryInThePast,
    /// A time is outside the years 0 to 9999, which the file format cannot express.
    #[error("the expiry is beyond the year 9999: use never instead")]
    TimeOutOfRange,
    /// The operating system provided no random bits.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl fmt::Debug for NewTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Name(error) => return fmt::Debug::fmt(error, f),
            Self::Random(error) => return fmt::Debug::fmt(error, f),
            Self::NoPermissions => "NoPermissions",
            Self::ExpiryInThePast => "ExpiryInThePast",
            Self::TimeOutOfRange => "TimeOutOfRange",
        };
        write!(f, "{self} [{variant}]")
    }
}
