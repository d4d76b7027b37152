//! Which brokers get new partitions: dealt out, or assigned by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use uuid::Uuid;

use super::create::{CreateTopicError, NewTopic, TopicDefaults};
use super::image::{Image, PartitionState};

/// Places the partitions of a new topic.
pub(super) fn place(
    image: &Image,
    topic: &NewTopic<'_>,
    defaults: TopicDefaults,
    topic_id: Uuid,
) -> Result<Vec<PartitionState>, CreateTopicError> {
    let factor = match topic.replication_factor {
        -1 => defaults.replication_factor,
        factor => factor,
    };
    let count = match topic.num_partitions {
        -1 => defaults.num_partitions,
        count => count,
    };
    if factor < 1 {
        return Err(CreateTopicError::ReplicationFactor);
    }
    if count < 1 {
        return Err(CreateTopicError::Partitions);
    }
    deal(image, topic_id, factor, 0..count as usize)
}

/// Deals partitions out over the brokers: each starts one broker further, brokers that do not serve come last.
pub(super) fn deal(
    image: &Image,
    topic_id: Uuid,
    factor: i16,
    partitions: Range<usize>,
) -> Result<Vec<PartitionState>, CreateTopicError> {
    let (serving, idle): (Vec<i32>, Vec<i32>) =
        image.brokers().map(|broker| broker.broker).partition(|&broker| serves(image, broker));
    let brokers = serving.len() + idle.len();
    if serving.is_empty() {
        return Err(CreateTopicError::AllFenced { factor });
    }
    if factor as usize > brokers {
        return Err(CreateTopicError::TooFewBrokers { factor, brokers });
    }
    let start = (topic_id.as_u128() % serving.len() as u128) as usize;
    let replicas = |partition: usize| {
        let turned = serving.iter().cycle().skip((start + partition) % serving.len()).take(serving.len());
        turned.chain(&idle).take(factor as usize).copied().collect()
    };
    Ok(partitions.map(|partition| new_partition(image, replicas(partition))).collect())
}

/// Takes an assignment made by hand.
pub(super) fn assign(image: &Image, topic: &NewTopic<'_>) -> Result<Vec<PartitionState>, CreateTopicError> {
    if topic.replication_factor != -1 {
        return Err(CreateTopicError::AssignmentAnd { field: "replication factor" });
    }
    if topic.num_partitions != -1 {
        return Err(CreateTopicError::AssignmentAnd { field: "numPartitions" });
    }
    let mut partitions = BTreeMap::new();
    let mut factor = None;
    for (partition, replicas) in &topic.assignments {
        let state = assign_one(image, *partition, replicas, *factor.get_or_insert(replicas.len()))?;
        if partitions.insert(*partition, state).is_some() {
            let message = format!("Found multiple manual partition assignments for partition {partition}");
            return Err(CreateTopicError::Assignment(message));
        }
    }
    if !(0..).zip(partitions.keys()).all(|(expected, partition)| expected == *partition) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(CreateTopicError::Assignment(message.to_owned()));
    }
    Ok(partitions.into_values().collect())
}

/// Takes the replicas of one partition, which must be `factor` serving brokers.
pub(super) fn assign_one(
    image: &Image,
    partition: i32,
    replicas: &[i32],
    factor: usize,
) -> Result<PartitionState, CreateTopicError> {
    let refuse = |message: String| Err(CreateTopicError::Assignment(message));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut seen = BTreeSet::new();
    for broker in replicas {
        if image.broker(*broker).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
        if !seen.insert(broker) {
            return refuse(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
    }
    if replicas.len() != factor {
        return refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s).",
            replicas.len()
        ));
    }
    let state = new_partition(image, replicas.to_vec());
    if state.isr.is_empty() {
        return refuse(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
             controlled shutdown."
        ));
    }
    Ok(state)
}

/// A partition at its beginning: in sync is who serves, and the first of them leads.
fn new_partition(image: &Image, replicas: Vec<i32>) -> PartitionState {
    let isr: Vec<i32> = replicas.iter().copied().filter(|&broker| serves(image, broker)).collect();
    PartitionState {
        leader: isr.first().copied(),
        replicas,
        isr,
        removing: Vec::new(),
        adding: Vec::new(),
        leader_epoch: 0,
        partition_epoch: 0,
        directories: Vec::new(),
    }
}

fn serves(image: &Image, broker: i32) -> bool {
    image.broker(broker).is_some_and(|broker| !broker.fenced && !broker.in_controlled_shutdown)
}
