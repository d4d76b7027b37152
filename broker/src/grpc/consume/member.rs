//! A consuming stream as a member of a group: what it reads comes and goes, and is committed.

use super::Consumer;
use super::seat::{Event as Told, Seat, Starts, by_topic, too_many};
use crate::grpc::assignment::{Assigned, started};
use crate::grpc::backend::Backend;
use crate::grpc::commits::Done;
use crate::grpc::group_backend::GroupPartition;
use crate::grpc::handled::Name;
use crate::grpc::member::Change;
use crate::grpc::status::Status;
use futures_util::stream::Stream;
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::consume_response::Event;
use std::collections::BTreeSet;
use std::rc::Rc;

impl<B: Backend, S: Stream<Item = Result<v1::ConsumeRequest, Status>>> Consumer<'_, B, S> {
    pub(super) async fn on_told(&mut self, told: Told) -> Result<(), Status> {
        match told {
            Told::Change(Change::Assigned(parts)) => self.on_assigned(parts).await,
            Told::Change(Change::Revoked(parts)) => self.on_gone(parts, false).await,
            Told::Change(Change::Lost(parts)) => self.on_gone(parts, true).await,
            Told::Done(done) => self.tell_done(done).await,
            Told::Due => {
                self.seat.iter_mut().for_each(Seat::on_due);
                Ok(())
            }
        }
    }

    async fn on_assigned(&mut self, parts: Vec<GroupPartition>) -> Result<(), Status> {
        let Some(seat) = &self.seat else { return Ok(()) };
        if self.assigned.len() + parts.len() > self.limits.consumed_partitions {
            return Err(too_many(self.limits.consumed_partitions));
        }
        let starts: Starts = seat.starts(self.backend, parts).await?;
        self.forget();
        let (mut fresh, mut failed) = (Vec::new(), Vec::new());
        for (part, start) in starts {
            let topic: Rc<str> = (*part.topic).into();
            let partition = part.partition;
            match start {
                Ok((next_offset, high_watermark)) => {
                    fresh.push(Assigned { topic, partition, next_offset, high_watermark });
                }
                Err(error) => {
                    failed.push((Assigned { topic, partition, next_offset: -1, high_watermark: -1 }, error));
                }
            }
        }
        let partitions = started(&fresh).partitions;
        self.assigned.extend(fresh);
        self.tell(Event::Assigned(v1::PartitionsAssigned { partitions })).await?;
        for (part, error) in failed {
            self.assigned.push(part);
            self.fail(self.assigned.len() - 1, error).await?;
        }
        Ok(())
    }

    /// Partitions that this member reads no more, whether it has to give them up or has them no longer.
    async fn on_gone(&mut self, parts: Vec<GroupPartition>, lost: bool) -> Result<(), Status> {
        self.forget();
        let names: BTreeSet<Name> = parts.iter().map(|it| ((*it.topic).into(), it.partition)).collect();
        self.assigned.retain(|part| !names.contains(&(part.topic.clone(), part.partition)));
        if let Some(seat) = self.seat.as_mut().filter(|_| lost) {
            seat.on_lost(&names);
        }
        self.tell(Event::Revoked(v1::PartitionsRevoked { partitions: by_topic(&parts), lost })).await
    }

    pub(super) async fn on_commit(&mut self, commit: v1::Commit) -> Result<(), Status> {
        let Some(seat) = &mut self.seat else { return Err(no_member("commit")) };
        if !seat.on_commit(commit)? {
            let done = seat.some_commits().await;
            self.tell_done(done).await?;
        }
        Ok(())
    }

    /// What was committed before a partition is given up is durable when somebody else gets it.
    pub(super) async fn on_release(&mut self, release: v1::Release) -> Result<(), Status> {
        let Some(seat) = &mut self.seat else { return Err(no_member("release")) };
        let parts = seat.on_release(release.partitions);
        self.end_commits().await?;
        if let Some(seat) = &mut self.seat {
            seat.let_go(&parts);
        }
        Ok(())
    }

    /// Waits until every commit is done.
    async fn end_commits(&mut self) -> Result<(), Status> {
        while let Some(seat) = self.seat.as_mut().filter(|seat| seat.is_committing()) {
            let done = seat.some_commits().await;
            self.tell_done(done).await?;
        }
        Ok(())
    }

    async fn tell_done(&mut self, done: Vec<Done>) -> Result<(), Status> {
        for (id, error) in done {
            let error = error.map(|error| error.in_stream());
            self.tell(Event::Committed(v1::Committed { id, error })).await?;
        }
        Ok(())
    }

    /// The client has closed its side.
    pub(super) async fn leave(&mut self) -> Result<(), Status> {
        self.seat.iter_mut().for_each(Seat::on_due);
        self.end_commits().await?;
        if let Some(seat) = &self.seat {
            seat.leave().await;
        }
        Ok(())
    }

    /// What a member was to read next is not there any more: it goes on where the group begins. Whether it does.
    pub(super) async fn go_on_elsewhere(&mut self, index: usize) -> bool {
        let (Some(seat), Some(part)) = (&self.seat, self.assigned.get_mut(index)) else { return false };
        let name = (part.topic.as_ref().into(), part.partition);
        let Some(Ok(ends)) = self.backend.log_ends(&[name]).await.pop() else { return false };
        let next_offset = seat.start(None, ends);
        tracing::warn!(
            topic = %part.topic, partition = part.partition, from = part.next_offset, to = next_offset,
            "what a member of a group was to read is not there any more; it goes on elsewhere"
        );
        part.next_offset = next_offset;
        true
    }
}

fn no_member(field: &str) -> Status {
    Status::invalid(field, "is for members of groups: `start.group`")
}
