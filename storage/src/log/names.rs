//! Names in a log's directory, and what the directory is called once it is deleted or put aside (as Kafka has them).

use uuid::Uuid;

pub(super) use millrace_proto::files::{
    INDEX_SUFFIX as INDEX, LOG_SUFFIX as LOG, RECENT_BATCHES_SUFFIX as COMPANION,
    SNAPSHOT_SUFFIX as SNAPSHOT, TIME_INDEX_SUFFIX as TIME_INDEX, offset_file_name as file,
    parse_offset_file_name as base_of,
};

/// Suffix of a file that is deleted and only waits for its readers.
pub(super) const DELETED: &str = ".deleted";
/// Suffix of a file that compaction is writing; a crash may leave one behind, which means nothing.
pub(super) const CLEANED: &str = ".cleaned";
/// Suffix of a log that compaction has written and that counts, but is not in its place yet.
pub(super) const SWAP: &str = ".swap";
const DELETED_DIR: &str = "-delete";
const STRAY_DIR: &str = "-stray";
/// Kafka's limit on a directory's name (`Topic` names are at most 249 long, file names 255).
const MAX_NAME: usize = 255;

/// What a log's directory is called once it is deleted: `<topic>-<partition>.<32 hex>-delete`, cut to fit.
pub(super) fn deleted_log(name: &str, unique: Uuid) -> String {
    renamed(name, unique, DELETED_DIR)
}

/// What the directory of a log that belongs to no topic is called: `<topic>-<partition>.<32 hex>-stray`, cut to fit.
pub(super) fn stray_log(name: &str, unique: Uuid) -> String {
    renamed(name, unique, STRAY_DIR)
}

fn renamed(name: &str, unique: Uuid, what: &str) -> String {
    let suffix = format!(".{}{what}", unique.simple());
    let kept = name.len().min(MAX_NAME - suffix.len());
    format!("{}{suffix}", &name[..name.floor_char_boundary_at(kept)])
}

/// Whether this is the name of a deleted log's directory.
pub(crate) fn is_deleted_log(name: &str) -> bool {
    name.strip_suffix(DELETED_DIR)
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `str::floor_char_boundary` is not stable yet.
trait CharBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl CharBoundary for str {
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        (0..=at).rev().find(|i| self.is_char_boundary(*i)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_proto::files::parse_partition_dir_name;

    #[test]
    fn deleted_directories() {
        let id = Uuid::from_u128(7);
        let name = deleted_log("orders-3", id);
        assert_eq!(name, "orders-3.00000000000000000000000000000007-delete");
        assert!(is_deleted_log(&name));
        assert!(parse_partition_dir_name(&name).is_none());
        assert!(!is_deleted_log("orders-delete"));
        let stray = stray_log("orders-3", id);
        assert_eq!(stray, "orders-3.00000000000000000000000000000007-stray");
        assert!(parse_partition_dir_name(&stray).is_none() && !is_deleted_log(&stray));
        let long = deleted_log(&"x".repeat(252), id);
        assert_eq!(long.len(), MAX_NAME);
        assert!(is_deleted_log(&long));
    }
}
