use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcDateTime};

use crate::record::error::NewTokenError;
use crate::timestamp;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// When a token expires. The default is 90 days after its creation.
///
/// As text ([`FromStr`]): `12h`, `90d`, `2w` or `1y` (365 days) from now, `never`, a date such as
/// `2027-01-31` (its first second in UTC), or a date and time in the form of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The token works until it is deleted.
    Never,
    /// The token works for this long. A rotation starts the time again. Fractions of a second are dropped.
    After(Duration),
    /// The token works until this time. A rotation does not change it. Fractions of a second are dropped.
    At(UtcDateTime),
}

impl Expiry {
    /// The token works for this many days of 24 hours.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self::After(Duration::from_secs(days as u64 * DAY))
    }

    /// The token works for this many hours.
    #[must_use]
    pub const fn hours(hours: u32) -> Self {
        Self::After(Duration::from_secs(hours as u64 * HOUR))
    }

    /// Whether a rotation keeps the time of expiry.
    pub(super) const fn is_fixed(self) -> bool {
        match self {
            Self::At(_) => true,
            Self::Never | Self::After(_) => false,
        }
    }

    /// The time of expiry for a token that is created at `now`.
    pub(super) fn starting_at(
        self,
        now: UtcDateTime,
    ) -> Result<Option<UtcDateTime>, NewTokenError> {
        let now = timestamp::whole_seconds(now);
        let expires_at = match self {
            Self::Never => return Ok(None),
            Self::After(lifetime) => lifetime
                .try_into()
                .ok()
                .and_then(|lifetime| now.checked_add(lifetime))
                .ok_or(NewTokenError::TimeOutOfRange)?,
            Self::At(time) => time,
        };
        let expires_at = timestamp::whole_seconds(expires_at);
        if expires_at <= now {
            return Err(NewTokenError::ExpiryInThePast);
        }
        Ok(Some(expires_at))
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self::days(90)
    }
}

impl FromStr for Expiry {
    type Err = ParseExpiryError;

    /// # Errors
    ///
    /// [`ParseExpiryError`] if the text has another form.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return time.checked_to_utc().map(Self::At).ok_or(ParseExpiryError);
        }
        if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
            return Ok(Self::At(date.midnight().as_utc()));
        }
        let (number, unit) =
            text.split_at_checked(text.len().wrapping_sub(1)).ok_or(ParseExpiryError)?;
        let unit_seconds = match unit {
            "h" => HOUR,
            "d" => DAY,
            "w" => 7 * DAY,
            "y" => 365 * DAY,
            _ => return Err(ParseExpiryError),
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseExpiryError);
        }
        let seconds =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_seconds));
        seconds.map(|seconds| Self::After(Duration::from_secs(seconds))).ok_or(ParseExpiryError)
    }
}

/// The text is not an expiry.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an expiry: give a time from now such as 12h, 90d, 2w or 1y, a date such as 2027-01-31, a date and \
     time in the form of RFC 3339, or never"
)]
pub struct ParseExpiryError;

impl fmt::Debug for ParseExpiryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [ParseExpiryError]")
    }
}
