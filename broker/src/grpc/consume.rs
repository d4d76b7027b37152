//! `millrace.v1.Log/Consume`: reads as much as the client has granted, and no more.
//!
//! What a stream holds in memory: batches that were read and not sent yet, reserved in the shard's budget, and the one
//! response that is being sent. A stream that waits, for records or for credit, holds nothing that others
//! need: a wait for records holds nothing, and what is left while credit is awaited is given up when others want it.

use super::assignment::{Assigned, Manner, manner, resolve, started};
use super::backend::{Backend, Error, FetchPart, FetchRequest};
use super::call::{Call, Responses, Surroundings};
use super::limits::Limits;
use super::reading::{Progress, Reading};
use super::status::{Code, Status, malformed};
use crate::net::budget::Reservation;
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{Stream, StreamExt};
use millrace_proto::grpc::records_out::{BATCHES_HEAD, SetWriter, batches_response, response};
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::consume_request::Request;
use millrace_proto::grpc::v1::consume_response::Event;
use prost::Message;
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::rc::Rc;

/// Serves a consuming stream.
pub(super) async fn consume<B: Backend>(backend: &B, limits: &Limits, call: Call) -> Result<(), Status> {
    let Call { path, requests, responses } = call;
    let surroundings = requests.surroundings.clone();
    let decode = {
        let path = path.clone();
        move |received: super::call::Received| {
            v1::ConsumeRequest::decode(received.bytes).map_err(|error| malformed(&path, error))
        }
    };
    let mut requests = pin!(requests.into_stream(decode));
    let first = requests.next().await.transpose()?.and_then(|first| first.request);
    let Some(Request::Start(start)) = first else {
        return Err(Status::invalid("start", "the first request must say what to read"));
    };
    let manner = manner(&start)?;
    let assigned = resolve(backend, limits, start.partitions).await?;
    let mut consumer = Consumer {
        backend,
        limits,
        surroundings,
        requests,
        half_closed: false,
        manner,
        assigned,
        pending: VecDeque::new(),
        held: None,
        responses,
        last_failure: None,
    };
    consumer.run().await
}

struct Consumer<'a, B, S> {
    backend: &'a B,
    limits: &'a Limits,
    surroundings: Rc<Surroundings>,
    requests: Pin<&'a mut S>,
    /// The client will ask nothing more.
    half_closed: bool,
    manner: Manner,
    assigned: Vec<Assigned>,
    /// What was read and not sent: indexes into `assigned`, in the order of reading.
    pending: VecDeque<(usize, Reading)>,
    /// What `pending` takes of the budget.
    held: Option<Reservation>,
    responses: Responses,
    last_failure: Option<Error>,
}

impl<B: Backend, S: Stream<Item = Result<v1::ConsumeRequest, Status>>> Consumer<'_, B, S> {
    async fn run(&mut self) -> Result<(), Status> {
        let event = Some(Event::Started(started(&self.assigned)));
        self.responses.send(&v1::ConsumeResponse { event }).await?;
        while !self.assigned.is_empty() {
            self.take_requests().await?;
            if !self.has_credit() {
                if self.half_closed {
                    return Ok(());
                }
                self.await_credit().await?;
            } else if self.pending.is_empty() {
                self.fetch().await?;
            } else {
                self.send_some().await?;
            }
        }
        Err(self
            .last_failure
            .take()
            .map_or_else(|| Status::new(Code::Internal, "nothing to read"), Status::from))
    }

    fn has_credit(&self) -> bool {
        self.manner.credit.is_none_or(|credit| credit > 0)
    }

    fn on_request(&mut self, request: Option<Result<v1::ConsumeRequest, Status>>) -> Result<(), Status> {
        match request.transpose()?.map(|request| request.request) {
            None => self.half_closed = true,
            Some(Some(Request::Credit(grant))) => {
                let Some(credit) = &mut self.manner.credit else {
                    return Err(Status::invalid(
                        "credit",
                        "the stream has no credit window: set `start.credit_bytes`",
                    ));
                };
                if grant.bytes <= 0 {
                    let text = format!("is {}; must be positive", grant.bytes);
                    return Err(Status::invalid("credit.bytes", text));
                }
                *credit = credit.saturating_add(grant.bytes);
            }
            Some(Some(Request::Start(_))) => {
                return Err(Status::invalid("start", "only the first request may have it"));
            }
            Some(None) => return Err(Status::invalid("request", "must be `credit`")),
        }
        Ok(())
    }

    /// Takes the requests that are there already.
    async fn take_requests(&mut self) -> Result<(), Status> {
        while !self.half_closed {
            let next = futures_util::poll!(self.requests.next());
            let std::task::Poll::Ready(request) = next else { break };
            self.on_request(request)?;
        }
        Ok(())
    }

    async fn await_credit(&mut self) -> Result<(), Status> {
        let surroundings = self.surroundings.clone();
        let request = surroundings.within(surroundings.limits.stalled_reader, self.requests.next()).await;
        match request {
            Some(request) => self.on_request(request),
            None => {
                if surroundings.contended() {
                    self.forget();
                }
                Ok(())
            }
        }
    }

    /// Gives up what was read; it is read again when there is credit.
    fn forget(&mut self) {
        self.pending.clear();
        self.held = None;
    }

    async fn fetch(&mut self) -> Result<(), Status> {
        self.forget();
        // Whoever was first is last now, so that one busy partition does not keep the others waiting.
        self.assigned.rotate_left(1);
        let credit = self.manner.credit.and_then(|credit| usize::try_from(credit).ok()).unwrap_or(usize::MAX);
        let max_bytes = self.limits.fetch_bytes.min(credit);
        let request = FetchRequest {
            parts: self.assigned.iter().map(fetch_part).collect(),
            max_bytes,
            min_bytes: self.manner.min_bytes.min(max_bytes),
            max_wait: self.manner.max_wait,
        };
        let backend = self.backend;
        let mut fetched = pin!(backend.fetch(request, self.surroundings.outbound.clone()));
        let fetched = loop {
            if self.half_closed {
                let stop = self.surroundings.until_stop(fetched.as_mut());
                break stop.await.ok_or_else(super::call::stopping)?;
            }
            let request = match select(fetched.as_mut(), self.requests.next()).await {
                Either::Left((fetched, _)) => break fetched,
                Either::Right((request, _)) => request,
            };
            self.on_request(request)?;
        };
        self.held = fetched.held;
        let mut failed = Vec::new();
        for (index, outcome) in fetched.parts.into_iter().enumerate().take(self.assigned.len()) {
            match outcome {
                Ok(fetched) if fetched.batches.is_empty() => {}
                Ok(fetched) => self.pending.push_back((index, Reading::new(fetched))),
                Err(error) => failed.push((index, error)),
            }
        }
        // From the last on, so that the indexes of the others stay right.
        for (index, error) in failed.into_iter().rev() {
            self.fail(index, error).await?;
        }
        Ok(())
    }

    /// Tells that a partition failed and reads it no longer.
    async fn fail(&mut self, index: usize, error: Error) -> Result<(), Status> {
        let part = self.assigned.remove(index);
        self.pending.retain(|(other, _)| *other != index);
        self.pending.iter_mut().filter(|(other, _)| *other > index).for_each(|(other, _)| *other -= 1);
        let failed = v1::PartitionFailed {
            topic: part.topic.to_string(),
            partition: part.partition,
            next_offset: part.next_offset,
            error: Some(error.in_stream()),
        };
        self.last_failure = Some(error);
        self.responses.send(&v1::ConsumeResponse { event: Some(Event::Failed(failed)) }).await
    }

    /// Sends one response, as large as client, credit and what was read allow.
    async fn send_some(&mut self) -> Result<(), Status> {
        let credit = self.manner.credit.and_then(|credit| usize::try_from(credit).ok()).unwrap_or(usize::MAX);
        let room = self.manner.max_message.min(credit);
        let failure = match self.manner.whole_batches {
            true => self.send_batches(room).await?,
            false => self.send_records(room).await?,
        };
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
        Ok(())
    }

    /// The same with records.
    async fn send_records(&mut self, room: usize) -> Result<Option<(usize, Error)>, Status> {
        let mut sets: Vec<SetWriter> = Vec::new();
        let mut failure = None;
        while let Some((index, reading)) = self.pending.front_mut() {
            let part = &mut self.assigned[*index];
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

fn fetch_part(part: &Assigned) -> FetchPart {
    FetchPart { topic: part.topic.clone(), partition: part.partition, offset: part.next_offset }
}
