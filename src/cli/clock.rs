//! Whether the clock can be right. A wrong clock gives tokens a wrong expiry.

use time::UtcDateTime;
use time::macros::utc_datetime;

use crate::cli::wording;
use crate::record::TokenRecord;
use crate::timestamp;

/// A time before this version was written.
const WRITTEN: UtcDateTime = utc_datetime!(2026-11-01 0:00);

/// What shows that the clock is behind. `newest` is the token that was created last.
pub(super) fn behind(newest: Option<&TokenRecord>, now: UtcDateTime) -> Option<String> {
    let reads = format!("the clock reads {}", timestamp::format(now));
    if now < WRITTEN {
        return Some(format!("{reads}, which is before this program was written"));
    }
    let newest = newest?;
    (newest.created_at() > now).then(|| {
        format!(
            "{reads}, but the token {} was created at {}",
            wording::token(newest),
            timestamp::format(newest.created_at()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NewToken;

    #[test]
    fn a_clock_before_this_version_or_the_newest_token_is_behind() {
        let now = utc_datetime!(2026-12-01 8:00);
        let (_, record) = NewToken::new().name("ci").issue(now).unwrap();
        let id = record.id();
        assert_eq!(behind(Some(&record), now), None);
        assert_eq!(behind(None, utc_datetime!(2026-11-01 0:00)), None);
        assert_eq!(
            behind(Some(&record), utc_datetime!(2026-11-30 8:00)),
            Some(format!(
                "the clock reads 2026-11-30T08:00:00Z, but the token {id} (ci) was created at \
                 2026-12-01T08:00:00Z"
            ))
        );
        assert_eq!(
            behind(None, utc_datetime!(1970-01-01 0:00)).as_deref(),
            Some("the clock reads 1970-01-01T00:00:00Z, which is before this program was written")
        );
        assert!(UtcDateTime::now() > WRITTEN);
    }
}
