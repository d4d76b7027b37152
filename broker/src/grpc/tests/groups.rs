//! `Groups`, over the wire.

use super::Setup;
use super::client::{Client, End};
use super::memory::Memory;
use crate::grpc::group_backend::GroupMember;
use bytes::BytesMut;
use millrace_io::simulated::SimIo;
use millrace_proto::batch::{Builder, Options};
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::reset_offsets_request::Position;
use prost::Message;

/// So many records, a millisecond apart from time 1000 on.
fn fill(memory: &Memory<SimIo>, topic: &str, partition: i32, records: i64) {
    for n in 0..records {
        let mut builder = Builder::new();
        builder.push(1000 + n, None, Some(b"value"), &[]).expect("fits");
        let batch: BytesMut = builder.finish(&Options::default()).expect("a batch");
        memory.append(topic, partition, batch).expect("appended");
    }
}

/// A topic `t` with two partitions of ten records, and a group `g` that has come to 4 in the first and left the second alone.
fn setup() -> Setup {
    let setup = Setup::new(1);
    setup.memory.topic("t", 2);
    (0..2).for_each(|partition| fill(&setup.memory, "t", partition, 10));
    setup.memory.commit_offset("g", "t", 0, 4);
    setup
}

fn member(id: &str, assignment: Vec<(String, Vec<i32>)>) -> GroupMember {
    let (client_id, client_host) = ("c".into(), "/10.0.0.1".into());
    GroupMember { id: id.into(), instance: None, client_id, client_host, assignment }
}

fn of(topic: &str, partitions: &[i32]) -> v1::TopicPartitions {
    v1::TopicPartitions { topic: topic.into(), partitions: partitions.to_vec() }
}

async fn ask<R: Message + Default>(
    client: &Client<SimIo>,
    method: &str,
    request: &impl Message,
) -> Result<R, End> {
    client.unary(&format!("/millrace.v1.Groups/{method}"), request).await
}

fn to(position: Position) -> v1::ResetOffsetsRequest {
    v1::ResetOffsetsRequest { group_id: "g".into(), position: Some(position), ..Default::default() }
}

async fn reset(client: &Client<SimIo>, request: v1::ResetOffsetsRequest) -> Result<Vec<(i32, i64)>, End> {
    let response: v1::ResetOffsetsResponse = ask(client, "ResetOffsets", &request).await?;
    Ok(response.offsets.iter().map(|reset| (reset.partition, reset.offset)).collect())
}

#[test]
fn groups_are_listed_by_id_a_page_at_a_time() {
    let setup = setup();
    for id in ["b", "a", "c"] {
        setup.memory.group(id, |group| group.members.push(member("m", Vec::new())));
    }
    setup.run(async |client| {
        let list = async |request: v1::ListGroupsRequest| {
            let listed: v1::ListGroupsResponse = ask(&client, "List", &request).await.expect("listed");
            let ids: Vec<_> = listed.groups.into_iter().map(|group| group.group_id).collect();
            (ids.join(" "), listed.next_page_token)
        };
        assert_eq!(list(Default::default()).await, ("a b c g".into(), "".into()));
        let mut request = v1::ListGroupsRequest { page_size: 3, ..Default::default() };
        let (ids, token) = list(request.clone()).await;
        assert_eq!(ids, "a b c");
        request.page_token = token;
        assert_eq!(list(request).await, ("g".into(), "".into()));
        let only = |states: &[v1::GroupState], types: &[v1::GroupType]| v1::ListGroupsRequest {
            states: states.iter().map(|state| *state as i32).collect(),
            types: types.iter().map(|kind| *kind as i32).collect(),
            ..Default::default()
        };
        assert_eq!(list(only(&[v1::GroupState::Empty], &[])).await.0, "g");
        assert_eq!(list(only(&[v1::GroupState::Stable], &[v1::GroupType::Classic])).await.0, "a b c");
        assert_eq!(list(only(&[], &[v1::GroupType::Consumer])).await.0, "");
        for (states, types) in [(vec![0], vec![]), (vec![77], vec![]), (vec![], vec![-1])] {
            let request = v1::ListGroupsRequest { states, types, ..Default::default() };
            assert_eq!(ask::<v1::ListGroupsResponse>(&client, "List", &request).await.unwrap_err().code, 3);
        }
    });
}

#[test]
fn a_description_says_how_far_behind_a_group_is() {
    let setup = setup();
    setup.memory.delete_before("t", 1, 3);
    setup.memory.topic("gone", 1);
    setup.memory.break_partition("gone", 0);
    setup.memory.group("g", |group| group.members.push(member("m1", vec![("t".into(), vec![1])])));
    setup.memory.commit_offset("g", "nothing", 5, 1);
    setup.run(async |client| {
        let describe = async |page_size, page_token: &str, topics: &[&str]| {
            let request = v1::DescribeGroupRequest {
                group_id: "g".into(),
                topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
                page_size,
                page_token: page_token.into(),
            };
            let described: v1::DescribeGroupResponse = ask(&client, "Describe", &request).await.expect("it");
            (described.group.expect("a group"), described.next_page_token)
        };
        let (group, token) = describe(0, "", &[]).await;
        assert_eq!((group.state(), group.r#type()), (v1::GroupState::Stable, v1::GroupType::Classic));
        assert_eq!((group.members.len(), token.as_str()), (1, ""));
        assert_eq!(group.members[0].assignment, [of("t", &[1])]);
        let [nothing, first, second] = &group.offsets[..] else { panic!("{:?}", group.offsets) };
        // A topic that is gone: what was committed is still told.
        assert_eq!((nothing.committed_offset, nothing.high_watermark, nothing.lag), (Some(1), None, None));
        assert_eq!((first.committed_offset, first.lag, first.member_id.as_str()), (Some(4), Some(6), ""));
        assert_eq!(first.metadata, "at 4");
        assert_eq!((second.committed_offset, second.lag, second.member_id.as_str()), (None, None, "m1"));
        assert_eq!((second.log_start_offset, second.high_watermark), (Some(3), Some(10)));

        let (group, token) = describe(2, "", &["t", "nothing"]).await;
        assert_eq!((group.offsets.len(), token.as_str()), (2, "t/0"));
        let (group, token) = describe(2, &token, &["t", "nothing"]).await;
        assert_eq!((group.members.len(), token.as_str()), (0, ""));
        assert_eq!((group.offsets[0].topic.as_str(), group.offsets[0].partition), ("t", 1));
        assert_eq!(describe(0, "", &["t"]).await.0.offsets.len(), 2);
    });
}

#[test]
fn lag_is_never_negative() {
    let setup = setup();
    setup.memory.commit_offset("g", "t", 1, 99);
    setup.run(async |client| {
        let request = v1::DescribeGroupRequest { group_id: "g".into(), ..Default::default() };
        let described: v1::DescribeGroupResponse = ask(&client, "Describe", &request).await.expect("it");
        assert_eq!(described.group.expect("a group").offsets[1].lag, Some(0));
    });
}

#[test]
fn offsets_go_where_they_are_told() {
    let setup = setup();
    setup.memory.delete_before("t", 0, 2);
    setup.run(async |client| {
        let beginning = Position::Edge(v1::Edge::Beginning.into());
        for (position, expected) in [
            (beginning, 2),
            (Position::Edge(v1::Edge::End.into()), 10),
            (Position::Offset(7), 7),
            (Position::Offset(0), 2),
            (Position::Offset(i64::MAX), 10),
            (Position::TimestampMs(1005), 5),
            (Position::TimestampMs(9999), 10),
            (Position::TimestampMs(0), 2),
            (Position::ShiftBy(3), 7),
            (Position::ShiftBy(-1), 3),
            (Position::ShiftBy(i64::MIN), 2),
            (Position::ShiftBy(i64::MAX), 10),
        ] {
            setup.memory.commit_offset("g", "t", 0, 4);
            let only_told = v1::ResetOffsetsRequest { validate_only: true, ..to(position) };
            assert_eq!(reset(&client, only_told).await, Ok(vec![(0, expected)]), "{position:?}");
            assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(4), "{position:?}");
            assert_eq!(reset(&client, to(position)).await, Ok(vec![(0, expected)]), "{position:?}");
            assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(expected), "{position:?}");
        }
        // A topic without numbers is all of it, what was not committed yet included.
        let all = v1::ResetOffsetsRequest { partitions: vec![of("t", &[])], ..to(Position::Offset(8)) };
        assert_eq!(reset(&client, all).await, Ok(vec![(0, 8), (1, 8)]));
        let one = v1::ResetOffsetsRequest { partitions: vec![of("t", &[1])], ..to(Position::ShiftBy(-2)) };
        assert_eq!(reset(&client, one).await, Ok(vec![(1, 6)]));
        assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(8));
    });
}

#[test]
fn what_cannot_be_moved_is_refused_and_nothing_moves() {
    let setup = setup();
    setup.run(async |client| {
        let code = async |request| reset(&client, request).await.unwrap_err().code;
        // Partition 1 has nothing to move from, so partition 0 stays as well.
        let request = v1::ResetOffsetsRequest { partitions: vec![of("t", &[])], ..to(Position::ShiftBy(1)) };
        let end = reset(&client, request).await.unwrap_err();
        assert_eq!((end.code, end.message.contains("t-1")), (9, true), "{end:?}");
        let unknown = v1::ResetOffsetsRequest { group_id: "nobody".into(), ..to(Position::Offset(1)) };
        assert_eq!(code(unknown).await, 5);
        for (partitions, expected) in [
            (vec![of("no-such-topic", &[])], 5),
            (vec![of("t", &[2])], 5),
            (vec![of("t", &[-1])], 5),
            (vec![of("", &[])], 3),
            (vec![of("t", &[0, 0])], 3),
            (vec![of("t", &[0]), of("t", &[])], 3),
            (vec![of("t", &[0; 20_000])], 3),
        ] {
            let request = v1::ResetOffsetsRequest { partitions, ..to(Position::Offset(1)) };
            assert_eq!(code(request.clone()).await, expected, "{:?}", request.partitions[0].topic);
        }
        for position in [
            Position::Offset(-1),
            Position::TimestampMs(-1),
            Position::Edge(v1::Edge::Unspecified.into()),
            Position::Edge(9),
        ] {
            assert_eq!(code(to(position)).await, 3, "{position:?}");
        }
        assert_eq!(code(v1::ResetOffsetsRequest { position: None, ..to(Position::Offset(1)) }).await, 3);
        for group_id in [String::new(), "g".repeat(40_000)] {
            assert_eq!(code(v1::ResetOffsetsRequest { group_id, ..to(Position::Offset(1)) }).await, 3);
        }
        setup.memory.group("g", |group| group.members.push(member("m", Vec::new())));
        for validate_only in [true, false] {
            let request = v1::ResetOffsetsRequest { validate_only, ..to(Position::Offset(1)) };
            let end = reset(&client, request).await.unwrap_err();
            assert_eq!((end.code, end.message.contains("has a member")), (9, true), "{end:?}");
        }
        assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(4));
    });
}

#[test]
fn groups_and_what_they_committed_are_deleted() {
    let setup = setup();
    setup.run(async |client| {
        let forget = |partitions| v1::DeleteOffsetsRequest { group_id: "g".into(), partitions };
        let none = forget(Vec::new());
        assert_eq!(
            ask::<v1::DeleteOffsetsResponse>(&client, "DeleteOffsets", &none).await.unwrap_err().code,
            3
        );
        let request = forget(vec![of("t", &[])]);
        let deleted: v1::DeleteOffsetsResponse = ask(&client, "DeleteOffsets", &request).await.expect("it");
        assert!(
            deleted.offsets.iter().map(|it| (it.partition, it.error.is_some())).eq([(0, false), (1, false)])
        );
        assert_eq!(setup.memory.committed_offset("g", "t", 0), None);

        let request = v1::DeleteGroupRequest { group_id: "g".into() };
        setup.memory.group("g", |group| group.members.push(member("m", Vec::new())));
        assert_eq!(ask::<v1::DeleteGroupResponse>(&client, "Delete", &request).await.unwrap_err().code, 9);
        setup.memory.group("g", |group| group.members.clear());
        ask::<v1::DeleteGroupResponse>(&client, "Delete", &request).await.expect("deleted");
        assert_eq!(ask::<v1::DeleteGroupResponse>(&client, "Delete", &request).await.unwrap_err().code, 5);
    });
}
