//! The records of the metadata log, as KRaft writes them: Kafka's dump tool reads our `__cluster_metadata-0`.
//!
//! A record's value is a frame version (1), the record's type and its version, all as unsigned varints, and its body.

use uuid::Uuid;

use super::message::Message;
use super::wire::{Decode, DecodeError, Decoder, Encoder, Malformed, Version};

/// Leaders are elected from the in-sync replicas, or one was elected from outside them and its log is being repaired.
pub mod leader_recovery_state {
    /// The usual state.
    pub const RECOVERED: i8 = 0;
    /// After an unclean election.
    pub const RECOVERING: i8 = 1;
}

const FRAME_VERSION: u32 = 1;

macro_rules! metadata_records {
    ($($name:ident $(<$lt:lifetime>)? = $api_key:literal;)*) => {
        /// Any record of the metadata log.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord<'a> {
            $(
                #[doc = concat!("Type ", $api_key, ".")]
                $name($name $(<$lt>)?),
            )*
        }

        $(
            impl<'a> From<$name $(<$lt>)?> for MetadataRecord<'a> {
                fn from(record: $name $(<$lt>)?) -> Self {
                    Self::$name(record)
                }
            }
        )*

        impl<'a> MetadataRecord<'a> {
            /// Reads a record's value: all of it.
            ///
            /// A type or version that is not known is an error: to skip a decision is to disagree about it.
            pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
                let mut d = Decoder::new(value);
                let (api_key, version) = decode_frame(&mut d)?;
                let record = match api_key {
                    $($api_key => decode_body::<$name>(&mut d, api_key, version)?.into(),)*
                    _ => return Err(d.error(Malformed::UnknownRecord { api_key, version })),
                };
                d.finish()?;
                Ok(record)
            }

            /// Appends a record's value, in the newest version that is known.
            pub fn encode(&self, e: &mut Encoder) {
                match self {
                    $(Self::$name(record) => encode_record(record, $api_key, e),)*
                }
            }
        }
    };
}

metadata_records! {
    RegisterBrokerRecord<'a> = 0;
    TopicRecord<'a> = 2;
    PartitionRecord = 3;
    ConfigRecord<'a> = 4;
    RemoveTopicRecord = 9;
    FeatureLevelRecord<'a> = 12;
    ProducerIdsRecord = 15;
}

fn decode_frame(d: &mut Decoder<'_>) -> Result<(u32, u32), DecodeError> {
    let start = d.clone();
    match d.uvarint()? {
        FRAME_VERSION => Ok((d.uvarint()?, d.uvarint()?)),
        other => Err(start.error(Malformed::UnknownVersion(i16::try_from(other).unwrap_or(i16::MAX)))),
    }
}

fn decode_body<'de, R: Message + Decode<'de>>(
    d: &mut Decoder<'de>,
    api_key: u32,
    version: u32,
) -> Result<R, DecodeError> {
    let known = i16::try_from(version).ok().and_then(|version| R::version(version).ok());
    let v = known.ok_or_else(|| d.error(Malformed::UnknownRecord { api_key, version }))?;
    R::decode(d, v)
}

fn encode_record<R: Message>(record: &R, api_key: u32, e: &mut Encoder) {
    let newest = *R::VERSIONS.end();
    e.uvarint(FRAME_VERSION);
    e.uvarint(api_key);
    e.uvarint(newest.unsigned_abs().into());
    record.encode(e, Version { number: newest, flexible: newest >= R::FLEXIBLE_FROM });
}

message! {
    /// A broker has registered, possibly again.
    pub struct RegisterBrokerRecord<'a>(versions 0..=4, flexible 0..) {
        /// Broker id.
        broker_id: i32;
        /// It still runs on ZooKeeper: never, here.
        is_migrating_zk_broker: bool, versions 2..;
        /// Chosen anew by each process of the broker.
        incarnation_id: Uuid;
        /// Given by the controller, larger with each registration.
        broker_epoch: i64;
        /// Where it listens.
        end_points: Vec<BrokerEndpoint<'a>>;
        /// The features it could use.
        features: Vec<BrokerFeature<'a>>;
        /// Its rack, when it has one.
        rack: Option<&'a str>;
        /// It may not serve yet.
        fenced: bool = true;
        /// It is about to leave.
        in_controlled_shutdown: bool, versions 1..;
        /// Its log directories.
        log_dirs: Vec<Uuid>, versions 3.., tag 0;
        /// Those that take no new partitions (KIP-1066).
        cordoned_log_dirs: Option<Vec<Uuid>>, versions 4.., tag 1;
    }

    /// A listener.
    pub struct BrokerEndpoint<'a> {
        /// Its name.
        name: &'a str;
        /// Host name or address.
        host: &'a str;
        /// Port.
        port: u16;
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16;
    }

    /// A feature and the levels a broker supports.
    pub struct BrokerFeature<'a> {
        /// Its name.
        name: &'a str;
        /// Least level.
        min_supported_version: i16;
        /// Greatest level.
        max_supported_version: i16;
    }

    /// A topic has been created; its partitions follow.
    pub struct TopicRecord<'a>(versions 0..=0, flexible 0..) {
        /// Topic name.
        name: &'a str;
        /// Topic id, never used before.
        topic_id: Uuid;
    }

    /// A partition has been created, or all of it has changed.
    pub struct PartitionRecord(versions 0..=2, flexible 0..) {
        /// Partition.
        partition_id: i32 = -1;
        /// Topic id.
        topic_id: Uuid;
        /// All replicas, the preferred leader first.
        replicas: Vec<i32>;
        /// Those in sync.
        isr: Vec<i32>;
        /// Those that leave when a reassignment ends.
        removing_replicas: Vec<i32>;
        /// Those that a reassignment has added.
        adding_replicas: Vec<i32>;
        /// The leader; -1 for none.
        leader: i32 = -1;
        /// One of [`leader_recovery_state`].
        leader_recovery_state: i8, versions 0.., tag 0;
        /// Counts leaders.
        leader_epoch: i32 = -1;
        /// Counts changes.
        partition_epoch: i32 = -1;
        /// The log directory of each replica.
        directories: Vec<Uuid>, versions 1..;
        /// Out of sync, yet with everything that is committed (KIP-966).
        eligible_leader_replicas: Option<Vec<i32>>, versions 2.., tag 1;
        /// The last that were eligible (KIP-966).
        last_known_elr: Option<Vec<i32>>, versions 2.., tag 2;
    }

    /// A setting has been given a value, or has lost it.
    pub struct ConfigRecord<'a>(versions 0..=0, flexible 0..) {
        /// One of [`resource_type`](super::messages::describe_configs::resource_type).
        resource_type: i8;
        /// Name or id.
        resource_name: &'a str;
        /// Name of the setting.
        name: &'a str;
        /// Its value; `None` for the default.
        value: Option<&'a str>;
    }

    /// A topic has been deleted, with everything that belongs to it.
    pub struct RemoveTopicRecord(versions 0..=0, flexible 0..) {
        /// Topic id.
        topic_id: Uuid;
    }

    /// A feature is in use at a level.
    pub struct FeatureLevelRecord<'a>(versions 0..=0, flexible 0..) {
        /// Its name.
        name: &'a str;
        /// The level; 0 when no longer in use.
        feature_level: i16;
    }

    /// A block of producer ids has been given to a broker.
    pub struct ProducerIdsRecord(versions 0..=0, flexible 0..) {
        /// The broker.
        broker_id: i32;
        /// Its epoch.
        broker_epoch: i64 = -1;
        /// The first id that has not been given.
        next_producer_id: i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::messages::describe_configs::resource_type;

    const TOPIC: Uuid = Uuid::from_u128(0x0102030405060708_1112131415161718);
    const DIRECTORY: Uuid = Uuid::from_u128(0x2122232425262728_3132333435363738);

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    /// `hex` is what Kafka 4.3.1's own serializer writes; records that it writes in the newest version, so do we.
    #[track_caller]
    fn is_as_kafka_writes_it<'a>(record: impl Into<MetadataRecord<'a>>, hex: &str) {
        let (record, kafka) = (record.into(), bytes(hex));
        assert_eq!(MetadataRecord::decode(&kafka).as_ref(), Ok(&record));
        let mut e = Encoder::default();
        record.encode(&mut e);
        assert_eq!(e.into_bytes(), kafka);
    }

    fn partition() -> PartitionRecord {
        PartitionRecord {
            partition_id: 2,
            topic_id: TOPIC,
            replicas: vec![1, 2],
            isr: vec![1],
            leader: 1,
            leader_epoch: 3,
            partition_epoch: 4,
            directories: vec![DIRECTORY, TOPIC],
            ..PartitionRecord::default()
        }
    }

    #[test]
    fn topics() {
        is_as_kafka_writes_it(
            TopicRecord { name: "orders", topic_id: TOPIC },
            "010200076f72646572730102030405060708111213141516171800",
        );
        is_as_kafka_writes_it(
            RemoveTopicRecord { topic_id: TOPIC },
            "0109000102030405060708111213141516171800",
        );
    }

    #[test]
    fn partitions() {
        let plain = concat!(
            "010302000000020102030405060708111213141516171803000000010000000202000000010101000000010000",
            "00030000000403212223242526272831323334353637380102030405060708111213141516171800"
        );
        is_as_kafka_writes_it(partition(), plain);
        let all_set = PartitionRecord {
            removing_replicas: vec![5],
            adding_replicas: vec![6],
            leader_recovery_state: leader_recovery_state::RECOVERING,
            eligible_leader_replicas: Some(vec![2]),
            last_known_elr: Some(vec![1, 2]),
            ..partition()
        };
        let hex = concat!(
            "010302000000020102030405060708111213141516171803000000010000000202000000010200000005020000",
            "000600000001000000030000000403212223242526272831323334353637380102030405060708111213141516",
            "171803000101010502000000020209030000000100000002"
        );
        is_as_kafka_writes_it(all_set, hex);
    }

    #[test]
    fn settings() {
        let set = ConfigRecord {
            resource_type: resource_type::TOPIC,
            resource_name: "orders",
            name: "retention.ms",
            value: Some("1000"),
        };
        is_as_kafka_writes_it(set, "01040002076f72646572730d726574656e74696f6e2e6d73053130303000");
        let unset = ConfigRecord {
            resource_type: resource_type::BROKER,
            resource_name: "",
            name: "min.insync.replicas",
            value: None,
        };
        is_as_kafka_writes_it(unset, "0104000401146d696e2e696e73796e632e7265706c696361730000");
        let feature = FeatureLevelRecord { name: "metadata.version", feature_level: 30 };
        is_as_kafka_writes_it(feature, "010c00116d657461646174612e76657273696f6e001e00");
    }

    #[test]
    fn brokers_and_their_producer_ids() {
        let broker = RegisterBrokerRecord {
            broker_id: 1,
            incarnation_id: TOPIC,
            broker_epoch: 9,
            end_points: vec![BrokerEndpoint {
                name: "PLAINTEXT",
                host: "localhost",
                port: 59092,
                security_protocol: 0,
            }],
            features: vec![BrokerFeature {
                name: "metadata.version",
                min_supported_version: 7,
                max_supported_version: 30,
            }],
            rack: Some("a"),
            fenced: false,
            log_dirs: vec![DIRECTORY],
            cordoned_log_dirs: Some(Vec::new()),
            ..RegisterBrokerRecord::default()
        };
        let hex = concat!(
            "0100040000000100010203040506070811121314151617180000000000000009020a504c41494e544558540a6c",
            "6f63616c686f7374e6d400000002116d657461646174612e76657273696f6e0007001e00026100000200110221",
            "222324252627283132333435363738010101"
        );
        is_as_kafka_writes_it(broker, hex);
        let block = ProducerIdsRecord { broker_id: 1, broker_epoch: 9, next_producer_id: 1000 };
        is_as_kafka_writes_it(block, "010f0000000001000000000000000900000000000003e800");
    }

    #[test]
    fn older_versions_are_understood() {
        let broker = RegisterBrokerRecord {
            broker_id: 1,
            incarnation_id: TOPIC,
            broker_epoch: 9,
            in_controlled_shutdown: true,
            ..RegisterBrokerRecord::default()
        };
        let hex = "01000100000001010203040506070811121314151617180000000000000009010100010100";
        assert_eq!(MetadataRecord::decode(&bytes(hex)), Ok(broker.into()));
        let hex = concat!(
            "010301000000020102030405060708111213141516171803000000010000000202000000010101000000010000",
            "00030000000403212223242526272831323334353637380102030405060708111213141516171800"
        );
        assert_eq!(MetadataRecord::decode(&bytes(hex)), Ok(partition().into()));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let why = |value: &[u8]| MetadataRecord::decode(value).unwrap_err().why;
        assert_eq!(why(&[2, 9, 0]), Malformed::UnknownVersion(2));
        assert_eq!(why(&[1, 5, 0]), Malformed::UnknownRecord { api_key: 5, version: 0 });
        assert_eq!(why(&[1, 3, 3]), Malformed::UnknownRecord { api_key: 3, version: 3 });
        assert_eq!(
            why(&[1, 3, 0xff, 0xff, 0x7f]),
            Malformed::UnknownRecord { api_key: 3, version: 0x1f_ffff }
        );
        let mut longer = bytes("0109000102030405060708111213141516171800");
        longer.push(0);
        assert_eq!(why(&longer), Malformed::Trailing(1));
    }
}
