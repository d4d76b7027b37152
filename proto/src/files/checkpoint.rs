//! Checkpoints: text with the version 0, the number of entries, and one entry a line.

use super::FormatError;
use std::fmt::Write;

/// Offset of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffset {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// What the checkpoint is about.
    pub offset: i64,
}

/// Where a leader's epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderEpoch {
    /// The epoch.
    pub epoch: i32,
    /// The first offset of the epoch.
    pub start_offset: i64,
}

const VERSION: i64 = 0;

/// The text of an offset checkpoint.
pub fn encode_offsets(entries: &[PartitionOffset]) -> String {
    let mut text = head(entries.len());
    for PartitionOffset { topic, partition, offset } in entries {
        let _ = writeln!(text, "{topic} {partition} {offset}"); // a String takes everything
    }
    text
}

/// The entries of an offset checkpoint.
///
/// # Errors
/// Anything that is not what [`encode_offsets`] or Kafka writes, negative numbers included.
pub fn parse_offsets(bytes: &[u8]) -> Result<Vec<PartitionOffset>, FormatError> {
    parse(bytes, |line| {
        let [topic, partition, offset] = columns(line)?;
        Some(PartitionOffset {
            topic: topic.to_owned(),
            partition: not_negative(partition)?,
            offset: not_negative(offset)?,
        })
    })
}

/// The text of `leader-epoch-checkpoint`.
pub fn encode_leader_epochs(entries: &[LeaderEpoch]) -> String {
    let mut text = head(entries.len());
    for LeaderEpoch { epoch, start_offset } in entries {
        let _ = writeln!(text, "{epoch} {start_offset}"); // a String takes everything
    }
    text
}

/// The entries of `leader-epoch-checkpoint`, in the file's order.
///
/// # Errors
/// Anything that is not what [`encode_leader_epochs`] or Kafka writes, negative numbers included.
pub fn parse_leader_epochs(bytes: &[u8]) -> Result<Vec<LeaderEpoch>, FormatError> {
    parse(bytes, |line| {
        let [epoch, start_offset] = columns(line)?;
        Some(LeaderEpoch { epoch: not_negative(epoch)?, start_offset: not_negative(start_offset)? })
    })
}

fn head(count: usize) -> String {
    format!("{VERSION}\n{count}\n")
}

fn parse<T>(bytes: &[u8], entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, FormatError> {
    let text = str::from_utf8(bytes).map_err(|_| FormatError::NotText)?;
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut number = || {
        let (at, line) = lines.next().ok_or(FormatError::Truncated)?;
        line.trim().parse::<i64>().map_err(|_| FormatError::Line(at))
    };
    let found = number()?;
    if found != VERSION {
        return Err(FormatError::Version { found, supported: VERSION });
    }
    let declared = number()?;
    let entries = lines
        .map(|(at, line)| entry(line).ok_or(FormatError::Line(at)))
        .collect::<Result<Vec<T>, FormatError>>()?;
    if entries.len() as i64 != declared {
        return Err(FormatError::Count { declared, found: entries.len() });
    }
    Ok(entries)
}

/// The columns of a line, if there are exactly so many.
fn columns<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut columns = [""; N];
    let mut words = line.split_ascii_whitespace();
    for column in &mut columns {
        *column = words.next()?;
    }
    words.next().is_none().then_some(columns)
}

fn not_negative<T: std::str::FromStr + PartialOrd + Default>(word: &str) -> Option<T> {
    word.parse().ok().filter(|number| *number >= T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset { topic: topic.to_owned(), partition, offset }
    }

    #[test]
    fn offsets_have_kafkas_text() {
        let entries = [offset("orders", 0, 12), offset("a.b_c-d", 7, i64::MAX)];
        let text = encode_offsets(&entries);
        assert_eq!(text, "0\n2\norders 0 12\na.b_c-d 7 9223372036854775807\n");
        assert_eq!(parse_offsets(text.as_bytes()).as_deref(), Ok(&entries[..]));
        assert_eq!(encode_offsets(&[]), "0\n0\n");
        assert_eq!(parse_offsets(b"0\n0\n"), Ok(vec![]));
    }

    #[test]
    fn leader_epochs_have_kafkas_text() {
        let entries =
            [LeaderEpoch { epoch: 0, start_offset: 0 }, LeaderEpoch { epoch: 3, start_offset: 500 }];
        let text = encode_leader_epochs(&entries);
        assert_eq!(text, "0\n2\n0 0\n3 500\n");
        assert_eq!(parse_leader_epochs(text.as_bytes()).as_deref(), Ok(&entries[..]));
    }

    #[test]
    fn damage_is_named() {
        for (text, error) in [
            ("", FormatError::Truncated),
            ("0\n", FormatError::Truncated),
            ("x\n0\n", FormatError::Line(1)),
            ("1\n0\n", FormatError::Version { found: 1, supported: 0 }),
            ("0\nmany\n", FormatError::Line(2)),
            ("0\n2\nt 0 1\n", FormatError::Count { declared: 2, found: 1 }),
            ("0\n9223372036854775807\n", FormatError::Count { declared: i64::MAX, found: 0 }),
            ("0\n-1\n", FormatError::Count { declared: -1, found: 0 }),
            ("0\n1\nt 0\n", FormatError::Line(3)),
            ("0\n1\nt 0 1 2\n", FormatError::Line(3)),
            ("0\n1\nt -1 1\n", FormatError::Line(3)),
            ("0\n1\nt 0 -1\n", FormatError::Line(3)),
            ("0\n1\nt 0 9223372036854775808\n", FormatError::Line(3)),
            ("0\n1\n\n", FormatError::Line(3)),
        ] {
            assert_eq!(parse_offsets(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(parse_offsets(&[b'0', b'\n', 0xff]), Err(FormatError::NotText));
        assert_eq!(parse_leader_epochs(b"0\n1\n-1 4\n"), Err(FormatError::Line(3)));
    }
}
