//! Adding partitions to topics: Kafka's checks with Kafka's messages, and the records that follow.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::{assign_one, deal};
use super::create::{CreateTopicError, MAX_PARTITIONS_PER_REQUEST};
use super::delta::{ApplyError, Delta};
use super::directories;
use super::record::{MetadataRecord, PartitionRecord};

/// A topic that is to have more partitions.
#[derive(Clone, Debug, Default)]
pub struct NewPartitions<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many it is to have, those it has included.
    pub count: i32,
    /// The brokers of each new one; `None` to have them dealt out.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// The answer for one topic of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionsCreation {
    /// The topic.
    pub name: String,
    /// Whether it has them now.
    pub outcome: Result<(), CreatePartitionsError>,
}

/// Why a topic has no more partitions than before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreatePartitionsError {
    /// `INVALID_REQUEST` (42).
    #[error("Duplicate topic name.")]
    Duplicate,
    /// `UNKNOWN_TOPIC_OR_PARTITION` (3).
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    /// `INVALID_PARTITIONS` (37).
    #[error("Topic already has {0} partition(s).")]
    Same(usize),
    /// `INVALID_PARTITIONS` (37).
    #[error("The topic {name} currently has {current} partition(s); {count} would not be an increase.")]
    Fewer {
        /// The topic.
        name: String,
        /// How many it has.
        current: usize,
        /// How many were asked for.
        count: i32,
    },
    /// `POLICY_VIOLATION` (44), for every topic of the request.
    #[error("Excessively large number of partitions per request.")]
    TooMany,
    /// `INVALID_REPLICA_ASSIGNMENT` (39).
    #[error(
        "Attempted to add {additional} additional partition(s), but only {assigned} assignment(s) were specified."
    )]
    Assignments {
        /// How many partitions are new.
        additional: usize,
        /// How many were assigned.
        assigned: usize,
    },
    /// As for a new topic.
    #[error(transparent)]
    Placement(#[from] CreateTopicError),
    /// `UNKNOWN_SERVER_ERROR` (-1): what was decided does not fit the metadata.
    #[error(transparent)]
    Inconsistent(#[from] ApplyError),
}

/// Decides on a whole request. One answer for each distinct name, in the order of the request; the delta holds what was decided.
pub(super) fn create_partitions(
    delta: &mut Delta,
    topics: &[NewPartitions<'_>],
) -> (Vec<PartitionsCreation>, Vec<MetadataRecord>) {
    let mut times = BTreeMap::new();
    topics.iter().for_each(|topic| *times.entry(topic.name).or_insert(0u32) += 1);
    let excessive = additional(delta, topics) > MAX_PARTITIONS_PER_REQUEST;
    let (mut replies, mut records, mut answered) = (Vec::new(), Vec::new(), BTreeSet::new());
    for topic in topics.iter().filter(|topic| answered.insert(topic.name)) {
        let outcome = match excessive {
            true => Err(CreatePartitionsError::TooMany),
            false if times[topic.name] > 1 => Err(CreatePartitionsError::Duplicate),
            false => add(delta, topic).map(|made| records.extend(made)),
        };
        replies.push(PartitionsCreation { name: topic.name.to_owned(), outcome });
    }
    (replies, records)
}

/// How many partitions all topics of a request ask for beyond those they have.
fn additional(delta: &Delta, topics: &[NewPartitions<'_>]) -> usize {
    let more = |topic: &NewPartitions<'_>| {
        let current = delta.image().topic(topic.name).map_or(0, |known| known.partitions.len());
        usize::try_from(topic.count).unwrap_or(0).saturating_sub(current)
    };
    topics.iter().map(more).fold(0, usize::saturating_add)
}

fn add(delta: &mut Delta, topic: &NewPartitions<'_>) -> Result<Vec<MetadataRecord>, CreatePartitionsError> {
    let image = delta.image();
    let known = image.topic(topic.name).ok_or(CreatePartitionsError::UnknownTopic)?;
    let current = known.partitions.len();
    let wanted = usize::try_from(topic.count).unwrap_or(0);
    if wanted == current {
        return Err(CreatePartitionsError::Same(current));
    }
    if wanted < current {
        let (name, count) = (topic.name.to_owned(), topic.count);
        return Err(CreatePartitionsError::Fewer { name, current, count });
    }
    let factor = known.partitions.first().map_or(1, |first| first.replicas.len());
    let new = current..wanted;
    let mut states = match &topic.assignments {
        None => deal(image, known.id, factor as i16, new)?,
        Some(assigned) if assigned.len() != new.len() => {
            let (additional, assigned) = (new.len(), assigned.len());
            return Err(CreatePartitionsError::Assignments { additional, assigned });
        }
        Some(assigned) => {
            let numbered = new.zip(assigned);
            let state = |(partition, replicas): (usize, &Vec<i32>)| {
                assign_one(image, partition as i32, replicas, factor)
            };
            numbered.map(state).collect::<Result<_, _>>()?
        }
    };
    directories::assign(image, &mut states);
    let topic_id = known.id;
    let record = |(partition, state)| {
        MetadataRecord::Partition(PartitionRecord { topic_id, partition: partition as i32, state })
    };
    let records: Vec<_> = (current..).zip(states).map(record).collect();
    for record in &records {
        delta.replay(record)?;
    }
    Ok(records)
}

#[cfg(test)]
#[path = "partitions_test.rs"]
mod tests;
