//! Consumer groups as an operator sees them: who is in them, how far they have come, and where they go on.

mod types;

pub use types::{
    DeletedOffset, Group, GroupMember, GroupOffset, GroupState, GroupSummary, GroupType, ResetOffset,
};

use crate::consumer::Start;
use crate::error::Error;
use crate::stubs::groups_client::GroupsClient;
use millrace_proto::grpc::v1::{self, reset_offsets_request};
use tonic::Code;
use tonic::transport::Channel;

/// A page of a description: some megabytes where names are long.
const LARGEST_RESPONSE: usize = 64 << 20;

/// Lists, describes, moves and deletes groups. See [`crate::Client::groups`].
#[derive(Clone, Debug)]
pub struct Groups {
    stub: GroupsClient<Channel>,
}

/// Other offsets for a group that has no members.
///
/// ```
/// # use millrace_client::{OffsetReset, Start};
/// let all_of_it = OffsetReset::new("billing", Start::Beginning);
/// let ten_back = OffsetReset::shift("billing", -10).topic("orders").partition("invoices", 3).validate_only();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetReset {
    request: v1::ResetOffsetsRequest,
}

impl OffsetReset {
    /// The group goes on there, wherever it has committed something unless topics or partitions are named.
    pub fn new(group: impl Into<String>, to: Start) -> Self {
        use reset_offsets_request::Position;
        Self::to(
            group.into(),
            match to {
                Start::Beginning => Position::Edge(v1::Edge::Beginning.into()),
                Start::End => Position::Edge(v1::Edge::End.into()),
                Start::Offset(offset) => Position::Offset(offset),
                Start::Timestamp(ms) => Position::TimestampMs(ms),
            },
        )
    }

    /// The group goes on so many offsets from what it has committed: before, if negative.
    pub fn shift(group: impl Into<String>, by: i64) -> Self {
        Self::to(group.into(), reset_offsets_request::Position::ShiftBy(by))
    }

    fn to(group_id: String, position: reset_offsets_request::Position) -> Self {
        let position = Some(position);
        Self { request: v1::ResetOffsetsRequest { group_id, position, ..Default::default() } }
    }

    /// In every partition of this topic.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.request.partitions.push(v1::TopicPartitions { topic: topic.into(), partitions: Vec::new() });
        self
    }

    /// In this partition.
    pub fn partition(mut self, topic: impl Into<String>, partition: i32) -> Self {
        self.request
            .partitions
            .push(v1::TopicPartitions { topic: topic.into(), partitions: vec![partition] });
        self
    }

    /// Only tells what would be committed.
    pub fn validate_only(mut self) -> Self {
        self.request.validate_only = true;
        self
    }
}

impl Groups {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { stub: GroupsClient::new(channel).max_decoding_message_size(LARGEST_RESPONSE) }
    }

    /// All groups, by id; only those in one of these states and of one of these types, where any are named.
    ///
    /// # Errors
    /// The broker's, or that it was not reached.
    pub async fn list(&self, states: &[GroupState], types: &[GroupType]) -> Result<Vec<GroupSummary>, Error> {
        let mut request = v1::ListGroupsRequest {
            states: states.iter().map(|state| state.message().into()).collect(),
            types: types.iter().map(|kind| kind.message().into()).collect(),
            ..Default::default()
        };
        let mut groups = Vec::new();
        loop {
            let page = self.stub.clone().list(request.clone()).await?.into_inner();
            groups.extend(page.groups.into_iter().map(GroupSummary::from));
            if page.next_page_token.is_empty() {
                return Ok(groups);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Describes a group, with how far it is behind in every partition.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub async fn describe(&self, group: &str) -> Result<Group, Error> {
        let mut request = v1::DescribeGroupRequest { group_id: group.to_owned(), ..Default::default() };
        let mut described: Option<Group> = None;
        loop {
            let page = self.stub.clone().describe(request.clone()).await?.into_inner();
            let some = page.group.map(Group::from);
            let some =
                some.ok_or_else(|| Error::new(Code::Internal, "the broker's answer lacks the group"))?;
            let all = match described.take() {
                None => some,
                Some(mut all) => {
                    all.offsets.extend(some.offsets);
                    all
                }
            };
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            described = Some(all);
            request.page_token = page.next_page_token;
        }
    }

    /// Lets a group that has no members go on elsewhere: in all of the partitions, or in none. What was committed, by topic and partition.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::FailedPrecondition`] while the group has members.
    pub async fn reset_offsets(&self, reset: OffsetReset) -> Result<Vec<ResetOffset>, Error> {
        let response = self.stub.clone().reset_offsets(reset.request).await?.into_inner();
        Ok(response.offsets.into_iter().map(ResetOffset::from).collect())
    }

    /// Forgets what a group has committed in a topic: in these partitions, or in all where none are named.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn delete_offsets(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<DeletedOffset>, Error> {
        let partitions = v1::TopicPartitions { topic: topic.to_owned(), partitions: partitions.to_vec() };
        let request = v1::DeleteOffsetsRequest { group_id: group.to_owned(), partitions: vec![partitions] };
        let response = self.stub.clone().delete_offsets(request).await?.into_inner();
        Ok(response.offsets.into_iter().map(DeletedOffset::from).collect())
    }

    /// Deletes a group and all that it has committed.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none; [`Code::FailedPrecondition`] while it has members.
    pub async fn delete(&self, group: &str) -> Result<(), Error> {
        self.stub.clone().delete(v1::DeleteGroupRequest { group_id: group.to_owned() }).await?;
        Ok(())
    }
}
