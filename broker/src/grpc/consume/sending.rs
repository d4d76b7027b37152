//! Responses of a consuming stream: as large as its client, its credit and what was read allow.

use super::Consumer;
use crate::grpc::backend::{Backend, Error};
use crate::grpc::reading::Progress;
use crate::grpc::status::Status;
use bytes::Bytes;
use futures_util::stream::Stream;
use millrace_proto::grpc::records_out::{BATCHES_HEAD, SetWriter, batches_response, response};
use millrace_proto::grpc::v1;

impl<B: Backend, S: Stream<Item = Result<v1::ConsumeRequest, Status>>> Consumer<'_, B, S> {
    /// Sends one response, as large as client, credit and what was read allow.
    pub(super) async fn send_some(&mut self) -> Result<(), Status> {
        let credit = self.manner.credit.and_then(|credit| usize::try_from(credit).ok()).unwrap_or(usize::MAX);
        let room = self.manner.max_message.min(credit);
        let failure = match self.manner.whole_batches {
            true => self.send_batches(room).await?,
            false => self.send_records(room).await?,
        };
        self.touched.clear();
        if let Some((index, error)) = failure {
            self.fail(index, error).await?;
        }
        if self.pending.is_empty() {
            self.forget();
        }
        Ok(())
    }

    /// The same with whole batches; whatever stands in their way.
    async fn send_batches(&mut self, room: usize) -> Result<Option<(usize, Error)>, Status> {
        let (mut sets, mut size, mut failure) = (Vec::new(), 0, None);
        while let Some((index, reading)) = self.pending.front_mut() {
            let part = &mut self.assigned[*index];
            self.touched.insert(*index);
            match reading.take_batches(part, room.saturating_sub(size), sets.is_empty()) {
                Ok(Some((head, batches))) => {
                    size += BATCHES_HEAD + head.topic.len() + batches.len();
                    sets.push((head, batches));
                }
                Ok(None) => {}
                Err(error) => {
                    failure = Some((*index, error));
                    break;
                }
            }
            if !reading.is_finished() {
                break;
            }
            self.pending.pop_front();
        }
        if !sets.is_empty() {
            let (pieces, used) = batches_response(sets);
            self.send_pieces(pieces, used).await?;
        }
        Ok(failure)
    }

    async fn send_pieces(&mut self, pieces: Vec<Bytes>, used: usize) -> Result<(), Status> {
        self.responses.send_encoded(pieces).await?;
        if let Some(credit) = &mut self.manner.credit {
            *credit = credit.saturating_sub_unsigned(used as u64);
        }
        let (assigned, touched) = (&self.assigned, &self.touched);
        let reached = |index: &usize| {
            let part = assigned.get(*index)?;
            Some(((part.topic.clone(), part.partition), part.next_offset))
        };
        if let Some(seat) = &mut self.seat {
            seat.on_sent(used, || touched.iter().filter_map(reached).collect());
        }
        Ok(())
    }

    /// The same with records.
    async fn send_records(&mut self, room: usize) -> Result<Option<(usize, Error)>, Status> {
        let mut sets: Vec<SetWriter> = Vec::new();
        let mut failure = None;
        while let Some((index, reading)) = self.pending.front_mut() {
            let part = &mut self.assigned[*index];
            self.touched.insert(*index);
            match reading.fill(part, &mut sets, room) {
                Ok(Progress::Finished) => drop(self.pending.pop_front()),
                Ok(Progress::Full) => break,
                Ok(Progress::Compressed(_)) if !sets.is_empty() => break,
                Ok(Progress::Compressed(limit)) => {
                    // Whoever holds some of this budget waits for none of it, nor of `outbound`: that ends.
                    let budget = &self.surroundings.inflated;
                    let reserved = budget.reserve(limit).await;
                    failure = reading.inflate(part, budget, reserved).err().map(|error| (*index, error));
                }
                Err(error) => failure = Some((*index, error)),
            }
            if failure.is_some() {
                break;
            }
        }
        if !sets.is_empty() {
            let (pieces, used) = response(sets);
            self.send_pieces(pieces, used).await?;
        }
        Ok(failure)
    }
}
