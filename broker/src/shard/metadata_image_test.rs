use super::*;
use millrace_io::simulated::Rng;
use millrace_logic::meta::{
    BrokerFeature, ConfigRecord, ConfigResource, Endpoint, FeatureLevelRecord, PartitionRecord,
    PartitionState, ProducerIdsRecord, RegisterBrokerRecord, ResourceKind, TopicRecord,
};
use uuid::Uuid;

const POSITION: Position = Position { end: 77, leader_epoch: 3, batch_crc: 0xdead_beef };

fn topic(number: u128, name: &str) -> [MetadataRecord; 3] {
    let topic_id = Uuid::from_u128(number);
    let partition = |partition, leader| {
        let state = PartitionState {
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            removing: vec![3],
            adding: vec![4, 5],
            leader,
            leader_epoch: 9,
            partition_epoch: 12,
            directories: vec![Uuid::from_u128(71), Uuid::from_u128(72), Uuid::from_u128(73)],
        };
        MetadataRecord::Partition(PartitionRecord { topic_id, partition, state })
    };
    let name = name.to_owned();
    [MetadataRecord::Topic(TopicRecord { name, topic_id }), partition(0, Some(1)), partition(1, None)]
}

fn config(kind: ResourceKind, name: &str) -> MetadataRecord {
    let resource = ConfigResource { kind, name: name.to_owned() };
    MetadataRecord::Config(ConfigRecord {
        resource,
        name: "key".to_owned(),
        value: Some("wert ä".to_owned()),
    })
}

fn broker(broker: i32, rack: Option<&str>) -> MetadataRecord {
    let endpoint =
        Endpoint { name: "GRPC".into(), host: "kafka.example".into(), port: 65_535, security_protocol: 3 };
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker,
        incarnation: Uuid::from_u128(u128::MAX),
        epoch: 1 << 40,
        endpoints: vec![endpoint.clone(), Endpoint { port: 1, ..endpoint }],
        features: vec![BrokerFeature { name: "metadata.version".to_owned(), min: 7, max: 30 }],
        rack: rack.map(str::to_owned),
        fenced: rack.is_none(),
        in_controlled_shutdown: rack.is_some(),
        log_dirs: vec![Uuid::from_u128(71)],
    })
}

/// Everything that an image can hold, and both sides of every option.
fn rich() -> Image {
    let mut records = Vec::new();
    records.push(MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: "metadata.version".into(),
        level: 30,
    }));
    records.extend([broker(1, None), broker(2, Some("a"))]);
    records.extend(topic(5, "orders.eu"));
    records.extend(topic(3, "plain"));
    records.extend([
        config(ResourceKind::Topic, "plain"),
        config(ResourceKind::Broker, "1"),
        config(ResourceKind::BrokerLogger, "1"),
        config(ResourceKind::ClientMetrics, "m"),
        config(ResourceKind::Group, "g"),
    ]);
    let ids = ProducerIdsRecord { broker: 1, broker_epoch: 2, next_producer_id: 5000 };
    records.push(MetadataRecord::ProducerIds(ids));
    Image::default().apply(&records, LogEnd::at(Offset::new(POSITION.end))).expect("records in order")
}

fn sealed() -> Vec<u8> {
    seal(rich().records(), POSITION).expect("encodes").to_vec()
}

/// What [`load`] does with the bytes, without the log.
fn read(file: &[u8]) -> Result<(Position, Image), Unusable> {
    let (position, archive) = open(file)?;
    let end = LogEnd::at(Offset::new(position.end));
    Ok((position, Image::default().apply(&content::decode(archive)?, end)?))
}

fn reseal(file: &mut [u8]) {
    let crc = crc32c::crc32c(&file[COVERED_AT..]);
    file[CRC_AT..COVERED_AT].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn everything_survives() {
    let (position, image) = read(&sealed()).expect("our own");
    assert_eq!((position, image), (POSITION, rich()));
    let empty = seal(Vec::new(), POSITION).expect("encodes");
    assert_eq!(read(&empty).expect("our own").1.records(), []);
}

/// When this fails, the bytes have changed: raise [`FORMAT`], then put the new number here.
#[test]
fn the_format_is_what_its_number_says() {
    assert_eq!(FORMAT, 1);
    let file = sealed();
    assert_eq!((file.len(), crc32c::crc32c(&file)), (1713, 1_652_973_630));
}

#[test]
fn what_is_cut_or_longer_is_refused() {
    let file = sealed();
    for cut in 0..file.len() {
        assert!(matches!(read(&file[..cut]), Err(Unusable::Format(_))), "cut at {cut}");
        if cut > HEADER_SIZE {
            let mut cut = file[..cut].to_vec();
            reseal(&mut cut);
            assert!(matches!(read(&cut), Err(Unusable::Format(FormatError::Truncated))));
        }
    }
    let mut longer = [&file[..], &[0]].concat();
    reseal(&mut longer);
    assert!(matches!(read(&longer), Err(Unusable::Format(FormatError::Trailing(1)))));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let file = sealed();
    for bit in 0..8 * file.len() {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(read(&damaged), Err(Unusable::Format(_))), "bit {bit}");
    }
}

#[test]
fn another_format_is_passed_over_by_name() {
    let mut newer = sealed();
    newer[MARK.len()..CRC_AT].copy_from_slice(&(FORMAT + 1).to_be_bytes());
    let refused = read(&newer).expect_err("not known yet");
    assert!(
        matches!(refused, Unusable::Format(FormatError::Version { found: 2, supported: 1 })),
        "{refused}"
    );
}

/// A right CRC proves nothing: whatever is behind it, reading it ends in an image or in an error.
#[test]
fn made_up_content_is_checked_before_it_is_believed() {
    let file = sealed();
    let mut rng = Rng::new(9);
    let (mut refused, rounds) = (0, 5000);
    for _ in 0..rounds {
        let mut made_up = file.clone();
        for _ in 0..rng.within(1..=4) {
            let at = HEADER_SIZE + rng.index(file.len() - HEADER_SIZE);
            made_up[at] = [0, 1, 0x7f, 0x80, 0xff, rng.bits() as u8][rng.index(6)];
        }
        reseal(&mut made_up);
        refused += i32::from(read(&made_up).is_err());
    }
    assert!(refused > rounds / 10, "{refused} of {rounds}");
}
