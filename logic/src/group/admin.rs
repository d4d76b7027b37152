//! DescribeGroups, ListGroups and DeleteGroups.

use millrace_proto::kafka::error::ErrorCode;

use super::classic::State;
use super::request::{DescribedMember, Description, Listing};
use super::{Coordinator, Effect, GroupRecord};

impl<T> Coordinator<T> {
    pub(super) fn describe(&self, id: &str) -> Option<Description> {
        let group = self.groups.get(id)?;
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
        Some(Description {
            state: group.state.name(),
            protocol_type: group.protocol_type.as_deref().unwrap_or_default().to_owned(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        })
    }

    pub(super) fn list(&self) -> Vec<Listing> {
        let listing = |group: &super::classic::Group<T>| Listing {
            group: group.id.clone(),
            protocol_type: group.protocol_type.as_deref().unwrap_or_default().to_owned(),
            state: group.state.name(),
        };
        self.groups.values().map(listing).collect()
    }

    pub(super) fn delete(&mut self, id: &str, out: &mut Vec<Effect<T>>) -> Result<(), ErrorCode> {
        let group = self.groups.get(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state != State::Empty {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let offsets = group.offsets.iter();
        out.extend(
            offsets.map(|(topic, partition, _)| Effect::Append(GroupRecord::no_offset(id, topic, partition))),
        );
        out.push(Effect::Append(GroupRecord::no_group(id)));
        self.groups.remove(id);
        Ok(())
    }
}
