//! Records as a table.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use time::{Date, UtcDateTime};
use unicode_width::UnicodeWidthStr as _;

use crate::cli::relative;
use crate::record::TokenRecord;
use crate::redact::escape;

const HEADER: Style = Style::new().bold();
const EXPIRED: Style = AnsiColor::Red.on_default();
const NEXT: Style = AnsiColor::Yellow.on_default();

struct Row {
    cells: [String; 5],
    style: Style,
}

/// The records, one to a line, with a mark on the one that expires next. Styles are escape sequences, which are
/// removed if the output is not a terminal.
pub(super) fn text(records: &[TokenRecord], now: UtcDateTime) -> String {
    let next = records
        .iter()
        .filter(|record| !record.is_expired(now))
        .filter_map(TokenRecord::expires_at)
        .min();
    let header = ["ID", "NAME", "PERMISSIONS", "CREATED", "EXPIRES"].map(str::to_owned);
    let header = Row { cells: header, style: HEADER };
    let rows: Vec<Row> =
        [header].into_iter().chain(records.iter().map(|record| row(record, now, next))).collect();

    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let style = row.style;
        let [cells @ .., last] = &row.cells;
        let _ = write!(text, "{style}");
        for (cell, width) in cells.iter().zip(widths) {
            // `{:width$}` does not count wide characters twice.
            let _ = write!(text, "{cell}{:padding$}  ", "", padding = width - cell.width());
        }
        let _ = writeln!(text, "{last}{style:#}");
    }
    text
}

fn row(record: &TokenRecord, now: UtcDateTime, next: Option<UtcDateTime>) -> Row {
    let is_next = next.is_some() && record.expires_at() == next;
    let mark = if is_next { " (next)" } else { "" };
    let cells = [
        record.id().to_string(),
        record.name().map_or_else(|| "-".to_owned(), escape),
        record.permissions().to_string(),
        day(record.created_at().date()),
        relative::expiry(record.expires_at(), now) + mark,
    ];
    let style = if record.is_expired(now) {
        EXPIRED
    } else if is_next {
        NEXT
    } else {
        Style::new()
    };
    Row { cells, style }
}

fn day(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
