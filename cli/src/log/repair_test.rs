use super::*;
use crate::log::testing::{Partition as Files, SECOND, batch};
use crate::log::verify::partition_report;
use millrace_proto::compression::Codec;

/// Where the second batch of the first segment begins.
fn second_batch() -> usize {
    batch(0, Codec::ALL[0]).len()
}

fn ranges(files: &Files) -> Vec<(i64, i64)> {
    let partition = Partition::survey(files.path(), &files.path().join("..")).expect("readable");
    partition.damage.iter().map(|damage| (damage.from, damage.upto)).collect()
}

fn kept(files: &Files) -> Vec<String> {
    names(files.path()).expect("readable").into_iter().filter(|name| name.contains(".cut-")).collect()
}

#[test]
fn nothing_is_done_to_what_is_sound() {
    let files = Files::new();
    // The first segment of the sample ends with reserved space, as no segment but the last does.
    files.edit(0, LOG_SUFFIX, |log| log.truncate(log.len() - 100));
    assert_eq!(ranges(&files), []);
    assert!(run(files.path(), Remedy::Skip).is_ok());
    assert_eq!(kept(&files), Vec::<String>::new());
}

#[test]
fn damage_is_skipped_and_kept() {
    let files = Files::new();
    let at = second_batch();
    files.edit(0, LOG_SUFFIX, |log| {
        log.truncate(log.len() - 100);
        log[at + 80] ^= 1;
    });
    assert_eq!(ranges(&files), [(2, 4)]);
    assert!(run(files.path(), Remedy::None).is_err(), "somebody has to choose");
    assert_eq!(ranges(&files), [(2, 4)]);
    assert!(run(files.path(), Remedy::Skip).is_ok());
    assert_eq!(ranges(&files), []);
    assert_eq!(kept(&files), ["00000000000000000000.log.cut-2"]);
    assert!(!files.file(0, INDEX_SUFFIX).exists(), "a start makes it anew");
    let report = partition_report(files.path(), false).expect("readable");
    assert_eq!(report.damage, Vec::<String>::new());
}

#[test]
fn bytes_that_are_none_of_ours_are_taken_out() {
    let files = Files::new();
    let at = second_batch();
    files.edit(0, LOG_SUFFIX, |log| {
        log.truncate(log.len() - 100);
        log.splice(at..at, [2; 77]);
    });
    assert_eq!(ranges(&files), [(2, 2)], "no offset is lost");
    assert!(run(files.path(), Remedy::Skip).is_ok());
    assert_eq!(ranges(&files), []);
    assert_eq!(std::fs::read(files.path().join(&kept(&files)[0])).expect("kept"), [2; 77]);
}

#[test]
fn a_segment_that_lost_its_end_is_bridged() {
    let files = Files::new();
    let at = second_batch();
    files.edit(0, LOG_SUFFIX, |log| log.truncate(at));
    assert_eq!(ranges(&files), [(2, SECOND)]);
    assert!(run(files.path(), Remedy::Skip).is_ok());
    assert_eq!(ranges(&files), []);
}

#[test]
fn a_log_is_cut_where_damage_begins() {
    let files = Files::new();
    let at = second_batch();
    files.edit(0, LOG_SUFFIX, |log| log[at + 80] ^= 1);
    assert!(run(files.path(), Remedy::Truncate).is_ok());
    assert_eq!(ranges(&files), []);
    assert_eq!(segments(files.path()).expect("readable"), [0]);
    assert_eq!(
        kept(&files),
        ["00000000000000000000.log.cut-2", "00000000000000000006.log.cut-2"],
        "what was cut is there"
    );
    assert_eq!(std::fs::metadata(files.file(0, LOG_SUFFIX)).expect("there").len(), at as u64);
    assert!(!files.file(SECOND, SNAPSHOT_SUFFIX).exists());
}

#[test]
fn checkpoints_claim_no_more_than_there_is() {
    let data_dir = tempfile::tempdir().expect("a directory");
    let dir = data_dir.path().join("orders-3");
    let sample = Files::new();
    std::fs::create_dir(&dir).expect("made");
    for name in names(sample.path()).expect("readable") {
        std::fs::copy(sample.path().join(&name), dir.join(&name)).expect("copied");
    }
    let entry = |topic: &str, offset| PartitionOffset { topic: topic.into(), partition: 3, offset };
    let points = data_dir.path().join(RECOVERY_POINTS);
    std::fs::write(&points, encode_offsets(&[entry("orders", 12), entry("other", 12)])).expect("written");
    let log = dir.join(offset_file_name(SECOND, LOG_SUFFIX));
    let content = std::fs::read(&log).expect("there");
    std::fs::write(&log, &content[..90]).expect("written");
    let partition = Partition::survey(&dir, data_dir.path()).expect("readable");
    let last = partition.damage.last().map(|damage| (damage.from, damage.upto));
    assert_eq!(last, Some((SECOND, 12)), "it was durable");
    assert!(run(&dir, Remedy::Truncate).is_ok());
    let left = parse_offsets(&std::fs::read(&points).expect("there")).expect("sound");
    assert!(left[0].offset <= SECOND && left[1] == entry("other", 12), "{left:?}");
}

#[test]
fn a_broker_that_runs_is_left_alone() {
    let data_dir = tempfile::tempdir().expect("a directory");
    let dir = data_dir.path().join("orders-0");
    std::fs::create_dir(&dir).expect("made");
    let _held = Lock::take(&data_dir.path().join(LOCK)).expect("free");
    let refused = run(&dir, Remedy::Skip).expect_err("it runs");
    assert!(format!("{refused:?}").contains("a broker is running"), "{refused:?}");
}
