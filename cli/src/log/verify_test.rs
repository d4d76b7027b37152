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
    assert!(run(&[partition.path().to_owned()], false).is_ok());
}

#[test]
fn a_flipped_bit_is_found_and_what_follows_is_still_checked() {
    let partition = Partition::new();
    let first = batch(0, Codec::None).len();
    partition.edit(0, LOG_SUFFIX, |log| log[first - 1] ^= 1);
    one_damage(&partition, "00000000000000000000.log", "offset 0 at byte 0");
    let report = partition_report(partition.path(), false).expect("readable");
    assert_eq!(report.records, 10);
    assert!(run(&[partition.path().to_owned()], false).is_err());
}

/// Bytes of the batches of the second segment, without what is reserved behind them.
fn second_len() -> usize {
    batch(6, Codec::Lz4).len() + batch(8, Codec::Zstd).len() + batch(10, Codec::None).len()
}

#[test]
fn an_unfinished_tail_is_a_warning_in_the_last_segment_only() {
    for cut in [10, batch(10, Codec::None).len() - 30] {
        let partition = Partition::new();
        partition.edit(SECOND, LOG_SUFFIX, |log| log.truncate(second_len() - cut));
        let report = partition_report(partition.path(), false).expect("readable");
        assert_eq!(report.damage, [""; 0]);
        assert_eq!(report.warnings.len(), 1);
        let warning = &report.warnings[0];
        assert!(warning.contains("00000000000000000006.log: unfinished tail: "), "{warning}");
        assert!(warning.ends_with("where offset 10 would be"), "{warning}");
        assert!(run(&[partition.path().to_owned()], false).is_ok());
    }
    let partition = Partition::new();
    partition.edit(0, LOG_SUFFIX, |log| log.truncate(log.len() - 110));
    let report = partition_report(partition.path(), false).expect("readable");
    assert_eq!(report.warnings, [""; 0]);
    assert!(report.damage.iter().any(|d| d.contains("00000000000000000000.log: ")), "{:?}", report.damage);
}

#[test]
fn a_length_beyond_the_end_before_other_batches_is_damage() {
    let partition = Partition::new();
    let second = batch(6, Codec::Lz4).len();
    partition.edit(SECOND, LOG_SUFFIX, |log| log[second + 8] = 0x70);
    let report = partition_report(partition.path(), false).expect("readable");
    assert_eq!(report.warnings, [""; 0]);
    assert!(report.damage[0].contains(&format!("bytes from byte {second} on")), "{:?}", report.damage);
}

#[test]
fn a_segment_begins_with_the_offset_of_its_name() {
    let partition = Partition::new();
    let wrong = partition.path().join("of-another-0");
    std::fs::create_dir(&wrong).expect("made");
    let file = wrong.join(offset_file_name(5, LOG_SUFFIX));
    std::fs::copy(partition.file(SECOND, LOG_SUFFIX), &file).expect("copied");
    let report = partition_report(&wrong, false).expect("readable");
    assert!(report.damage.len() == 1 && report.damage[0].contains("begins with offset 6"), "{report:?}");
    assert_eq!(partition_report(&wrong, true).expect("readable").damage, [""; 0]);
}

#[test]
fn files_are_checked_alone() {
    let partition = Partition::new();
    for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
        let report = file_report(&partition.file(SECOND, suffix), false).expect("readable");
        assert_eq!((report.damage.len(), report.segments, report.batches), (0, 1, 3), "{suffix}");
    }
    let snapshot = partition.file(SECOND, SNAPSHOT_SUFFIX);
    assert_eq!(file_report(&snapshot, false).expect("readable").damage.len(), 0);
    partition.edit(SECOND, SNAPSHOT_SUFFIX, |content| content[3] ^= 1);
    assert_eq!(file_report(&snapshot, false).expect("readable").damage.len(), 1);
    partition.edit(SECOND, INDEX_SUFFIX, |index| index[7] ^= 1);
    assert!(run(&[partition.file(0, LOG_SUFFIX), partition.file(SECOND, INDEX_SUFFIX)], false).is_err());
    for unknown in ["notes.txt", "00000000000000000099.log", "00000000000000000099.index"] {
        assert!(file_report(&partition.path().join(unknown), false).is_err(), "{unknown}");
    }
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
