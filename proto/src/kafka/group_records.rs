//! The records of `__consumer_offsets`, as Kafka's group coordinator writes them: Kafka's own formatter reads ours.
//!
//! A key is a version, which says what kind of record it is, and its fields; a value is a version and its fields. No value: what the key
//! names is gone. Those who read must pass over kinds that they do not know (KIP-915).
//!
//! Kinds 0 to 2 are those of offsets and of classic groups; 3 to 8 and 16 those of consumer groups, the new protocol's (KIP-848).

use uuid::Uuid;

use super::message::Message;
use super::wire::{Decode, DecodeError, Decoder, Encode, Encoder, Nullable};

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

    /// Key of a consumer group (kind 3), of the partitions of its topics (4), and of the epoch of its target assignment (6).
    pub struct ConsumerGroupKey<'a>(versions 3..=6, flexible 7..) {
        /// The group.
        group: &'a str;
    }

    /// Key of a member of a consumer group (kind 5), of its target assignment (7), and of its current assignment (8).
    pub struct ConsumerMemberKey<'a>(versions 5..=8, flexible 9..) {
        /// The group.
        group: &'a str;
        /// The member.
        member: &'a str;
    }

    /// Key of a regular expression that members of a consumer group subscribe by, kind 16.
    pub struct ConsumerRegexKey<'a>(versions 16..=16, flexible 17..) {
        /// The group.
        group: &'a str;
        /// The expression.
        regex: &'a str;
    }

    /// A consumer group.
    pub struct ConsumerGroupValue(versions 0..=0, flexible 0..) {
        /// Its epoch.
        epoch: i32;
        /// Stands for the topics that it subscribes to and their partitions; 0 if unknown.
        metadata_hash: i64, tag 0;
    }

    /// What a member of a consumer group says of itself.
    pub struct ConsumerMemberValue<'a>(versions 0..=0, flexible 0..) {
        /// Its name, when it is static.
        instance: Option<&'a str>;
        /// The rack that it is in.
        rack: Option<&'a str>;
        /// What its client calls itself.
        client_id: &'a str;
        /// Where it is.
        client_host: &'a str;
        /// The topics that it subscribes to.
        topics: Vec<&'a str>;
        /// The same as a regular expression.
        regex: Option<&'a str>;
        /// How long it may take to give partitions up.
        rebalance_timeout: i32 = -1;
        /// How it would have partitions assigned.
        assignor: Option<&'a str>;
        /// What it says in the classic protocol, when it speaks that.
        classic: Nullable<ClassicMember<'a>>, tag 0;
    }

    /// A member that speaks the classic protocol in a consumer group.
    pub struct ClassicMember<'a> {
        /// How long it may be silent.
        session_timeout: i32;
        /// How it can be assigned, and what it says in each.
        protocols: Vec<ClassicMemberProtocol<'a>>;
    }

    /// A protocol of a classic member.
    pub struct ClassicMemberProtocol<'a> {
        /// Its name.
        name: &'a str;
        /// What the member says in it.
        metadata: &'a [u8];
    }

    /// For which epoch of a consumer group its partitions were assigned last.
    pub struct TargetEpochValue(versions 0..=0, flexible 0..) {
        /// The epoch.
        epoch: i32;
        /// When, by the calendar; 0 if unknown.
        timestamp: i64, tag 0;
    }

    /// The partitions that a member is to have.
    pub struct TargetValue(versions 0..=0, flexible 0..) {
        /// By topic.
        partitions: Vec<TargetPartitions>;
    }

    /// Partitions of one topic.
    pub struct TargetPartitions {
        /// The topic.
        topic_id: Uuid;
        /// Its partitions.
        partitions: Vec<i32>;
    }

    /// Where a member is on its way to what it is to have.
    pub struct CurrentValue(versions 0..=0, flexible 0..) {
        /// Its epoch.
        epoch: i32;
        /// The one before, which it may not know yet to be over.
        previous_epoch: i32;
        /// Its state: 1 stable, 2 has partitions to give up, 3 waits for partitions that others have to give up.
        state: i8;
        /// The partitions that it has.
        assigned: Vec<CurrentPartitions>;
        /// The partitions that it is to give up.
        revoking: Vec<CurrentPartitions>;
    }

    /// Partitions of one topic.
    pub struct CurrentPartitions {
        /// The topic.
        topic_id: Uuid;
        /// Its partitions.
        partitions: Vec<i32>;
        /// The member's epoch when it got each of them (KIP-1251).
        epochs: Option<Vec<i32>>, tag 0;
    }

    /// The topics that a regular expression stands for.
    pub struct ConsumerRegexValue<'a>(versions 0..=0, flexible 0..) {
        /// Their names.
        topics: Vec<&'a str>;
        /// The end of the metadata that they were found in.
        version: i64;
        /// When, by the calendar.
        timestamp: i64;
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
    /// A consumer group.
    ConsumerGroup(ConsumerGroupKey<'a>),
    /// A member of a consumer group.
    ConsumerMember(ConsumerMemberKey<'a>),
    /// The epoch of a consumer group's target assignment.
    TargetEpoch(ConsumerGroupKey<'a>),
    /// What a member of a consumer group is to have.
    Target(ConsumerMemberKey<'a>),
    /// What a member of a consumer group has.
    Current(ConsumerMemberKey<'a>),
    /// A regular expression in a consumer group.
    ConsumerRegex(ConsumerRegexKey<'a>),
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
            3 => Ok(Self::ConsumerGroup(body(d, 3)?)),
            5 => Ok(Self::ConsumerMember(body(d, 5)?)),
            6 => Ok(Self::TargetEpoch(body(d, 6)?)),
            7 => Ok(Self::Target(body(d, 7)?)),
            8 => Ok(Self::Current(body(d, 8)?)),
            16 => Ok(Self::ConsumerRegex(body(d, 16)?)),
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

    /// Bytes as Kafka 4.3.1's own classes write them.
    #[test]
    fn consumer_groups_are_as_kafka_writes_them() {
        let id = Uuid::from_u128(7);
        let keys: [(Vec<u8>, GroupRecordKey<'_>); 4] = [
            (hex("0003 0001 67"), GroupRecordKey::ConsumerGroup(ConsumerGroupKey { group: "g" })),
            (hex("0006 0001 67"), GroupRecordKey::TargetEpoch(ConsumerGroupKey { group: "g" })),
            (
                hex("0008 0001 67 0001 6d"),
                GroupRecordKey::Current(ConsumerMemberKey { group: "g", member: "m" }),
            ),
            (
                hex("0010 0001 67 0002 612e"),
                GroupRecordKey::ConsumerRegex(ConsumerRegexKey { group: "g", regex: "a." }),
            ),
        ];
        for (bytes, key) in keys {
            assert_eq!(GroupRecordKey::decode(&bytes), Ok(key));
        }
        assert_eq!(encode(&ConsumerMemberKey { group: "g", member: "m" }, 5), hex("0005 0001 67 0001 6d"));
        let group = ConsumerGroupValue { epoch: 3, metadata_hash: -2 };
        let bytes = hex("0000 00000003 01 00 08 fffffffffffffffe");
        assert_eq!((encode(&group, 0), decode_value(&bytes)), (bytes, Ok(group)));
        let epoch = TargetEpochValue { epoch: 3, timestamp: 9 };
        let bytes = hex("0000 00000003 01 00 08 0000000000000009");
        assert_eq!((encode(&epoch, 0), decode_value(&bytes)), (bytes, Ok(epoch)));
        let target =
            TargetValue { partitions: vec![TargetPartitions { topic_id: id, partitions: vec![1, 2] }] };
        let bytes = hex("0000 02 00000000000000000000000000000007 03 00000001 00000002 00 00");
        assert_eq!((encode(&target, 0), decode_value(&bytes)), (bytes, Ok(target)));
        let current = CurrentValue {
            epoch: 4,
            previous_epoch: 3,
            state: 2,
            assigned: vec![CurrentPartitions { topic_id: id, partitions: vec![5], epochs: Some(vec![4]) }],
            revoking: vec![CurrentPartitions { topic_id: id, partitions: vec![6], epochs: None }],
        };
        let bytes = hex(
            "0000 00000004 00000003 02 02 00000000000000000000000000000007 02 00000005 01 00 05 02 00000004
             02 00000000000000000000000000000007 02 00000006 00 00",
        );
        assert_eq!((encode(&current, 0), decode_value(&bytes)), (bytes, Ok(current)));
    }

    #[test]
    fn a_classic_member_of_a_consumer_group_is_a_tag() {
        let member = ConsumerMemberValue {
            instance: Some("i"),
            client_id: "c",
            client_host: "/h",
            topics: vec!["t"],
            regex: Some(""),
            rebalance_timeout: 300,
            assignor: Some("uniform"),
            ..ConsumerMemberValue::default()
        };
        let head = "0000 0269 00 0263 032f68 02 0274 01 0000012c 08 756e69666f726d";
        let bytes = hex(&format!("{head} 00"));
        assert_eq!((encode(&member, 0), decode_value(&bytes)), (bytes, Ok(member.clone())));
        let protocols = vec![ClassicMemberProtocol { name: "range", metadata: b"m" }];
        let classic = Nullable(Some(ClassicMember { session_timeout: 45, protocols }));
        let member = ConsumerMemberValue { classic, ..member };
        let bytes = hex(&format!("{head} 01 00 10 01 0000002d 02 0672616e6765 026d 00 00"));
        assert_eq!((encode(&member, 0), decode_value(&bytes)), (bytes, Ok(member)));
    }

    #[test]
    fn what_is_not_known_is_told_from_what_is_damaged() {
        assert_eq!(GroupRecordKey::decode(&hex("0011 ff")), Ok(GroupRecordKey::Unknown(17)));
        assert_eq!(
            GroupRecordKey::decode(&hex("0004 0001 67")),
            Ok(GroupRecordKey::Unknown(4)),
            "no longer written"
        );
        assert_eq!(GroupRecordKey::decode(&hex("ffff")), Ok(GroupRecordKey::Unknown(-1)));
        for damaged in ["", "00", "0002", "0002 0005 6162", "0001 0001 67 0001 74 0000"] {
            assert!(GroupRecordKey::decode(&hex(damaged)).is_err(), "{damaged}");
        }
        assert!(decode_value::<OffsetCommitValue<'_>>(&hex("0005 00")).is_err(), "a version of the future");
        assert!(decode_value::<GroupMetadataValue<'_>>(&hex("0003 7fff")).is_err());
    }
}
