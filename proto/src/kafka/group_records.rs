//! The records of `__consumer_offsets`, as Kafka's group coordinator writes them: Kafka's own formatter reads ours.
//!
//! A key is a version, which says what kind of record it is, and its fields; a value is a version and its fields. No value: what the key
//! names is gone. Those who read must pass over kinds that they do not know (KIP-915).

use uuid::Uuid;

use super::message::Message;
use super::wire::{Decode, DecodeError, Decoder, Encode, Encoder};

message! {
    /// Key of a committed offset, kinds 0 and 1.
    pub struct OffsetCommitKey<'a>(versions 0..=1, flexible 2..) {
        /// The group.
        group: &'a str;
        /// The topic.
        topic: &'a str;
        /// The partition.
        partition: i32;
    }

    /// A committed offset.
    pub struct OffsetCommitValue<'a>(versions 0..=4, flexible 4..) {
        /// The next record to read.
        offset: i64;
        /// The leader epoch of the record before it; -1 if unknown.
        leader_epoch: i32 = -1, versions 3..;
        /// What the client wanted kept with it.
        metadata: &'a str;
        /// When it was committed.
        commit_timestamp: i64;
        /// When it is to go; -1 for when the broker says.
        expire_timestamp: i64 = -1, versions 1..=1;
        /// The topic's id.
        topic_id: Uuid, versions 4.., tag 0;
    }

    /// Key of a classic group, kind 2.
    pub struct GroupMetadataKey<'a>(versions 2..=2, flexible 3..) {
        /// The group.
        group: &'a str;
    }

    /// A classic group, as a generation begins.
    pub struct GroupMetadataValue<'a>(versions 0..=4, flexible 4..) {
        /// What the group does.
        protocol_type: &'a str;
        /// Its generation.
        generation: i32;
        /// The protocol that all members have.
        protocol: Option<&'a str>;
        /// Who assigns.
        leader: Option<&'a str>;
        /// Since when it has been in its state; -1 if unknown.
        current_state_timestamp: i64 = -1, versions 2..;
        /// Its members.
        members: Vec<MemberMetadata<'a>>;
    }

    /// One member.
    pub struct MemberMetadata<'a> {
        /// Its id.
        member_id: &'a str;
        /// Its name, when it is static.
        group_instance_id: Option<&'a str>, versions 3..;
        /// What its client calls itself.
        client_id: &'a str;
        /// Where it is.
        client_host: &'a str;
        /// How long it may take to come back for a rebalance; the session timeout before version 1.
        rebalance_timeout: i32, versions 1..;
        /// How long it may be silent.
        session_timeout: i32;
        /// What it said of itself.
        subscription: &'a [u8];
        /// What it got.
        assignment: &'a [u8];
    }
}

/// The version in which offsets are written: Kafka 4.3's.
pub const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The same for one that is to go at a time of its own.
pub const EXPIRING_OFFSET_COMMIT_VALUE_VERSION: i16 = 1;
/// The version in which groups are written: Kafka 4.3's.
pub const GROUP_METADATA_VALUE_VERSION: i16 = 3;

/// What a record is about.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRecordKey<'a> {
    /// A committed offset.
    OffsetCommit(OffsetCommitKey<'a>),
    /// A classic group.
    GroupMetadata(GroupMetadataKey<'a>),
    /// Something else, written by another version.
    Unknown(i16),
}

impl<'a> GroupRecordKey<'a> {
    /// Reads a key.
    ///
    /// # Errors
    /// It ends too early, or holds what it cannot.
    pub fn decode(key: &'a [u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(key);
        match i16::decode(&mut d, UNVERSIONED)? {
            version @ 0..=1 => Ok(Self::OffsetCommit(body(d, version)?)),
            2 => Ok(Self::GroupMetadata(body(d, 2)?)),
            other => Ok(Self::Unknown(other)),
        }
    }
}

/// Reads a value.
///
/// # Errors
/// Its version is not known, it ends too early, or holds what it cannot.
pub fn decode_value<'a, V: Message + Decode<'a>>(value: &'a [u8]) -> Result<V, DecodeError> {
    let mut d = Decoder::new(value);
    let version = i16::decode(&mut d, UNVERSIONED)?;
    body(d, version)
}

/// Writes a key or a value in a version that it has.
pub fn encode<V: Message>(message: &V, version: i16) -> Vec<u8> {
    let v = V::version(version).expect("a version of this kind of record");
    let mut e = Encoder::default();
    version.encode(&mut e, v);
    message.encode(&mut e, v);
    e.into_bytes().to_vec()
}

/// For the version itself, which is written alike in all versions.
const UNVERSIONED: super::wire::Version = super::wire::Version { number: 0, flexible: false };

fn body<'a, M: Message + Decode<'a>>(mut d: Decoder<'a>, version: i16) -> Result<M, DecodeError> {
    let v = M::version(version)?;
    let message = M::decode(&mut d, v)?;
    d.finish()?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect()
    }

    #[test]
    fn offsets_are_as_kafka_writes_them() {
        let key = OffsetCommitKey { group: "g", topic: "top", partition: 5 };
        let bytes = hex("0001 0001 67 0003 746f70 00000005");
        assert_eq!(encode(&key, 1), bytes);
        assert_eq!(GroupRecordKey::decode(&bytes), Ok(GroupRecordKey::OffsetCommit(key)));
        let value = OffsetCommitValue {
            offset: 9,
            leader_epoch: 2,
            metadata: "m",
            commit_timestamp: 256,
            topic_id: Uuid::from_u128(1),
            ..OffsetCommitValue::default()
        };
        let bytes = hex(
            "0004 0000000000000009 00000002 02 6d 0000000000000100 01 00 10 00000000000000000000000000000001",
        );
        assert_eq!(encode(&value, 4), bytes);
        assert_eq!(decode_value(&bytes), Ok(value));
        let expiring = OffsetCommitValue { offset: 9, expire_timestamp: 512, ..OffsetCommitValue::default() };
        let bytes = hex("0001 0000000000000009 0000 0000000000000000 0000000000000200");
        assert_eq!(encode(&expiring, 1), bytes);
        assert_eq!(decode_value(&bytes), Ok(expiring));
    }

    #[test]
    fn groups_are_read_in_every_version() {
        let member = MemberMetadata {
            member_id: "c-1",
            group_instance_id: Some("name"),
            client_id: "c",
            client_host: "/127.0.0.1",
            rebalance_timeout: 300,
            session_timeout: 45,
            subscription: b"wants",
            assignment: b"gets",
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer",
            generation: 7,
            protocol: Some("range"),
            leader: Some("c-1"),
            current_state_timestamp: 88,
            members: vec![member],
        };
        for version in 0..=4 {
            let bytes = encode(&value, version);
            let read: GroupMetadataValue<'_> = decode_value(&bytes).expect("our own");
            assert_eq!((read.generation, read.protocol, read.leader), (7, Some("range"), Some("c-1")));
            assert_eq!(read.current_state_timestamp, if version >= 2 { 88 } else { -1 });
            let member = &read.members[0];
            assert_eq!((member.subscription, member.assignment), (&b"wants"[..], &b"gets"[..]));
            assert_eq!(member.group_instance_id, (version >= 3).then_some("name"));
            assert_eq!(member.rebalance_timeout, if version >= 1 { 300 } else { 0 });
        }
    }

    #[test]
    fn what_is_not_known_is_told_from_what_is_damaged() {
        assert_eq!(GroupRecordKey::decode(&hex("0010 ff")), Ok(GroupRecordKey::Unknown(16)));
        assert_eq!(GroupRecordKey::decode(&hex("ffff")), Ok(GroupRecordKey::Unknown(-1)));
        for damaged in ["", "00", "0002", "0002 0005 6162", "0001 0001 67 0001 74 0000"] {
            assert!(GroupRecordKey::decode(&hex(damaged)).is_err(), "{damaged}");
        }
        assert!(decode_value::<OffsetCommitValue<'_>>(&hex("0005 00")).is_err(), "a version of the future");
        assert!(decode_value::<GroupMetadataValue<'_>>(&hex("0003 7fff")).is_err());
    }
}
