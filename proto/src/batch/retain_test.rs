use super::*;
use crate::batch::{Builder, Options, Producer, stamp, stamp_log_append_time, verify};

const HORIZON: i64 = 900_000;

/// Keys a to e, of which c and e are tombstones; offsets from 100 on.
fn batch(codec: Codec) -> BytesMut {
    let mut builder = Builder::new();
    for (key, value) in [("a", Some("1")), ("b", Some("2")), ("c", None), ("d", Some("4")), ("e", None)] {
        let timestamp = 1000 + i64::from(key.as_bytes()[0]);
        builder.push(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    let producer = Some(Producer { id: 7, epoch: 1, base_sequence: 40 });
    let mut bytes = builder.finish(&Options { codec, producer, ..Options::default() }).unwrap();
    stamp(&mut bytes, 100, 3);
    bytes
}

fn retain(bytes: &[u8], keep: &str) -> Retained {
    let wanted = |record: &Record<'_>| record.key.is_some_and(|key| keep.as_bytes().contains(&key[0]));
    Retain::default().records(bytes, &Caps::default(), HORIZON, wanted).unwrap()
}

fn some(bytes: &[u8], keep: &str) -> Bytes {
    match retain(bytes, keep) {
        Retained::Some(left) => left,
        other => panic!("{other:?}"),
    }
}

/// Offset, timestamp and key of each record.
fn content(bytes: &[u8]) -> Vec<(i64, i64, u8)> {
    let mut scratch = Vec::new();
    let all = records(bytes, &mut scratch, &Caps::default()).unwrap();
    all.map(|record| record.unwrap()).map(|r| (r.offset, r.timestamp, r.key.unwrap()[0])).collect()
}

#[test]
fn what_stays_keeps_its_offset_and_timestamp() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let before = batch(codec);
        let left = some(&before, "bd");
        let header = verify(&left).unwrap();
        assert_eq!(content(&left), [(101, 1098, b'b'), (103, 1100, b'd')], "{codec}");
        assert_eq!((header.base_offset, header.last_offset(), header.leader_epoch), (100, 104, 3));
        assert_eq!((header.producer_id, header.base_sequence, header.last_sequence()), (7, 40, 44));
        assert_eq!((header.max_timestamp, header.codec()), (1100, Ok(codec)));
        assert_eq!(header.delete_horizon(), None, "no tombstone is left");
    }
}

#[test]
fn a_tombstone_that_stays_is_given_a_horizon_once() {
    for codec in [Codec::None, Codec::Zstd] {
        let left = some(&batch(codec), "abcde");
        assert_eq!(content(&left), content(&batch(codec)));
        assert_eq!(verify(&left).unwrap().delete_horizon(), Some(HORIZON));
        assert_eq!(retain(&left, "abcde"), Retained::All);
        let again = Retain::default().records(&left, &Caps::default(), HORIZON + 5, |r| r.key != Some(b"a"));
        let Ok(Retained::Some(again)) = again else { panic!("{again:?}") };
        assert_eq!(verify(&again).unwrap().delete_horizon(), Some(HORIZON));
        assert_eq!(content(&again), content(&left)[1..]);
    }
}

#[test]
fn append_time_is_the_records_time_whatever_goes() {
    let mut before = batch(Codec::None);
    stamp_log_append_time(&mut before, 5000);
    let left = some(&before, "ac");
    assert_eq!(content(&left), [(100, 5000, b'a'), (102, 5000, b'c')]);
    assert_eq!(verify(&left).unwrap().max_timestamp, 5000);
}

#[test]
fn nothing_changes_where_everything_stays() {
    let mut builder = Builder::new();
    builder.push(5, Some(b"k"), Some(b"v"), &[]).unwrap();
    let bytes = builder.finish(&Options::default()).unwrap();
    assert_eq!(retain(&bytes, "k"), Retained::All);
    assert_eq!(retain(&bytes, ""), Retained::None);
    assert_eq!(retain(&placeholder(5, 9, 0), "k"), Retained::None);
}

#[test]
fn a_horizon_out_of_reach_is_not_set() {
    let mut builder = Builder::new();
    builder.push(i64::MAX, Some(b"k"), None, &[]).unwrap();
    let bytes = builder.finish(&Options::default()).unwrap();
    let kept = Retain::default().records(&bytes, &Caps::default(), -2, |_| true);
    assert_eq!(kept, Ok(Retained::All));
}

#[test]
fn batches_without_records_keep_what_they_stand_for() {
    let header = verify(&batch(Codec::Lz4)).unwrap();
    let empty = verify(&emptied(&header)).unwrap();
    assert_eq!((empty.base_offset, empty.last_offset(), empty.record_count), (100, 104, 0));
    assert_eq!((empty.producer_id, empty.last_sequence(), empty.codec()), (7, 44, Ok(Codec::None)));
    assert_eq!((empty.newest(), empty.max_timestamp), (None, header.max_timestamp));
    let gap = verify(&placeholder(10, 4_000, 2)).unwrap();
    assert_eq!((gap.base_offset, gap.next_offset(), gap.leader_epoch), (10, 4_001, 2));
    assert!(!gap.has_producer_id() && gap.newest().is_none());
    assert_eq!(content(&placeholder(1, 1, 0)), []);
}

#[test]
fn damage_is_an_error() {
    let bytes = batch(Codec::None);
    let error = |bytes: &[u8]| Retain::default().records(bytes, &Caps::default(), 0, |_| true).is_err();
    assert!(error(&bytes[..80]));
    let mut damaged = bytes.to_vec();
    damaged[Header::SIZE] = 0x7f;
    assert!(error(&damaged));
}
