//! `millrace.v1.Groups/ResetOffsets`: a group without members goes on elsewhere, in all of the partitions or in none.

use super::backend::Backend;
use super::group_backend::NamedPartition;
use super::groups::{about, check_count, check_id, existing, named, state};
use super::status::{Code, Error, Status};
use millrace_logic::group::reset::{Target, resolve};
use millrace_proto::grpc::v1;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::HashMap;

pub(super) async fn reset(
    backend: &impl Backend,
    request: v1::ResetOffsetsRequest,
) -> Result<v1::ResetOffsetsResponse, Status> {
    let id = request.group_id.as_str();
    check_id(id)?;
    let whereto = whereto(request.position)?;
    let named = named(backend, request.partitions)?;
    let group = existing(backend, id).await?;
    if !group.members.is_empty() || state(group.state) != v1::GroupState::Empty {
        return Err(has_members(id, group.members.len()).into());
    }
    let committed: HashMap<NamedPartition, i64> =
        backend.committed(id).await?.into_iter().map(|known| (known.partition, known.offset)).collect();
    let mut parts: Vec<NamedPartition> =
        if named.is_empty() { committed.keys().cloned().collect() } else { named };
    parts.sort_unstable();
    check_count("partitions", parts.len())?;
    let ends = backend.log_ends(&parts).await;
    let found = match whereto {
        Whereto::Known(_) => Vec::new(),
        Whereto::Time(timestamp_ms) => backend.offsets_at(&parts, timestamp_ms).await,
    };
    let mut found = found.into_iter();
    let mut offsets = Vec::with_capacity(parts.len());
    for ((topic, partition), ends) in parts.iter().zip(ends) {
        let of = |error: Error| about(topic, *partition, error);
        let ends = ends.map_err(of)?;
        let target = match whereto {
            Whereto::Known(target) => target,
            Whereto::Time(_) => Target::Found(found.next().transpose().map_err(of)?.flatten()),
        };
        let previous_offset = committed.get(&(topic.clone(), *partition)).copied();
        let offset = resolve(target, previous_offset, ends.log_start, ends.high_watermark)
            .ok_or_else(|| nothing_to_move_from(id, topic, *partition))?;
        offsets.push(v1::ResetOffset {
            topic: topic.to_string(),
            partition: *partition,
            previous_offset,
            offset,
            log_start_offset: ends.log_start,
            high_watermark: ends.high_watermark,
        });
    }
    if !request.validate_only && !offsets.is_empty() {
        let wanted = parts.into_iter().zip(&offsets).map(|(part, reset)| (part, reset.offset));
        backend.commit(id, wanted.collect()).await?;
    }
    Ok(v1::ResetOffsetsResponse { offsets })
}

/// Where offsets are to go, as far as that is known without looking into logs.
#[derive(Clone, Copy)]
enum Whereto {
    Known(Target),
    Time(i64),
}

fn whereto(position: Option<v1::reset_offsets_request::Position>) -> Result<Whereto, Status> {
    use v1::reset_offsets_request::Position;
    Ok(match position {
        Some(Position::Edge(edge)) => match v1::Edge::try_from(edge) {
            Ok(v1::Edge::Beginning) => Whereto::Known(Target::Earliest),
            Ok(v1::Edge::End) => Whereto::Known(Target::Latest),
            // What is committed is overwritten: nothing is presumed.
            Ok(v1::Edge::Unspecified) | Err(_) => {
                return Err(Status::invalid("edge", "must be EDGE_BEGINNING or EDGE_END"));
            }
        },
        Some(Position::Offset(offset)) if offset < 0 => {
            return Err(Status::invalid("offset", format!("is {offset}; must not be negative")));
        }
        Some(Position::Offset(offset)) => Whereto::Known(Target::Offset(offset)),
        Some(Position::TimestampMs(time)) if time < 0 => {
            return Err(Status::invalid("timestamp_ms", format!("is {time}; must not be negative")));
        }
        Some(Position::TimestampMs(time)) => Whereto::Time(time),
        Some(Position::ShiftBy(distance)) => Whereto::Known(Target::Shift(distance)),
        None => {
            let text = "say where to: `edge`, `offset`, `timestamp_ms` or `shift_by`";
            return Err(Status::invalid("position", text));
        }
    })
}

fn has_members(id: &str, members: usize) -> Error {
    let text = match members {
        0 => format!("group {id:?} is about to have members, which would commit over it: stop them first"),
        1 => format!("group {id:?} has a member, which would commit over it: stop it first"),
        n => format!("group {id:?} has {n} members, which would commit over it: stop them first"),
    };
    Error::new(ErrorCode::NonEmptyGroup, text).with("members", members)
}

fn nothing_to_move_from(id: &str, topic: &str, partition: i32) -> Status {
    let text = format!(
        "group {id:?} has committed nothing in {topic}-{partition}, from where to move: name an offset, an edge or a time"
    );
    Status::new(Code::FailedPrecondition, text).because("NO_COMMITTED_OFFSET")
}
