//! DescribeGroups, ConsumerGroupDescribe, ListGroups and DeleteGroups.

use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

use super::classic::{CONSUMER, State};
use super::consumer::{Held, Partitions};
use super::request::{ConsumerDescription, ConsumerMember, DescribedMember, Description, Listing, Refusal};
use super::{Coordinator, Effect, GroupRecord};

impl<T> Coordinator<T> {
    pub(super) fn describe(&self, id: &str) -> Result<Description, Refusal> {
        let missing = |why| Refusal::new(ErrorCode::GroupIdNotFound, why);
        let group = self.groups.get(id).ok_or_else(|| missing(format!("Group {id} not found.")))?;
        if group.consumer.is_some() {
            return Err(missing(format!("Group {id} is not a classic group.")));
        }
        // Between generations nobody knows what holds of what members said.
        let protocol = group.protocol.as_deref().filter(|_| group.state == State::Stable);
        let members = group.members.values().map(|member| DescribedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        Ok(Description {
            state: group.state.name(),
            protocol_type: group.protocol_type.as_deref().unwrap_or_default().to_owned(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        })
    }

    pub(super) fn describe_consumers(&self, id: &str) -> Result<ConsumerDescription, Refusal> {
        let missing = |why| Refusal::new(ErrorCode::GroupIdNotFound, why);
        let group = self.groups.get(id).ok_or_else(|| missing(format!("Group {id} not found.")))?;
        let group = group.consumer.as_ref();
        let group = group.ok_or_else(|| missing(format!("Group {id} is not a consumer group.")))?;
        let members = group.members.values().map(|member| ConsumerMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            rack: member.rack.clone(),
            is_classic: member.classic.is_some(),
            epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: member.topics.iter().cloned().collect(),
            regex: member.regex.as_deref().unwrap_or_default().to_owned(),
            assigned: held(&member.assigned),
            revoking: held(&member.revoking),
            target: wanted(&member.target),
        });
        Ok(ConsumerDescription {
            state: group.state(),
            epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            assignor: group.assignor(&self.settings).name(),
            members: members.collect(),
        })
    }

    pub(super) fn list(&self) -> Vec<Listing> {
        let listing = |group: &super::classic::Group<T>| match &group.consumer {
            Some(consumer) => Listing {
                group: group.id.clone(),
                protocol_type: CONSUMER.to_owned(),
                state: consumer.state(),
                group_type: "consumer",
            },
            None => Listing {
                group: group.id.clone(),
                protocol_type: group.protocol_type.as_deref().unwrap_or_default().to_owned(),
                state: group.state.name(),
                group_type: "classic",
            },
        };
        self.groups.values().map(listing).collect()
    }

    pub(super) fn delete(&mut self, id: &str, out: &mut Vec<Effect<T>>) -> Result<(), ErrorCode> {
        let group = self.groups.get(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let offsets = group.offsets.iter();
        out.extend(
            offsets.map(|(topic, partition, _)| Effect::Append(GroupRecord::no_offset(id, topic, partition))),
        );
        out.extend(group.tombstones().into_iter().map(Effect::Append));
        self.groups.remove(id);
        Ok(())
    }
}

fn held(held: &Held) -> Vec<(Uuid, Vec<i32>)> {
    held.iter().map(|(topic, numbers)| (*topic, numbers.keys().copied().collect())).collect()
}

fn wanted(partitions: &Partitions) -> Vec<(Uuid, Vec<i32>)> {
    partitions.iter().map(|(topic, numbers)| (*topic, numbers.iter().copied().collect())).collect()
}
