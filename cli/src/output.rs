//! Standard output: tables for people, text without surprises for terminals.

use std::fmt::Write;
use std::io::{self, BufWriter, StdoutLock, Write as _};

/// Buffered standard output. An error in it, such as a reader that went away, is the command's.
pub type Out = BufWriter<StdoutLock<'static>>;

/// Standard output, buffered; whoever writes flushes.
pub fn out() -> Out {
    BufWriter::new(io::stdout().lock())
}

/// A table with a heading, columns as wide as they must be, and no space at the ends of lines.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut out = out();
    out.write_all(format_table(heading, rows).as_bytes())?;
    out.flush()
}

fn format_table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|title| (*title).to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  "); // a String takes everything
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One line: a sentence, or a JSON value.
pub fn line(value: impl std::fmt::Display) -> io::Result<()> {
    let mut out = out();
    writeln!(out, "{value}")?;
    out.flush()
}

/// Bytes as a terminal can show them: UTF-8 as it is, but for control characters, which are escaped, and anything
/// else as `\xNN`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => text.push(c),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}"); // a String takes everything
        }
    }
    text
}

/// A time in milliseconds since 1970 as people write it, or the number where there is no such time.
pub fn time(timestamp_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(timestamp_ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => timestamp_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "1".into()], vec!["longer".into(), String::new()]];
        assert_eq!(format_table(&["NAME", "N"], &rows), "NAME    N\na       1\nlonger\n");
    }

    #[test]
    fn bytes_can_not_drive_a_terminal() {
        assert_eq!(printable("plain ü\t".as_bytes()), "plain ü\t");
        assert_eq!(printable(b"\x1b[31m\n"), "\\u{1b}[31m\\n");
        assert_eq!(printable(b"a\xff\xfeb"), "a\\xff\\xfeb");
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }
}
