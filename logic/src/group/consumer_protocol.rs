//! What members of type `consumer` write for each other in the classic protocol: what they say of themselves, and what they got.
//!
//! What newer versions add behind, and what an assignor keeps for itself, is not looked at. Nothing is taken for true: a count that promises
//! more than there is makes the whole unreadable.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes};

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription<'a> {
    /// The version that it is written in; the member understands an assignment of the same.
    pub(super) version: i16,
    /// The topics that it subscribes to.
    pub(super) topics: BTreeSet<&'a str>,
    /// The partitions that it had when it wrote this, by topic; none before version 1, whose members give up everything first.
    pub(super) owned: ByTopic<'a>,
    /// The generation in which it got them; -1 if it does not say (before version 2).
    pub(super) generation: i32,
    /// The rack that it is in (from version 3 on).
    pub(super) rack: Option<&'a str>,
}

impl<'a> Subscription<'a> {
    /// Reads it; `None` when that cannot be done.
    pub(super) fn read(metadata: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(metadata);
        let version = reader.version()?;
        let topics = (0..reader.int()?).map(|_| reader.text()).collect::<Option<_>>()?;
        let mut said = Self { version, topics, owned: ByTopic::default(), generation: -1, rack: None };
        if version >= 1 {
            reader.skip_bytes()?;
            said.owned = reader.by_topic()?;
        }
        if version >= 2 {
            said.generation = reader.int()?;
        }
        if version >= 3 {
            said.rack = reader.text_or_null()?.filter(|rack| !rack.is_empty());
        }
        Some(said)
    }
}

/// The topics in what a member says of itself; `None` when it cannot be read.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader(metadata);
    reader.version()?;
    (0..reader.int()?).map(|_| reader.text().map(str::to_owned)).collect()
}

/// The partitions in what a member got, by topic; `None` when it cannot be read.
pub fn partitions(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let all = given(assignment)?;
    Some(all.iter().map(|(topic, numbers)| (topic.to_owned(), numbers.collect())).collect())
}

/// The same without a copy.
fn given(assignment: &[u8]) -> Option<ByTopic<'_>> {
    Given::read(assignment).map(|given| given.partitions)
}

/// What a member got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given<'a> {
    /// The partitions, by topic.
    pub(super) partitions: ByTopic<'a>,
    /// The assignor told the member more than that.
    pub(super) has_more: bool,
}

impl<'a> Given<'a> {
    /// Reads it; `None` when that cannot be done.
    pub(super) fn read(assignment: &'a [u8]) -> Option<Self> {
        if assignment.is_empty() {
            // It got nothing, or not yet.
            return Some(Self::default());
        }
        let mut reader = Reader(assignment);
        reader.version()?;
        Some(Self { partitions: reader.by_topic()?, has_more: reader.int().is_some_and(|count| count > 0) })
    }
}

/// What a member got, as an assignor would write it in this version: all that there are write the same.
pub(super) fn assignment(version: i16, partitions: &[(&str, Vec<i32>)]) -> Bytes {
    let count = |len: usize| i32::try_from(len).unwrap_or(i32::MAX);
    let mut written = Vec::new();
    written.put_i16(version);
    written.put_i32(count(partitions.len()));
    for (topic, numbers) in partitions {
        written.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
        written.put_slice(topic.as_bytes());
        written.put_i32(count(numbers.len()));
        numbers.iter().for_each(|number| written.put_i32(*number));
    }
    // Nothing of an assignor.
    written.put_i32(-1);
    written.into()
}

/// Partitions by topic as they are written, read once to see that they can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByTopic<'a> {
    topics: i32,
    bytes: &'a [u8],
}

impl<'a> ByTopic<'a> {
    /// Each topic and its partitions, in the order of whoever wrote them, who may repeat himself.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, impl Iterator<Item = i32>)> {
        let mut reader = Reader(self.bytes);
        (0..self.topics).map_while(move |_| reader.topic())
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn short(&mut self) -> Option<i16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*number))
    }

    fn int(&mut self) -> Option<i32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*number))
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn version(&mut self) -> Option<i16> {
        self.short().filter(|version| *version >= 0)
    }

    fn text(&mut self) -> Option<&'a str> {
        self.text_or_null()?
    }

    /// The outer `None` is for what cannot be read.
    fn text_or_null(&mut self) -> Option<Option<&'a str>> {
        let length = self.short()?;
        if length == -1 {
            return Some(None);
        }
        let bytes = self.bytes(usize::try_from(length).ok()?)?;
        Some(Some(str::from_utf8(bytes).ok()?))
    }

    /// Bytes behind their count, which is negative for none.
    fn skip_bytes(&mut self) -> Option<()> {
        let count = usize::try_from(self.int()?).unwrap_or(0);
        self.bytes(count).map(drop)
    }

    fn topic(&mut self) -> Option<(&'a str, impl Iterator<Item = i32> + use<'a>)> {
        let topic = self.text()?;
        let bytes = usize::try_from(self.int()?).ok()?.checked_mul(4)?;
        let numbers = self.bytes(bytes)?.chunks_exact(4);
        Some((topic, numbers.map(|n| i32::from_be_bytes([n[0], n[1], n[2], n[3]]))))
    }

    fn by_topic(&mut self) -> Option<ByTopic<'a>> {
        let topics = self.int()?;
        let bytes = self.0;
        for _ in 0..topics {
            self.topic().map(drop)?;
        }
        Some(ByTopic { topics, bytes: &bytes[..bytes.len() - self.0.len()] })
    }
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
    fn every_version_of_a_subscription() {
        let read = |bytes: &'static [u8]| {
            let said = Subscription::read(bytes).expect("a subscription");
            let topics: Vec<_> = said.topics.into_iter().collect();
            let owned: Vec<_> =
                said.owned.iter().map(|(topic, numbers)| (topic, numbers.collect::<Vec<_>>())).collect();
            (said.version, topics, owned, said.generation, said.rack)
        };
        let oldest = read(b"\0\0\0\0\0\x02\0\x01b\0\x01a\0\0\0\x01x");
        assert_eq!(oldest, (0, vec!["a", "b"], vec![], -1, None));
        let owning = b"\0\x01\0\0\0\0\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07";
        let owned = vec![("a", vec![0, 7])];
        assert_eq!(read(owning), (1, vec![], owned.clone(), -1, None));
        let newest =
            b"\0\x03\0\0\0\0\0\0\0\x01x\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\0\0\x05\0\x01r";
        assert_eq!(read(newest), (3, vec![], owned, 5, Some("r")));
        let nowhere = read(b"\0\x03\0\0\0\0\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff");
        assert_eq!(nowhere, (3, vec![], vec![], -1, None));
        for end in 0..newest.len() {
            assert_eq!(Subscription::read(&newest[..end]), None, "cut off at {end}");
        }
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
            assert_eq!(Subscription::read(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn what_assignors_write_is_read() {
        let written = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\0\xff\xff\xff\xff";
        let named = vec![("a", vec![0, 7]), ("bc", vec![])];
        assert_eq!(partitions(written), Some(vec![("a".to_owned(), vec![0, 7]), ("bc".to_owned(), vec![])]));
        assert_eq!(assignment(1, &named), written.as_slice(), "and written the same");
        assert_eq!(partitions(b"\0\0\0\0\0\0"), Some(vec![]));
        assert_eq!(partitions(b""), Some(vec![]));
        let more = |bytes: &[u8]| Given::read(bytes).map(|given| given.has_more);
        assert_eq!([more(written), more(b"\0\0\0\0\0\0"), more(b"")], [Some(false); 3]);
        assert_eq!(more(b"\0\0\0\0\0\0\0\0\0\x01x"), Some(true));
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
