use super::super::testing::{Partition, SECOND, batch};
use super::*;
use millrace_proto::compression::Codec;

fn damage(partition: &Partition) -> Vec<String> {
    partition_report(partition.path(), false).expect("readable").damage
}

/// Exactly one thing is wrong, and this is said of it.
fn one_damage(partition: &Partition, file: &str, said: &str) {
    let damage = damage(partition);
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].contains(file) && damage[0].contains(said), "{damage:?} lacks {file} or {said}");
}

#[test]
fn what_is_sound_is_called_so() {
    let partition = Partition::new();
    let report = partition_report(partition.path(), false).expect("readable");
    assert_eq!(report.damage, [""; 0]);
    assert_eq!((report.segments, report.batches, report.records), (2, 6, 12));
    assert!(run(partition.path(), false).is_ok());
}

#[test]
fn a_flipped_bit_is_found_and_what_follows_is_still_checked() {
    let partition = Partition::new();
    let first = batch(0, Codec::None).len();
    partition.edit(0, LOG_SUFFIX, |log| log[first - 1] ^= 1);
    one_damage(&partition, "00000000000000000000.log", "offset 0 at byte 0");
    let report = partition_report(partition.path(), false).expect("readable");
    assert_eq!(report.records, 10);
    assert!(run(partition.path(), false).is_err());
}

#[test]
fn a_torn_end_is_no_reserved_space() {
    let partition = Partition::new();
    let len =
        (batch(6, Codec::Lz4).len() + batch(8, Codec::Zstd).len() + batch(10, Codec::None).len()) as u64;
    partition.edit(SECOND, LOG_SUFFIX, |log| log.truncate(len as usize - 10));
    let damage = damage(&partition);
    assert!(
        damage.iter().any(|d| d.contains("00000000000000000006.log") && d.contains("bytes from byte")),
        "{damage:?}"
    );
}

#[test]
fn missing_and_repeated_offsets_are_found() {
    let partition = Partition::new();
    partition.edit(0, LOG_SUFFIX, |log| {
        let (first, second) = (batch(0, Codec::None).len(), batch(2, Codec::Gzip).len());
        let third = log.split_off(first + second);
        log.truncate(first + second);
        log.extend(batch(2, Codec::None));
        log.extend(third);
    });
    let said = damage(&partition).join("\n");
    assert!(said.contains("offset 2 at byte") && said.contains("comes again: 4 should"), "{said}");

    let partition = Partition::new();
    for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
        std::fs::remove_file(partition.file(0, suffix)).expect("removed");
    }
    assert_eq!(damage(&partition), [""; 0], "a log may begin anywhere");
    std::fs::write(partition.file(0, LOG_SUFFIX), batch(0, Codec::None)).expect("written");
    one_damage(&partition, "00000000000000000006.log", "offsets 2 to 5 are missing");
    assert_eq!(partition_report(partition.path(), true).expect("readable").damage, [""; 0]);
}

#[test]
fn indexes_are_compared_with_the_batches() {
    let partition = Partition::new();
    partition.edit(0, INDEX_SUFFIX, |index| index[7] ^= 1);
    one_damage(&partition, "00000000000000000000.index", "is that of no batch");

    let partition = Partition::new();
    partition.edit(0, INDEX_SUFFIX, |index| index[3] -= 1);
    one_damage(&partition, "00000000000000000000.index", "ends with offset 3, not 2");

    let partition = Partition::new();
    partition.edit(SECOND, TIME_INDEX_SUFFIX, |times| times[7] -= 1);
    one_damage(&partition, "00000000000000000006.timeindex", "up to offset 9 the largest timestamp");

    let partition = Partition::new();
    partition.edit(SECOND, TIME_INDEX_SUFFIX, |times| times[12..20].copy_from_slice(&0_i64.to_be_bytes()));
    let said = damage(&partition).join("\n");
    assert!(said.contains("is no larger"), "{said}");
}

#[test]
fn small_files_are_read() {
    let partition = Partition::new();
    partition.edit(SECOND, SNAPSHOT_SUFFIX, |snapshot| snapshot[3] ^= 1);
    one_damage(&partition, ".snapshot", "");
    let partition = Partition::new();
    std::fs::write(partition.path().join(LEADER_EPOCHS), "0\n2\n0 0\n").expect("written");
    one_damage(&partition, LEADER_EPOCHS, "");
}

#[test]
fn a_batch_counts_its_records() {
    // Announces one record more than it has; its CRC is made to fit.
    let mut bytes = batch(0, Codec::None);
    let header = Header::parse(&bytes).expect("a batch");
    let forged = Header { record_count: 3, last_offset_delta: 2, ..header };
    bytes[..Header::SIZE].copy_from_slice(&forged.encode());
    assert!(count_records(&bytes, &mut Vec::new()).is_err());
    assert_eq!(count_records(&batch(0, Codec::Snappy), &mut Vec::new()), Ok(2));
}
