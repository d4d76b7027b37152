//! Which partitions a member of a classic group got, where its protocol is that of consumers: read for people, never decided on.

/// The partitions in what a member of type `consumer` got, by topic; `None` when it cannot be read. What newer versions add behind, and what
/// an assignor keeps for itself, is not looked at.
pub fn partitions(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    if assignment.is_empty() {
        // It got nothing, or not yet.
        return Some(Vec::new());
    }
    let (version, rest) = assignment.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, behind) = behind.split_at_checked(length)?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        let (count, behind) = behind.split_first_chunk::<4>()?;
        let bytes = usize::try_from(i32::from_be_bytes(*count)).ok()?.checked_mul(4)?;
        let (numbers, behind) = behind.split_at_checked(bytes)?;
        let numbers = numbers.chunks_exact(4).map(|n| i32::from_be_bytes([n[0], n[1], n[2], n[3]]));
        topics.push((name, numbers.collect()));
        rest = behind;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

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
