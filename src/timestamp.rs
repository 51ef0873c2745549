//! The one written form of a time: `YYYY-MM-DDTHH:MM:SSZ`, in files and in answers.

use time::UtcDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

const FORM: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const LENGTH: usize = "2026-11-23T08:00:00Z".len();

/// Reads exactly the written form. RFC 3339 allows much more (offsets, fractions, lower case), which
/// two readers of a file might take differently.
pub(crate) fn parse(text: &str) -> Option<UtcDateTime> {
    // `[year]` takes a sign as well, which makes the text longer or the year's digits fewer.
    if text.len() != LENGTH || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    UtcDateTime::parse(text, FORM).ok()
}

pub(crate) fn format(time: UtcDateTime) -> String {
    // Formatting fails only for years that `TokenRecord` does not hold, and then shows them as they are.
    time.format(FORM).unwrap_or_else(|_| time.to_string())
}

/// Drops the part of a second that the written form cannot hold.
pub(crate) fn whole_seconds(time: UtcDateTime) -> UtcDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}
