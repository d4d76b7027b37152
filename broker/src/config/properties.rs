//! Java's properties syntax, as `java.util.Properties` reads it: `name=value`, `name: value` or `name value`; comments
//! from `#` or `!` to the end of the line; a backslash at the end of a line continues it; `\t \n \r \f \uXXXX`, and any
//! other character after a backslash stands for itself. The text is UTF-8. Spaces around a value are not part of it.

use std::iter::Peekable;
use std::str::Chars;

/// One setting as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line that it begins in, from 1.
    pub line: usize,
    /// The name.
    pub name: String,
    /// The value, which may be empty.
    pub value: String,
}

/// An escape that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {escape} is no escape: \\u is followed by four hexadecimal digits of a UTF-16 text")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub escape: String,
}

/// All entries, in the order of the text. Names may repeat.
///
/// # Errors
/// A `\u` escape that is not one.
pub fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_space);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_space));
        }
        let line = index + 1;
        let bad = |escape| SyntaxError { line, escape };
        let mut rest = logical.chars().peekable();
        let name = unescape(&mut rest, |c| is_space(c) || matches!(c, '=' | ':')).map_err(bad)?;
        skip_separator(&mut rest);
        let value = unescape(&mut rest, |_| false).map_err(bad)?;
        entries.push(Entry { line, name, value: value.trim_end_matches(is_space).to_owned() });
    }
    Ok(entries)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Whether the line ends with a backslash that is not itself escaped.
fn continues(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

/// Spaces, at most one `=` or `:`, spaces.
fn skip_separator(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| is_space(*c)).is_some() {}
    if rest.next_if(|c| matches!(c, '=' | ':')).is_some() {
        while rest.next_if(|c| is_space(*c)).is_some() {}
    }
}

/// Takes characters up to one that ends the token, which is left where it is.
fn unescape(rest: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> Result<String, String> {
    let mut text = String::new();
    while let Some(c) = rest.next_if(|c| !ends(*c)) {
        match c {
            '\\' => match rest.next() {
                Some('t') => text.push('\t'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('f') => text.push('\x0c'),
                Some('u') => text.push(utf16(rest)?),
                Some(other) => text.push(other),
                None => {}
            },
            plain => text.push(plain),
        }
    }
    Ok(text)
}

/// The character of one `\uXXXX`, or of two that are a surrogate pair. The first `\u` is behind us.
fn utf16(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let first = four_digits(rest)?;
    let mut units = vec![first];
    if (0xd800..0xdc00).contains(&first) {
        let escaped = rest.next() == Some('\\') && rest.next() == Some('u');
        units.push(if escaped { four_digits(rest)? } else { 0 });
    }
    let character = char::decode_utf16(units).next().and_then(Result::ok);
    character.ok_or_else(|| format!("\\u{first:04x}"))
}

fn four_digits(rest: &mut Peekable<Chars<'_>>) -> Result<u16, String> {
    let digits: String = rest.by_ref().take(4).collect();
    let whole = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let parsed = u16::from_str_radix(&digits, 16).ok();
    parsed.filter(|_| whole).ok_or_else(|| format!("\\u{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).expect("valid").into_iter().map(|e| (e.name, e.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let pairs = pairs(text);
        assert_eq!(pairs.len(), 1, "{text}");
        pairs.into_iter().next().expect("one")
    }

    #[test]
    fn separators() {
        for text in ["a=b", "a = b", "a:b", "a : b", "a b", "a\t \x0cb", "   a=b   ", "a=b\r\n"] {
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a==b"), ("a".into(), "=b".into()));
        assert_eq!(one("a"), ("a".into(), String::new()));
        assert_eq!(one("a="), ("a".into(), String::new()));
        assert_eq!(one("=b"), (String::new(), "b".into()));
        assert_eq!(one("listeners=PLAINTEXT://h:9092").1, "PLAINTEXT://h:9092");
    }

    #[test]
    fn comments_and_blank_lines() {
        assert_eq!(pairs("# a=b\n\n  ! c=d\n \t \n#continued \\\na=b"), [("a".into(), "b".into())]);
        assert_eq!(one("a=b # not a comment").1, "b # not a comment");
    }

    #[test]
    fn continued_lines() {
        assert_eq!(one("a=1,\\\n    2,\\\n\t3").1, "1,2,3");
        assert_eq!(one("a=b\\\\").1, "b\\");
        assert_eq!(one("a=b\\").1, "b");
        let entries = parse("a=\\\n1\nb=2").expect("valid");
        assert_eq!(entries.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn escapes() {
        assert_eq!(one(r"a\=b\ c\:=d"), ("a=b c:".into(), "d".into()));
        assert_eq!(one(r"a=\t\n\q\u0041\ud83d\ude00").1, "\t\nqA😀");
        for (bad, escape) in
            [(r"\u12", r"\u12"), (r"\u12x4", r"\u12x4"), (r"\ud83d", r"\ud83d"), (r"\u+123", r"\u+123")]
        {
            let error = parse(&format!("x=1\na={bad}")).expect_err(bad);
            assert_eq!((error.line, error.escape.as_str()), (2, escape));
        }
    }
}
