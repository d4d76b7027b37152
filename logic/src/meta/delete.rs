//! Deleting topics, by name or by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::delta::{ApplyError, Delta};
use super::image::{Image, Topic};
use super::record::MetadataRecord;

/// A topic to delete, as the request names it: by exactly one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicTarget<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its id; on the wire all zeroes say `None`.
    pub topic_id: Option<Uuid>,
}

impl<'a> TopicTarget<'a> {
    /// The topic of this name.
    pub fn named(name: &'a str) -> Self {
        Self { name: Some(name), topic_id: None }
    }

    /// The topic of this id.
    pub fn with_id(topic_id: Uuid) -> Self {
        Self { name: None, topic_id: Some(topic_id) }
    }

    /// Whether it names both or neither.
    fn is_malformed(&self) -> bool {
        self.name.is_some() == self.topic_id.is_some()
    }
}

/// The answer for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDeletion {
    /// The name: as asked for, or found by the id.
    pub name: Option<String>,
    /// The id: as asked for, or found by the name.
    pub topic_id: Option<Uuid>,
    /// Whether it was deleted.
    pub outcome: Result<(), DeleteTopicError>,
}

/// Why a topic was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// `INVALID_REQUEST` (42).
    #[error("Neither topic name nor id were specified.")]
    Neither,
    /// `INVALID_REQUEST` (42).
    #[error("You may not specify both topic name and topic id.")]
    Both,
    /// `INVALID_REQUEST` (42).
    #[error("Duplicate topic name.")]
    DuplicateName,
    /// `INVALID_REQUEST` (42).
    #[error("Duplicate topic id.")]
    DuplicateId,
    /// `INVALID_REQUEST` (42).
    #[error("The provided topic name maps to an ID that was already supplied.")]
    NameOfGivenId,
    /// `UNKNOWN_TOPIC_OR_PARTITION` (3).
    #[error("This server does not host this topic-partition.")]
    UnknownName,
    /// `UNKNOWN_TOPIC_ID` (100).
    #[error("This server does not host this topic ID.")]
    UnknownId,
    /// `UNKNOWN_SERVER_ERROR` (-1).
    #[error(transparent)]
    Inconsistent(#[from] ApplyError),
}

/// Decides on a whole request. Each distinct target is answered once, in the order of the request; the delta holds what was decided.
pub(super) fn delete_topics<'a>(
    delta: &mut Delta,
    targets: &[TopicTarget<'a>],
) -> (Vec<TopicDeletion>, Vec<MetadataRecord>) {
    let mut times = BTreeMap::new();
    targets.iter().for_each(|target| *times.entry(target).or_insert(0u32) += 1);
    let mut answered = BTreeSet::new();
    // Malformed targets are answered one by one, well-formed ones once.
    let distinct = |target: &&TopicTarget<'a>| target.is_malformed() || answered.insert(**target);
    // All are looked up before any is deleted: what one names another may name too.
    let find = |target: &TopicTarget<'a>| (*target, find(delta.image(), target, &times));
    let found: Vec<_> = targets.iter().filter(distinct).map(find).collect();
    let (mut replies, mut records) = (Vec::new(), Vec::new());
    for (target, found) in found {
        let outcome = found.and_then(|topic| {
            let record = MetadataRecord::RemoveTopic { topic_id: topic.id };
            delta.replay(&record)?;
            records.push(record);
            Ok(topic)
        });
        replies.push(match outcome {
            Ok(topic) => TopicDeletion {
                name: Some(topic.name.to_string()),
                topic_id: Some(topic.id),
                outcome: Ok(()),
            },
            Err(error) => {
                let name = target.name.map(str::to_owned);
                TopicDeletion { name, topic_id: target.topic_id, outcome: Err(error) }
            }
        });
    }
    (replies, records)
}

/// The topic to delete; `times` counts how often each target is named.
fn find(
    image: &Image,
    target: &TopicTarget<'_>,
    times: &BTreeMap<&TopicTarget<'_>, u32>,
) -> Result<Arc<Topic>, DeleteTopicError> {
    let repeated = times.get(target).is_some_and(|times| *times > 1);
    match (target.name, target.topic_id) {
        (None, None) => Err(DeleteTopicError::Neither),
        (Some(_), Some(_)) => Err(DeleteTopicError::Both),
        (Some(_), None) if repeated => Err(DeleteTopicError::DuplicateName),
        (None, Some(_)) if repeated => Err(DeleteTopicError::DuplicateId),
        (Some(name), None) => {
            let topic = image.topic(name).ok_or(DeleteTopicError::UnknownName)?;
            match times.contains_key(&TopicTarget::with_id(topic.id)) {
                true => Err(DeleteTopicError::NameOfGivenId),
                false => Ok(topic.clone()),
            }
        }
        (None, Some(id)) => image.topic_by_id(id).cloned().ok_or(DeleteTopicError::UnknownId),
    }
}
