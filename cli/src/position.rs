//! Where to start reading, as people write it.

use jiff::Timestamp;
use millrace_client::Start;

/// The forms that `--from` takes, for its help.
pub const FORMS: &str = "beginning, end, an offset (42), milliseconds since 1970 (@1700000000000), \
a time with its zone (2026-01-31T09:00:00Z), or a span before now (15m, 2h, 7d)";

/// Reads one of [`FORMS`].
pub fn parse(text: &str) -> Result<Start, String> {
    let start = match text {
        "beginning" | "earliest" => Some(Start::Beginning),
        "end" | "latest" => Some(Start::End),
        _ => offset(text).or_else(|| millis(text)).or_else(|| time(text)).or_else(|| before_now(text)),
    };
    start.ok_or_else(|| format!("expected {FORMS}"))
}

fn offset(text: &str) -> Option<Start> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Start::Offset)
}

fn millis(text: &str) -> Option<Start> {
    text.strip_prefix('@')?.parse().ok().filter(|ms| *ms >= 0).map(Start::Timestamp)
}

fn time(text: &str) -> Option<Start> {
    text.parse().ok().map(|time: Timestamp| Start::Timestamp(time.as_millisecond()))
}

fn before_now(text: &str) -> Option<Start> {
    let seconds_of_one = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    let span = i64::from(count) * seconds_of_one * 1000;
    Some(Start::Timestamp((Timestamp::now().as_millisecond() - span).max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        assert_eq!(parse("beginning"), Ok(Start::Beginning));
        assert_eq!(parse("end"), Ok(Start::End));
        assert_eq!(parse("0"), Ok(Start::Offset(0)));
        assert_eq!(parse("9223372036854775807"), Ok(Start::Offset(i64::MAX)));
        assert_eq!(parse("@1700000000000"), Ok(Start::Timestamp(1_700_000_000_000)));
        assert_eq!(parse("2023-11-14T22:13:20Z"), Ok(Start::Timestamp(1_700_000_000_000)));
        assert_eq!(parse("2023-11-14T22:13:20.123Z"), Ok(Start::Timestamp(1_700_000_000_123)));
        assert_eq!(parse("2023-11-15T00:13:20+02:00"), Ok(Start::Timestamp(1_700_000_000_000)));
        let Ok(Start::Timestamp(ms)) = parse("2h") else { panic!("a span") };
        let expected = Timestamp::now().as_millisecond() - 7_200_000;
        assert!((expected - 60_000..=expected).contains(&ms));
    }

    #[test]
    fn anything_else_is_refused_with_the_forms() {
        for bad in ["", "-1", "+5", "now", "@", "@-1", "9223372036854775808", "2023-11-14", "-2h", "5w", "ü"]
        {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains("@1700000000000"), "{error}");
        }
    }
}
