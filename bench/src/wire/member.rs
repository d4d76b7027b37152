//! A member of a classic group, without its connection: what it asks, and what it makes of the answers. An answer that does not belong to
//! joining a group is an error.

use crate::error::{Error, Result};
use crate::wire::admin::CLIENT;
use crate::wire::assignment::{PROTOCOL, assignment, partitions, share, subscription};
use bytes::Bytes;
use millrace_proto::kafka::api::{Request, decode_response};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::header::{decode_response_header, encode_request};
use millrace_proto::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millrace_proto::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use millrace_proto::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use millrace_proto::kafka::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use std::sync::Arc;

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
/// The newest that names topics.
const COMMIT_VERSION: i16 = 9;

/// The session timeout of Kafka's consumers.
const SESSION_MS: i32 = 45_000;
/// As long as a member may take to come back: what Kafka's consumers say, their `max.poll.interval.ms`.
const REBALANCE_MS: i32 = 300_000;
const KIND: &str = "consumer";

/// What a member has asked and not been told yet, while it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Join,
    Sync,
    Heartbeat,
}

/// A member.
#[derive(Debug)]
pub struct Member {
    /// Its group.
    pub group: Arc<str>,
    topic: Arc<str>,
    all: u32,
    id: String,
    generation: i32,
    asked: Asked,
    correlation_id: i32,
    held: Option<Vec<i32>>,
}

impl Member {
    /// One that has not joined, of a group that shares out so many partitions of a topic.
    pub fn new(group: Arc<str>, topic: Arc<str>, partitions: u32) -> Self {
        Self {
            group,
            topic,
            all: partitions,
            id: String::new(),
            generation: -1,
            asked: Asked::Nothing,
            correlation_id: 0,
            held: None,
        }
    }

    /// Its id, once the broker has given it one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The generation of its assignment, and the assignment, while it has one.
    pub fn holds(&self) -> Option<(i32, &[i32])> {
        self.held.as_deref().map(|partitions| (self.generation, partitions))
    }

    /// Whether nothing that it asked while it joined is unanswered.
    pub fn is_idle(&self) -> bool {
        self.asked == Asked::Nothing
    }

    /// It joins, or comes back for a rebalance.
    pub fn join(&mut self) -> Result<Bytes> {
        self.held = None;
        self.asked = Asked::Join;
        let metadata = subscription(&self.topic);
        let request = JoinGroupRequest {
            group_id: &self.group,
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: &self.id,
            protocol_type: KIND,
            protocols: vec![JoinGroupRequestProtocol { name: PROTOCOL, metadata: &metadata }],
            ..JoinGroupRequest::default()
        };
        frame(JOIN_VERSION, next(&mut self.correlation_id), &request)
    }

    /// It asks whether there is a rebalance.
    pub fn look(&mut self) -> Result<Bytes> {
        self.asked = Asked::Heartbeat;
        let correlation_id = next(&mut self.correlation_id);
        self.heartbeat(correlation_id)
    }

    /// A heartbeat.
    pub fn heartbeat(&self, correlation_id: i32) -> Result<Bytes> {
        let request = HeartbeatRequest {
            group_id: &self.group,
            generation_id: self.generation,
            member_id: &self.id,
            ..HeartbeatRequest::default()
        };
        frame(HEARTBEAT_VERSION, correlation_id, &request)
    }

    /// A commit of all that it holds, at one offset.
    pub fn commit(&self, correlation_id: i32, offset: i64) -> Result<Bytes> {
        let held = self.held.as_deref().unwrap_or_default();
        let partition = |partition_index: &i32| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: offset,
            committed_metadata: Some(""),
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: &self.topic,
            partitions: held.iter().map(partition).collect(),
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: &self.group,
            generation_id_or_member_epoch: self.generation,
            member_id: &self.id,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        frame(COMMIT_VERSION, correlation_id, &request)
    }

    /// Takes the answer to what it asked while it joined; returns what it asks next at once.
    pub fn answered(&mut self, answer: &[u8]) -> Result<Option<Bytes>> {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Join => self.joined(answer),
            Asked::Sync => self.synced(answer),
            Asked::Heartbeat => match heartbeat_code(answer, self.correlation_id)? {
                ErrorCode::None => Ok(None),
                ErrorCode::RebalanceInProgress => self.join().map(Some),
                code => Err(self.refused("Heartbeat", code)),
            },
            Asked::Nothing => Err(Error::Wrong(format!("{}: an answer to nothing", self.group))),
        }
    }

    fn joined(&mut self, answer: &[u8]) -> Result<Option<Bytes>> {
        let body = body::<JoinGroupRequest<'_>>(answer, JOIN_VERSION, self.correlation_id)?;
        let joined: JoinGroupResponse<'_> =
            decode_response(body, JOIN_VERSION).map_err(|why| Error::unreadable("JoinGroup", why))?;
        match joined.error_code {
            ErrorCode::None => {}
            // A new member gets its id first and comes again with it (KIP-394); one that has an id is not asked for it.
            ErrorCode::MemberIdRequired if self.id.is_empty() && !joined.member_id.is_empty() => {
                joined.member_id.clone_into(&mut self.id);
                return self.join().map(Some);
            }
            code => return Err(self.refused("JoinGroup", code)),
        }
        if joined.member_id != self.id || joined.generation_id <= self.generation {
            let (generation, before) = (joined.generation_id, self.generation);
            let what =
                format!("{}: generation {generation} of another member, or not after {before}", self.group);
            return Err(Error::Wrong(what));
        }
        self.generation = joined.generation_id;
        let leads = joined.leader == joined.member_id;
        let mut ids: Vec<&str> = joined.members.iter().map(|member| member.member_id).collect();
        ids.sort_unstable();
        if leads != ids.contains(&&self.id[..]) {
            return Err(Error::Wrong(format!(
                "{}: the leader alone is told who the members are",
                self.group
            )));
        }
        let count = ids.len();
        let shares = (0..count).map(|member| assignment(&self.topic, &share(self.all, member, count)));
        let shares: Vec<Vec<u8>> = shares.collect();
        let assignments = ids.iter().zip(&shares);
        let assignments =
            assignments.map(|(id, share)| SyncGroupRequestAssignment { member_id: id, assignment: share });
        let request = SyncGroupRequest {
            group_id: &self.group,
            generation_id: self.generation,
            member_id: &self.id,
            protocol_type: Some(KIND),
            protocol_name: Some(PROTOCOL),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        self.asked = Asked::Sync;
        frame(SYNC_VERSION, next(&mut self.correlation_id), &request).map(Some)
    }

    fn synced(&mut self, answer: &[u8]) -> Result<Option<Bytes>> {
        let body = body::<SyncGroupRequest<'_>>(answer, SYNC_VERSION, self.correlation_id)?;
        let synced: SyncGroupResponse<'_> =
            decode_response(body, SYNC_VERSION).map_err(|why| Error::unreadable("SyncGroup", why))?;
        match synced.error_code {
            ErrorCode::None => {
                self.held = Some(partitions(synced.assignment, &self.topic)?);
                Ok(None)
            }
            // Somebody came meanwhile.
            ErrorCode::RebalanceInProgress => self.join().map(Some),
            code => Err(self.refused("SyncGroup", code)),
        }
    }

    fn refused(&self, asked: &str, code: ErrorCode) -> Error {
        Error::code(format_args!("{asked} of {}", self.group), code)
    }
}

/// The error of a heartbeat's answer.
pub fn heartbeat_code(answer: &[u8], correlation_id: i32) -> Result<ErrorCode> {
    let body = body::<HeartbeatRequest<'_>>(answer, HEARTBEAT_VERSION, correlation_id)?;
    let found: HeartbeatResponse =
        decode_response(body, HEARTBEAT_VERSION).map_err(|why| Error::unreadable("Heartbeat", why))?;
    Ok(found.error_code)
}

/// How many partitions the answer to a commit says are committed. An error of any of them is an error.
pub fn committed(answer: &[u8], correlation_id: i32) -> Result<usize> {
    let body = body::<OffsetCommitRequest<'_>>(answer, COMMIT_VERSION, correlation_id)?;
    let found: OffsetCommitResponse<'_> =
        decode_response(body, COMMIT_VERSION).map_err(|why| Error::unreadable("OffsetCommit", why))?;
    let mut count = 0;
    for partition in found.topics.iter().flat_map(|topic| &topic.partitions) {
        if partition.error_code != ErrorCode::None {
            let asked = format_args!("OffsetCommit of partition {}", partition.partition_index);
            return Err(Error::code(asked, partition.error_code));
        }
        count += 1;
    }
    Ok(count)
}

fn next(correlation_id: &mut i32) -> i32 {
    *correlation_id = correlation_id.wrapping_add(1);
    *correlation_id
}

fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> Result<Bytes> {
    let frame = encode_request(version, correlation_id, Some(CLIENT), request);
    Ok(frame.map_err(|why| Error::Usage(why.to_string()))?.freeze())
}

fn body<R: Request>(answer: &[u8], version: i16, correlation_id: i32) -> Result<&[u8]> {
    let header = decode_response_header::<R::Response<'_>>(answer, version);
    let (found, body) = header.map_err(|why| Error::unreadable(R::KEY, why))?;
    match found == correlation_id {
        true => Ok(body),
        false => Err(Error::Wrong(format!("an answer to request {found} instead of {correlation_id}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_proto::kafka::api::{Response, decode_request};
    use millrace_proto::kafka::header::{RequestHeader, encode_response};
    use millrace_proto::kafka::messages::join_group::JoinGroupResponseMember;
    use millrace_proto::kafka::messages::offset_commit::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };

    fn member() -> Member {
        Member::new("g".into(), "t".into(), 10)
    }

    fn answer<R: Response>(version: i16, correlation_id: i32, response: &R) -> Vec<u8> {
        encode_response(version, correlation_id, response).unwrap().head[4..].to_vec()
    }

    fn join_answer<'a>(
        code: ErrorCode,
        generation: i32,
        leader: &'a str,
        id: &'a str,
    ) -> JoinGroupResponse<'a> {
        JoinGroupResponse {
            error_code: code,
            generation_id: generation,
            leader,
            member_id: id,
            ..JoinGroupResponse::default()
        }
    }

    /// A member that was told its id and has come again with it.
    fn known(id: &str) -> Member {
        let mut member = member();
        member.join().unwrap();
        let required = join_answer(ErrorCode::MemberIdRequired, -1, "", id);
        let again = member.answered(&answer(JOIN_VERSION, 1, &required)).unwrap().unwrap();
        let (header, body) = RequestHeader::decode(&again[4..]).unwrap();
        let request: JoinGroupRequest<'_> = decode_request(body, header.api_version).unwrap();
        assert_eq!((header.correlation_id, request.member_id, request.group_id), (2, id, "g"));
        member
    }

    fn sync_answer(code: ErrorCode, partitions: &[i32]) -> Vec<u8> {
        let assignment = assignment("t", partitions);
        let response = SyncGroupResponse {
            error_code: code,
            protocol_type: Some(KIND),
            protocol_name: Some(PROTOCOL),
            assignment: &assignment,
            ..SyncGroupResponse::default()
        };
        answer(SYNC_VERSION, 3, &response)
    }

    /// One that has joined as a follower and waits for its assignment.
    fn follower() -> Member {
        let mut member = known("b");
        let joined = join_answer(ErrorCode::None, 1, "a", "b");
        let sync = member.answered(&answer(JOIN_VERSION, 2, &joined)).unwrap().unwrap();
        let (header, body) = RequestHeader::decode(&sync[4..]).unwrap();
        let request: SyncGroupRequest<'_> = decode_request(body, header.api_version).unwrap();
        assert_eq!((request.generation_id, request.assignments.len()), (1, 0));
        member
    }

    #[test]
    fn the_leader_shares_everything_out() {
        let mut member = known("b");
        let mut joined = join_answer(ErrorCode::None, 1, "b", "b");
        let of = |member_id| JoinGroupResponseMember { member_id, ..JoinGroupResponseMember::default() };
        joined.members = ["c", "b", "a"].map(of).to_vec();
        let sync = member.answered(&answer(JOIN_VERSION, 2, &joined)).unwrap().unwrap();
        let (header, body) = RequestHeader::decode(&sync[4..]).unwrap();
        let request: SyncGroupRequest<'_> = decode_request(body, header.api_version).unwrap();
        let given = request.assignments.iter().map(|one| {
            let partitions = partitions(one.assignment, "t").unwrap();
            (one.member_id, partitions)
        });
        let wanted = [("a", vec![0, 1, 2]), ("b", vec![3, 4, 5]), ("c", vec![6, 7, 8, 9])];
        assert_eq!(given.collect::<Vec<_>>(), wanted);
        assert_eq!(member.holds(), None, "the broker has not confirmed it");
    }

    #[test]
    fn what_a_member_holds_it_was_given() {
        let mut member = follower();
        assert!(!member.is_idle());
        assert!(member.answered(&sync_answer(ErrorCode::None, &[3, 4])).unwrap().is_none());
        assert_eq!(member.holds(), Some((1, &[3, 4][..])));
        assert!(member.is_idle());
        assert!(member.answered(&sync_answer(ErrorCode::None, &[3, 4])).is_err(), "nothing was asked");
    }

    #[test]
    fn a_rebalance_takes_the_assignment_away() {
        for (code, heard) in [(ErrorCode::None, false), (ErrorCode::RebalanceInProgress, true)] {
            let mut member = follower();
            member.answered(&sync_answer(ErrorCode::None, &[3])).unwrap();
            member.look().unwrap();
            let response = HeartbeatResponse { error_code: code, ..HeartbeatResponse::default() };
            let again = member.answered(&answer(HEARTBEAT_VERSION, 4, &response)).unwrap();
            assert_eq!((again.is_some(), member.holds().is_none()), (heard, heard));
        }
        let mut meanwhile = follower();
        let again = meanwhile.answered(&sync_answer(ErrorCode::RebalanceInProgress, &[])).unwrap();
        assert!(again.is_some() && meanwhile.holds().is_none());
    }

    #[test]
    fn what_does_not_belong_to_joining_is_an_error() {
        let refused = |response: &JoinGroupResponse<'_>| {
            let told = known("b").answered(&answer(JOIN_VERSION, 2, response));
            told.unwrap_err().to_string()
        };
        assert!(refused(&join_answer(ErrorCode::UnknownMemberId, -1, "", "b")).contains("UNKNOWN_MEMBER_ID"));
        assert!(
            refused(&join_answer(ErrorCode::MemberIdRequired, -1, "", "c")).contains("MEMBER_ID_REQUIRED")
        );
        assert!(refused(&join_answer(ErrorCode::None, 1, "a", "c")).contains("another member"));
        assert!(refused(&join_answer(ErrorCode::None, -1, "a", "b")).contains("not after"));
        assert!(refused(&join_answer(ErrorCode::None, 1, "b", "b")).contains("the leader alone"));
        assert!(follower().answered(&sync_answer(ErrorCode::UnknownMemberId, &[])).is_err());
        let other_request = answer(JOIN_VERSION, 7, &join_answer(ErrorCode::None, 1, "a", "b"));
        assert!(known("b").answered(&other_request).unwrap_err().to_string().contains("request 7"));
    }

    #[test]
    fn a_commit_is_of_all_that_it_holds() {
        let mut member = follower();
        member.answered(&sync_answer(ErrorCode::None, &[3, 4])).unwrap();
        let frame = member.commit(9, 77).unwrap();
        let (header, body) = RequestHeader::decode(&frame[4..]).unwrap();
        let request: OffsetCommitRequest<'_> = decode_request(body, header.api_version).unwrap();
        assert_eq!(
            (request.group_id, request.member_id, request.generation_id_or_member_epoch),
            ("g", "b", 1)
        );
        let partitions = request.topics[0].partitions.iter();
        let offsets = partitions.map(|one| (one.partition_index, one.committed_offset));
        assert_eq!(offsets.collect::<Vec<_>>(), [(3, 77), (4, 77)]);
    }

    #[test]
    fn a_partition_that_was_not_committed_is_an_error() {
        let of = |codes: &[ErrorCode]| {
            let partition = |error_code: &ErrorCode| OffsetCommitResponsePartition {
                error_code: *error_code,
                ..OffsetCommitResponsePartition::default()
            };
            let topic = OffsetCommitResponseTopic {
                name: "t",
                partitions: codes.iter().map(partition).collect(),
                ..OffsetCommitResponseTopic::default()
            };
            let response = OffsetCommitResponse { topics: vec![topic], ..OffsetCommitResponse::default() };
            committed(&answer(COMMIT_VERSION, 5, &response), 5)
        };
        assert_eq!(of(&[ErrorCode::None, ErrorCode::None]).unwrap(), 2);
        let error = of(&[ErrorCode::None, ErrorCode::RebalanceInProgress]).unwrap_err().to_string();
        assert!(error.contains("REBALANCE_IN_PROGRESS"), "{error}");
    }
}
