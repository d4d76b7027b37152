//! Metadata records as bytes: the controller's decisions in record batches of `__cluster_metadata-0`, in KRaft's own
//! schemas, and back.

use bytes::BytesMut;
use millrace_logic::meta::{self, ConfigResource, MetadataRecord, PartitionState, ResourceKind};
use millrace_proto::batch::{self, BuildError, Builder, Options};
use millrace_proto::kafka::records as wire;
use millrace_proto::kafka::wire::{DecodeError, Encoder};

/// Why the metadata log cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum MetadataLogError {
    /// A batch is damaged.
    #[error("a batch of the metadata log is damaged: {0}")]
    Batch(#[from] batch::BatchError),
    /// A record is of a kind or version that is not known here.
    #[error("record {offset} of the metadata log: {source}")]
    Record {
        /// Where.
        offset: i64,
        /// Why.
        source: DecodeError,
    },
    /// A record has no value.
    #[error("record {0} of the metadata log is empty")]
    Empty(i64),
    /// A value that has no meaning here.
    #[error("record {offset} of the metadata log: {what} {value} is not known")]
    Value {
        /// Where.
        offset: i64,
        /// Which field.
        what: &'static str,
        /// Its value.
        value: i64,
    },
}

/// One batch that holds `records`, to be appended at `base_offset`.
pub fn encode(
    records: &[MetadataRecord],
    base_offset: i64,
    leader_epoch: i32,
    now_ms: i64,
) -> Result<BytesMut, BuildError> {
    let mut builder = Builder::new();
    for record in records {
        let mut e = Encoder::default();
        to_wire(record).encode(&mut e);
        builder.push(now_ms, None, Some(&e.into_bytes()), &[])?;
    }
    builder.finish(&Options { base_offset, leader_epoch, ..Options::default() })
}

/// The records of the batches in `bytes`.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<MetadataRecord>, MetadataLogError> {
    let mut found = Vec::new();
    let mut scratch = Vec::new();
    while !bytes.is_empty() {
        let header = batch::Header::parse(bytes)?;
        let size = header.size().min(bytes.len());
        let (one, rest) = bytes.split_at(size);
        bytes = rest;
        if header.is_control() {
            continue;
        }
        for record in batch::records(one, &mut scratch, &Default::default())? {
            let record = record?;
            let value = record.value.ok_or(MetadataLogError::Empty(record.offset))?;
            let offset = record.offset;
            let decoded = wire::MetadataRecord::decode(value)
                .map_err(|source| MetadataLogError::Record { offset, source })?;
            found.push(from_wire(decoded, offset)?);
        }
    }
    Ok(found)
}

fn to_wire(record: &MetadataRecord) -> wire::MetadataRecord<'_> {
    match record {
        MetadataRecord::Topic(topic) => {
            wire::TopicRecord { name: &topic.name, topic_id: topic.topic_id }.into()
        }
        MetadataRecord::Partition(partition) => wire_partition(partition).into(),
        MetadataRecord::Config(config) => wire::ConfigRecord {
            resource_type: config.resource.kind.to_wire(),
            resource_name: &config.resource.name,
            name: &config.name,
            value: config.value.as_deref(),
        }
        .into(),
        MetadataRecord::RemoveTopic { topic_id } => wire::RemoveTopicRecord { topic_id: *topic_id }.into(),
        MetadataRecord::ProducerIds(ids) => wire::ProducerIdsRecord {
            broker_id: ids.broker,
            broker_epoch: ids.broker_epoch,
            next_producer_id: ids.next_producer_id,
        }
        .into(),
        MetadataRecord::FeatureLevel(feature) => {
            wire::FeatureLevelRecord { name: &feature.name, feature_level: feature.level }.into()
        }
        MetadataRecord::RegisterBroker(broker) => wire_broker(broker).into(),
    }
}

fn wire_partition(partition: &meta::PartitionRecord) -> wire::PartitionRecord {
    let state = &partition.state;
    wire::PartitionRecord {
        partition_id: partition.partition,
        topic_id: partition.topic_id,
        replicas: state.replicas.clone(),
        isr: state.isr.clone(),
        removing_replicas: state.removing.clone(),
        adding_replicas: state.adding.clone(),
        leader: state.leader.unwrap_or(-1),
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        directories: state.directories.clone(),
        ..wire::PartitionRecord::default()
    }
}

fn wire_broker(broker: &meta::RegisterBrokerRecord) -> wire::RegisterBrokerRecord<'_> {
    let end_points = broker.endpoints.iter().map(|endpoint| wire::BrokerEndpoint {
        name: &endpoint.name,
        host: &endpoint.host,
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    });
    let features = broker.features.iter().map(|feature| wire::BrokerFeature {
        name: &feature.name,
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    });
    wire::RegisterBrokerRecord {
        broker_id: broker.broker,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: broker.rack.as_deref(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        ..wire::RegisterBrokerRecord::default()
    }
}

fn from_wire(record: wire::MetadataRecord<'_>, offset: i64) -> Result<MetadataRecord, MetadataLogError> {
    Ok(match record {
        wire::MetadataRecord::TopicRecord(topic) => {
            MetadataRecord::Topic(meta::TopicRecord { name: topic.name.to_owned(), topic_id: topic.topic_id })
        }
        wire::MetadataRecord::PartitionRecord(partition) => {
            MetadataRecord::Partition(meta::PartitionRecord {
                topic_id: partition.topic_id,
                partition: partition.partition_id,
                state: PartitionState {
                    replicas: partition.replicas,
                    isr: partition.isr,
                    removing: partition.removing_replicas,
                    adding: partition.adding_replicas,
                    leader: (partition.leader >= 0).then_some(partition.leader),
                    leader_epoch: partition.leader_epoch,
                    partition_epoch: partition.partition_epoch,
                    directories: partition.directories,
                },
            })
        }
        wire::MetadataRecord::ConfigRecord(config) => {
            let kind = ResourceKind::from_wire(config.resource_type).ok_or(MetadataLogError::Value {
                offset,
                what: "resource type",
                value: config.resource_type.into(),
            })?;
            MetadataRecord::Config(meta::ConfigRecord {
                resource: ConfigResource { kind, name: config.resource_name.to_owned() },
                name: config.name.to_owned(),
                value: config.value.map(str::to_owned),
            })
        }
        wire::MetadataRecord::RemoveTopicRecord(removed) => {
            MetadataRecord::RemoveTopic { topic_id: removed.topic_id }
        }
        wire::MetadataRecord::ProducerIdsRecord(ids) => {
            MetadataRecord::ProducerIds(meta::ProducerIdsRecord {
                broker: ids.broker_id,
                broker_epoch: ids.broker_epoch,
                next_producer_id: ids.next_producer_id,
            })
        }
        wire::MetadataRecord::FeatureLevelRecord(feature) => {
            let (name, level) = (feature.name.to_owned(), feature.feature_level);
            MetadataRecord::FeatureLevel(meta::FeatureLevelRecord { name, level })
        }
        wire::MetadataRecord::RegisterBrokerRecord(broker) => {
            MetadataRecord::RegisterBroker(broker_from_wire(broker))
        }
    })
}

fn broker_from_wire(broker: wire::RegisterBrokerRecord<'_>) -> meta::RegisterBrokerRecord {
    let endpoints = broker.end_points.into_iter().map(|endpoint| meta::Endpoint {
        name: endpoint.name.to_owned(),
        host: endpoint.host.to_owned(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    });
    let features = broker.features.into_iter().map(|feature| meta::BrokerFeature {
        name: feature.name.to_owned(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    meta::RegisterBrokerRecord {
        broker: broker.broker_id,
        incarnation: broker.incarnation_id,
        epoch: broker.broker_epoch,
        endpoints: endpoints.collect(),
        features: features.collect(),
        rack: broker.rack.map(str::to_owned),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn records() -> Vec<MetadataRecord> {
        let topic_id = Uuid::from_u128(7);
        let state = PartitionState {
            replicas: vec![1],
            isr: vec![1],
            removing: vec![],
            adding: vec![],
            leader: Some(1),
            leader_epoch: 4,
            partition_epoch: 5,
            directories: vec![Uuid::from_u128(9)],
        };
        let resource = ConfigResource::topic("orders");
        vec![
            MetadataRecord::Topic(meta::TopicRecord { name: "orders".into(), topic_id }),
            MetadataRecord::Partition(meta::PartitionRecord { topic_id, partition: 0, state }),
            MetadataRecord::Config(meta::ConfigRecord {
                resource,
                name: "segment.bytes".into(),
                value: None,
            }),
            MetadataRecord::ProducerIds(meta::ProducerIdsRecord {
                broker: 1,
                broker_epoch: 2,
                next_producer_id: 1000,
            }),
            MetadataRecord::FeatureLevel(meta::FeatureLevelRecord {
                name: "metadata.version".into(),
                level: 30,
            }),
            MetadataRecord::RegisterBroker(meta::RegisterBrokerRecord {
                broker: 1,
                incarnation: Uuid::from_u128(3),
                epoch: 11,
                endpoints: vec![meta::Endpoint {
                    name: "PLAINTEXT".into(),
                    host: "localhost".into(),
                    port: 9092,
                    security_protocol: 0,
                }],
                features: vec![meta::BrokerFeature { name: "metadata.version".into(), min: 7, max: 30 }],
                rack: None,
                fenced: false,
                in_controlled_shutdown: false,
                log_dirs: vec![Uuid::from_u128(9)],
            }),
            MetadataRecord::RemoveTopic { topic_id },
        ]
    }

    #[test]
    fn every_record_survives() {
        let mut bytes = encode(&records()[..3], 0, 0, 77).expect("encodes");
        bytes.extend(encode(&records()[3..], 3, 0, 78).expect("encodes"));
        assert_eq!(decode(&bytes).expect("our own"), records());
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        let mut builder = Builder::new();
        builder.push(0, None, Some(&[1, 99, 0, 0]), &[]).expect("small");
        let bytes = builder.finish(&Options::default()).expect("encodes");
        assert!(matches!(decode(&bytes), Err(MetadataLogError::Record { offset: 0, .. })));
    }
}
