//! What members of type `consumer` write for each other in the classic protocol, as far as others read it: the topics that they subscribe
//! to, which decide whose offsets expire, and the partitions that they got, for people.
//!
//! What newer versions add behind, and what an assignor keeps for itself, is not looked at.

/// The topics in what a member says of itself; `None` when it cannot be read.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    by_topic(metadata, |name, rest| Some((name, rest)))
}

/// The partitions in what a member got, by topic; `None` when it cannot be read.
pub fn partitions(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    if assignment.is_empty() {
        // It got nothing, or not yet.
        return Some(Vec::new());
    }
    by_topic(assignment, |name, rest| {
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let bytes = usize::try_from(i32::from_be_bytes(*count)).ok()?.checked_mul(4)?;
        let (numbers, rest) = rest.split_at_checked(bytes)?;
        let numbers = numbers.chunks_exact(4).map(|n| i32::from_be_bytes([n[0], n[1], n[2], n[3]]));
        Some(((name, numbers.collect()), rest))
    })
}

/// A version, a count, and so many names of topics; `behind` reads what follows each, and says what is left.
fn by_topic<T>(bytes: &[u8], behind: impl Fn(String, &[u8]) -> Option<(T, &[u8])>) -> Option<Vec<T>> {
    let (version, rest) = bytes.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, from_name) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, from_rest) = from_name.split_at_checked(length)?;
        let (topic, left) = behind(String::from_utf8(name.to_vec()).ok()?, from_rest)?;
        topics.push(topic);
        rest = left;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_consumers_write_is_read() {
        let written = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(topics(written), Some(vec!["a".to_owned(), "bc".to_owned()]));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn what_is_not_a_subscription_is_none() {
        let hostile: [&[u8]; 6] = [
            b"",
            b"\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\0\0\0\x01\0\x05ab",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ];
        for hostile in hostile {
            assert_eq!(topics(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn what_assignors_write_is_read() {
        let written = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(partitions(written), Some(vec![("a".to_owned(), vec![0, 7]), ("bc".to_owned(), vec![])]));
        assert_eq!(partitions(b"\0\0\0\0\0\0"), Some(vec![]));
        assert_eq!(partitions(b""), Some(vec![]));
    }

    #[test]
    fn what_is_not_an_assignment_is_none() {
        let hostile: [&[u8]; 8] = [
            b"\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\0\0\0\x01\0\x05ab",
            b"\0\0\0\0\0\x01\0\x01\xff\0\0\0\0",
            b"\0\0\0\0\0\x01\0\x01a\x7f\xff\xff\xff",
            b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff",
            b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01\0\0",
        ];
        for hostile in hostile {
            assert_eq!(partitions(hostile), None, "{hostile:?}");
        }
    }
}
