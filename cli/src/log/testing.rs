//! A partition's directory for tests, made of the same parts as a real one.

use millrace_proto::batch::{Builder, Header, Options, Producer};
use millrace_proto::compression::Codec;
use millrace_proto::files::{
    INDEX_SUFFIX, LEADER_EPOCHS, LOG_SUFFIX, LeaderEpoch, OffsetIndexEntry, SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX, TimeIndexEntry, encode_leader_epochs, encode_producer_snapshot, offset_file_name,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Two segments of three batches of two records each, with each codec.
pub struct Partition {
    pub dir: TempDir,
}

/// The base offset of the second segment.
pub const SECOND: i64 = 6;

pub fn batch(base_offset: i64, codec: Codec) -> Vec<u8> {
    let mut builder = Builder::new();
    for n in 0..2 {
        let value = format!("value {} of some length, of some length", base_offset + n);
        builder
            .push(1_700_000_000_000 + base_offset + n, Some(b"k"), Some(value.as_bytes()), &[])
            .expect("fits");
    }
    let producer = Some(Producer { id: 7, epoch: 0, base_sequence: base_offset as i32 });
    let options = Options { codec, producer, base_offset, leader_epoch: 0, ..Options::default() };
    builder.finish(&options).expect("fits").to_vec()
}

impl Partition {
    pub fn new() -> Self {
        let partition = Self { dir: tempfile::tempdir().expect("a directory") };
        let codecs = Codec::ALL.into_iter().chain([Codec::None]).collect::<Vec<_>>();
        for base in [0, SECOND] {
            let from = base as usize / 2;
            let codecs = &codecs[from..from + 3];
            let (mut log, mut index, mut times) = (Vec::new(), Vec::new(), Vec::new());
            for (nth, codec) in codecs.iter().enumerate() {
                let bytes = batch(base + 2 * nth as i64, *codec);
                let header = Header::parse(&bytes).expect("a batch");
                let relative_offset = (header.last_offset() - base) as u32;
                if nth > 0 {
                    index.extend(OffsetIndexEntry { relative_offset, position: log.len() as u32 }.encode());
                    times
                        .extend(TimeIndexEntry { timestamp: header.max_timestamp, relative_offset }.encode());
                }
                log.extend(bytes);
            }
            // As after a crash: reserved and not written.
            log.extend([0; 100]);
            index.extend([0; 16]);
            times.extend([0; 24]);
            for (suffix, content) in [(LOG_SUFFIX, log), (INDEX_SUFFIX, index), (TIME_INDEX_SUFFIX, times)] {
                std::fs::write(partition.file(base, suffix), content).expect("written");
            }
        }
        let epochs = encode_leader_epochs(&[LeaderEpoch { epoch: 0, start_offset: 0 }]);
        std::fs::write(partition.path().join(LEADER_EPOCHS), epochs).expect("written");
        std::fs::write(partition.file(SECOND, SNAPSHOT_SUFFIX), encode_producer_snapshot(&[]))
            .expect("written");
        partition
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, base: i64, suffix: &str) -> PathBuf {
        self.path().join(offset_file_name(base, suffix))
    }

    /// Changes a file.
    pub fn edit(&self, base: i64, suffix: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let file = self.file(base, suffix);
        let mut content = std::fs::read(&file).expect("read");
        edit(&mut content);
        std::fs::write(file, content).expect("written");
    }
}
