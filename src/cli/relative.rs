//! Times relative to now.

use time::{Duration, UtcDateTime};

/// When a token expires or expired, from `now`.
pub(super) fn expiry(expires_at: Option<UtcDateTime>, now: UtcDateTime) -> String {
    match expires_at {
        None => "never".to_owned(),
        Some(time) if time > now => format!("in {}", span(time - now)),
        Some(time) => format!("expired {} ago", span(now - time)),
    }
}

/// Rounds down: a token that expires "in 89 days" lasts at least 89 days.
fn span(duration: Duration) -> String {
    let (number, unit) = if duration < Duration::MINUTE {
        (duration.whole_seconds(), "second")
    } else if duration < Duration::HOUR {
        (duration.whole_minutes(), "minute")
    } else if duration < 2 * Duration::DAY {
        (duration.whole_hours(), "hour")
    } else if duration < Duration::days(2 * 365) {
        (duration.whole_days(), "day")
    } else {
        (duration.whole_days() / 365, "year")
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_a_fitting_unit() {
        const DAY: i64 = 24 * 60 * 60;
        let now = UtcDateTime::UNIX_EPOCH + Duration::days(20_000);
        for (seconds, expected) in [
            (1, "in 1 second"),
            (59, "in 59 seconds"),
            (60, "in 1 minute"),
            (60 * 60 - 1, "in 59 minutes"),
            (60 * 60, "in 1 hour"),
            (DAY, "in 24 hours"),
            (2 * DAY - 1, "in 47 hours"),
            (2 * DAY, "in 2 days"),
            (90 * DAY - 1, "in 89 days"),
            (90 * DAY, "in 90 days"),
            (730 * DAY - 1, "in 729 days"),
            (730 * DAY, "in 2 years"),
            (0, "expired 0 seconds ago"),
            (-1, "expired 1 second ago"),
            (-3 * DAY, "expired 3 days ago"),
            (-800 * DAY, "expired 2 years ago"),
        ] {
            assert_eq!(expiry(Some(now + Duration::seconds(seconds)), now), expected, "{seconds}");
        }
        assert_eq!(expiry(None, now), "never");
    }
}
