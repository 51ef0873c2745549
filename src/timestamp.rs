//! The only text form of a time in files and output: `YYYY-MM-DDTHH:MM:SSZ`.

use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Date, Month, Time, UtcDateTime};

const FORM: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
/// A zero matches any digit.
const SHAPE: &[u8; LENGTH] = b"0000-00-00T00:00:00Z";
const LENGTH: usize = 20;

/// Parses exactly this form. RFC 3339 allows more (offsets, fractions, lower case), and two readers of a file
/// could disagree about it.
pub(crate) fn parse(text: &str) -> Option<UtcDateTime> {
    let text: &[u8; LENGTH] = text.as_bytes().try_into().ok()?;
    let has_form = text.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        separator => byte == separator,
    });
    if !has_form {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + (digit - b'0'));
    let (year, month, day) = (
        i32::from(number(&text[..2])) * 100 + i32::from(number(&text[2..4])),
        Month::try_from(number(&text[5..7])).ok()?,
        number(&text[8..10]),
    );
    let (hour, minute, second) =
        (number(&text[11..13]), number(&text[14..16]), number(&text[17..19]));
    let date = Date::from_calendar_date(year, month, day).ok()?;
    Some(UtcDateTime::new(date, Time::from_hms(hour, minute, second).ok()?))
}

pub(crate) fn format(time: UtcDateTime) -> String {
    // Formatting only fails for years that a `TokenRecord` cannot have.
    time.format(FORM).unwrap_or_else(|_| time.to_string())
}

/// Drops the fraction of a second, which the text form cannot express.
pub(crate) fn whole_seconds(time: UtcDateTime) -> UtcDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_parsed() {
        for text in ["2026-11-23T08:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
        for text in [
            "",
            "2026-11-23T08:00:00",
            "2026-11-23T08:00:00z",
            "2026-11-23 08:00:00Z",
            "2026-11-23T08:00:00.0Z",
            "2026-11-23T08:00:00+00:00",
            "+2026-11-23T08:00:0Z",
            "-026-11-23T08:00:00Z",
            "2026-02-29T08:00:00Z",
            "2026-13-01T08:00:00Z",
            "2026-00-01T08:00:00Z",
            "2026-01-00T08:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-12-31T23:59:60Z",
            "2026-11-23T08:00:0:Z",
            "2026-11-23T08:00:\u{663}Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
