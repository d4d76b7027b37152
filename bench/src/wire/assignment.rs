//! What members of a group tell each other through the broker, in the form of Kafka's consumers: what they want, and what they get.

use crate::error::{Error, Result};
use millrace_proto::kafka::wire::{DecodeError, Decoder, Encoder, Malformed};

/// Version 0 has all that is needed here: topics, and partitions of topics.
const VERSION: i16 = 0;
/// How the leader assigns, as members call it.
pub const PROTOCOL: &str = "range";

/// A member wants this topic.
pub fn subscription(topic: &str) -> Vec<u8> {
    let mut e = Encoder::with_capacity(16 + topic.len());
    e.i16(VERSION);
    e.i32(1);
    string(&mut e, topic);
    e.i32(-1);
    e.into_bytes().to_vec()
}

/// A member gets these partitions of a topic.
pub fn assignment(topic: &str, partitions: &[i32]) -> Vec<u8> {
    let mut e = Encoder::with_capacity(24 + topic.len() + 4 * partitions.len());
    e.i16(VERSION);
    e.i32(1);
    string(&mut e, topic);
    e.i32(partitions.len() as i32);
    partitions.iter().for_each(|partition| e.i32(*partition));
    e.i32(-1);
    e.into_bytes().to_vec()
}

fn string(e: &mut Encoder, text: &str) {
    e.i16(text.len() as i16);
    e.raw(text.as_bytes());
}

/// The partitions of a topic that a member got. An assignment of anything else is an error: nobody made it.
pub fn partitions(assignment: &[u8], topic: &str) -> Result<Vec<i32>> {
    let (named, partitions) =
        decode(assignment).map_err(|why| Error::unreadable("SyncGroup (an assignment)", why))?;
    match named == topic.as_bytes() {
        true => Ok(partitions),
        false => Err(Error::Wrong("an assignment of a topic that nobody wants".to_owned())),
    }
}

fn decode(assignment: &[u8]) -> std::result::Result<(&[u8], Vec<i32>), DecodeError> {
    let mut d = Decoder::new(assignment);
    d.i16()?;
    let topics = d.i32()?;
    if topics != 1 {
        return Err(d.error(Malformed::TooMany { count: topics.unsigned_abs() as usize, left: d.left() }));
    }
    let length = d.u16()?;
    let topic = d.take(usize::from(length))?;
    let count = d.i32()?.unsigned_abs() as usize;
    let bytes = d.take(count.saturating_mul(4))?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let partitions = numbers.iter().map(|number| i32::from_be_bytes(*number)).collect();
    // Bytes of the leader's own, of which there are none.
    d.i32()?;
    d.finish()?;
    Ok((topic, partitions))
}

/// Shares partitions out, as evenly as they go: the share of one of so many members, who come in an order that all agree on.
pub fn share(partitions: u32, member: usize, members: usize) -> Vec<i32> {
    let (member, members) = (member as u64, members.max(1) as u64);
    let bound = |member: u64| (u64::from(partitions) * member / members) as i32;
    (bound(member)..bound(member + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_leave_nothing_out() {
        for (all, members) in [(10, 3), (500, 500), (7, 7), (1, 1), (11, 4)] {
            let shares: Vec<Vec<i32>> = (0..members).map(|member| share(all, member, members)).collect();
            let given: Vec<i32> = shares.iter().flatten().copied().collect();
            assert_eq!(given, (0..all as i32).collect::<Vec<_>>(), "{all} among {members}");
            let sizes = shares.iter().map(Vec::len);
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1, "{all} among {members}");
        }
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        let bytes = assignment("a-topic", &[3, 4, 500]);
        assert_eq!(partitions(&bytes, "a-topic").unwrap(), [3, 4, 500]);
        assert!(partitions(&bytes, "b-topic").is_err(), "another topic");
        for short in 0..bytes.len() {
            assert!(partitions(&bytes[..short], "a-topic").is_err(), "{short}");
        }
        assert!(partitions(&[&bytes[..], &[0]].concat(), "a-topic").is_err(), "something behind it");
        assert!(partitions(&[], "a-topic").is_err(), "nothing at all");
    }

    #[test]
    fn a_subscription_is_what_kafkas_consumers_send() {
        assert_eq!(subscription("t"), [0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
    }
}
