//! Small files of keys and values: `meta.properties`, `partition.metadata` and `millrace.format`.

use super::{FormatError, decode_uuid, encode_uuid};
use std::str::FromStr;
use uuid::Uuid;

/// `meta.properties`, version 1: whose data directory this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id, by convention a UUID in 22 characters.
    pub cluster_id: String,
    /// The node's number.
    pub node_id: i32,
    /// The directory's own id (KIP-858); older Kafka versions wrote none.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    const VERSION: i64 = 1;

    /// The text of the file.
    pub fn encode(&self) -> String {
        let mut text = format!("version={}\n", Self::VERSION);
        text += &format!("cluster.id={}\nnode.id={}\n", escape(&self.cluster_id), self.node_id);
        if let Some(id) = self.directory_id {
            text += &format!("directory.id={}\n", encode_uuid(id));
        }
        text
    }

    /// Reads the file; other keys are ignored.
    ///
    /// # Errors
    /// [`FormatError::Version`] for version 0 (ZooKeeper) and for newer ones; missing or malformed values.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let pairs = Pairs::parse(bytes)?;
        pairs.expect_version("version", Self::VERSION)?;
        let cluster_id = pairs.require("cluster.id")?;
        if cluster_id.is_empty() {
            return Err(FormatError::Value("cluster.id"));
        }
        let node_id: i32 = pairs.number("node.id")?;
        if node_id < 0 {
            return Err(FormatError::Value("node.id"));
        }
        Ok(MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id,
            directory_id: pairs.get("directory.id").map(|text| uuid("directory.id", text)).transpose()?,
        })
    }
}

/// `partition.metadata`: which topic a partition's directory belongs to (KIP-516).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The topic's id, never all zeros.
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    const VERSION: i64 = 0;

    /// The text of the file, which has no newline at its end.
    pub fn encode(&self) -> String {
        format!("version: {}\ntopic_id: {}", Self::VERSION, encode_uuid(self.topic_id))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Another version; a missing, malformed or all-zero id.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let pairs = Pairs::parse(bytes)?;
        pairs.expect_version("version", Self::VERSION)?;
        let topic_id = uuid("topic_id", pairs.require("topic_id")?)?;
        if topic_id.is_nil() {
            Err(FormatError::Value("topic_id"))
        } else {
            Ok(PartitionMetadata { topic_id })
        }
    }
}

/// `millrace.format`: the version of everything in a data directory that is not Kafka's to number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFormat {
    /// The version, 1 or more.
    pub version: u32,
}

impl DataFormat {
    /// What this program writes, and the newest that it reads.
    pub const CURRENT: DataFormat = DataFormat { version: 1 };

    /// The text of the file.
    pub fn encode(&self) -> String {
        format!("format.version={}\n", self.version)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`FormatError::Version`] when a newer program wrote the directory; a missing or malformed version.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let version: u32 = Pairs::parse(bytes)?.number("format.version")?;
        match version {
            0 => Err(FormatError::Value("format.version")),
            found if found > Self::CURRENT.version => Err(FormatError::Version {
                found: i64::from(found),
                supported: i64::from(Self::CURRENT.version),
            }),
            version => Ok(DataFormat { version }),
        }
    }
}

/// The lines of Java's properties syntax that these files use: comments, `key=value`, `key: value`, backslashes before
/// punctuation (Java puts one before ':', '=', '#' and '!').
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let text = str::from_utf8(bytes).map_err(|_| FormatError::NotText)?;
        let mut pairs = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) = line.split_once(['=', ':']).ok_or(FormatError::Line(i + 1))?;
            pairs.push((key.trim().to_owned(), unescape(value.trim()).ok_or(FormatError::Line(i + 1))?));
        }
        Ok(Pairs(pairs))
    }

    /// The last value of the key, as in Java.
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    fn require(&self, key: &'static str) -> Result<&str, FormatError> {
        self.get(key).ok_or(FormatError::Missing(key))
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<T, FormatError> {
        self.require(key)?.parse().map_err(|_| FormatError::Value(key))
    }

    fn expect_version(&self, key: &'static str, supported: i64) -> Result<(), FormatError> {
        let found = self.number(key)?;
        if found == supported { Ok(()) } else { Err(FormatError::Version { found, supported }) }
    }
}

fn uuid(key: &'static str, text: &str) -> Result<Uuid, FormatError> {
    decode_uuid(text).ok_or(FormatError::Value(key))
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | '=' | ':' | '#' | '!') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// `None` for a backslash before a letter or a digit, or at the end: no value of these files needs one.
fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '\\' => characters.next().filter(|next| !next.is_alphanumeric())?,
            character => character,
        };
        text.push(plain);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "Ej5FZ-ibEtOkVkJmFBdAAA";

    #[test]
    fn meta_properties_as_kafka_writes_them() {
        let kafkas = format!(
            "#\n#Thu Jan 01 00:00:00 UTC 1970\nnode.id=3\ndirectory.id={ID}\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n"
        );
        let meta = MetaProperties {
            cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
            node_id: 3,
            directory_id: decode_uuid(ID),
        };
        assert_eq!(MetaProperties::parse(kafkas.as_bytes()), Ok(meta.clone()));
        assert_eq!(
            meta.encode(),
            format!("version=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\nnode.id=3\ndirectory.id={ID}\n")
        );
    }

    #[test]
    fn any_cluster_id_survives() {
        for cluster_id in ["x", "a=b:c#d!e\\f", "-"] {
            let meta = MetaProperties { cluster_id: cluster_id.to_owned(), node_id: 0, directory_id: None };
            assert_eq!(MetaProperties::parse(meta.encode().as_bytes()), Ok(meta));
        }
    }

    #[test]
    fn meta_properties_name_what_is_wrong() {
        for (text, error) in [
            ("", FormatError::Missing("version")),
            ("version=0\nbroker.id=1", FormatError::Version { found: 0, supported: 1 }),
            ("version=1", FormatError::Missing("cluster.id")),
            ("version=1\ncluster.id=", FormatError::Value("cluster.id")),
            ("version=1\ncluster.id=c\nnode.id=x", FormatError::Value("node.id")),
            ("version=1\ncluster.id=c\nnode.id=-1", FormatError::Value("node.id")),
            ("version=1\ncluster.id=c\nnode.id=1\ndirectory.id=?", FormatError::Value("directory.id")),
            ("version", FormatError::Line(1)),
            ("version=1\ncluster.id=\\u0041", FormatError::Line(2)),
        ] {
            assert_eq!(MetaProperties::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(MetaProperties::parse(&[0xc0]), Err(FormatError::NotText));
    }

    #[test]
    fn partition_metadata_has_kafkas_text() {
        let metadata = PartitionMetadata { topic_id: decode_uuid(ID).unwrap() };
        let text = metadata.encode();
        assert_eq!(text, format!("version: 0\ntopic_id: {ID}"));
        assert_eq!(PartitionMetadata::parse(text.as_bytes()), Ok(metadata));
        assert_eq!(PartitionMetadata::parse(b"version: 0"), Err(FormatError::Missing("topic_id")));
        let zeros = b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(PartitionMetadata::parse(zeros), Err(FormatError::Value("topic_id")));
        let newer = FormatError::Version { found: 1, supported: 0 };
        assert_eq!(PartitionMetadata::parse(b"version: 1"), Err(newer));
    }

    #[test]
    fn newer_data_formats_are_refused() {
        let text = DataFormat::CURRENT.encode();
        assert_eq!(text, "format.version=1\n");
        assert_eq!(DataFormat::parse(text.as_bytes()), Ok(DataFormat::CURRENT));
        let newer = FormatError::Version { found: 2, supported: 1 };
        assert_eq!(DataFormat::parse(b"format.version=2"), Err(newer));
        assert_eq!(DataFormat::parse(b"format.version=0"), Err(FormatError::Value("format.version")));
        assert_eq!(DataFormat::parse(b""), Err(FormatError::Missing("format.version")));
    }
}
