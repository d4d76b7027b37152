//! `millrace.v1.Log/Consume`: reads as much as the client has granted, and no more.
//!
//! What a stream holds in memory: batches that were read and not sent yet, reserved in the shard's budget, and the one
//! response that is being sent. A stream that waits, for records or for credit, holds nothing that others
//! need: a wait for records holds nothing, and what is left while credit is awaited is given up when others want it.
//!
//! A stream that is a member of a group has a [`Seat`] there: what it reads comes and goes.

mod member;
mod seat;
mod sending;

use super::assignment::{Assigned, Manner, manner, resolve, started};
use super::backend::{Backend, Error, FetchPart, FetchRequest};
use super::call::{Call, Responses, Surroundings};
use super::limits::Limits;
use super::reading::Reading;
use super::status::{Code, Status, malformed};
use crate::net::budget::Reservation;
use futures_util::future::{Either, pending, select};
use futures_util::stream::{Stream, StreamExt};
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::consume_request::Request;
use millrace_proto::grpc::v1::consume_response::Event;
use millrace_proto::kafka::error::ErrorCode;
use prost::Message;
use seat::{Event as Told, Seat};
use std::collections::{BTreeSet, VecDeque};
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
    let mut keeper = None;
    let (assigned, seat) = match start.group {
        None => (resolve(backend, limits, start.partitions).await?, None),
        Some(_) if !start.partitions.is_empty() => {
            return Err(Status::invalid("start.partitions", "must be empty: the group says what is read"));
        }
        Some(asked) => {
            let (seat, keeps) = Seat::new(backend, &surroundings, asked, manner.credit.is_some())?;
            keeper = Some(keeps);
            (Vec::new(), Some(seat))
        }
    };
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
        seat,
        touched: BTreeSet::new(),
    };
    let run = pin!(consumer.run());
    match keeper {
        None => run.await,
        Some(keeper) => match select(run, pin!(keeper.keep())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((status, _)) => Err(status),
        },
    }
}

struct Consumer<'a, B: Backend, S> {
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
    /// Its place in a group, if it is a member of one.
    seat: Option<Seat<B>>,
    /// Of which records are in the response that is being made: indexes into `assigned`.
    touched: BTreeSet<usize>,
}

/// What a stream hears.
enum Input {
    Request(Option<Result<v1::ConsumeRequest, Status>>),
    Told(Told),
}

impl<B: Backend, S: Stream<Item = Result<v1::ConsumeRequest, Status>>> Consumer<'_, B, S> {
    async fn run(&mut self) -> Result<(), Status> {
        let mut started = started(&self.assigned);
        if let Some(seat) = &self.seat {
            started.member_id = seat.member_id().to_owned();
        }
        self.tell(Event::Started(started)).await?;
        loop {
            self.take_inputs().await?;
            if self.half_closed && self.seat.is_some() {
                return self.leave().await;
            }
            if self.assigned.is_empty() {
                if self.seat.is_none() {
                    break;
                }
                let input = self.input().await;
                self.on_input(input).await?;
            } else if !self.has_credit() {
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

    async fn tell(&mut self, event: Event) -> Result<(), Status> {
        self.responses.send(&v1::ConsumeResponse { event: Some(event) }).await
    }

    fn has_credit(&self) -> bool {
        self.manner.credit.is_none_or(|credit| credit > 0)
    }

    /// What comes next. Nothing is lost when this is dropped.
    async fn input(&mut self) -> Input {
        let closed = self.half_closed;
        let requests = &mut self.requests;
        let request = async { if closed { pending().await } else { requests.next().await } };
        let Some(seat) = &mut self.seat else { return Input::Request(request.await) };
        match select(pin!(request), pin!(seat.next())).await {
            Either::Left((request, _)) => Input::Request(request),
            Either::Right((told, _)) => Input::Told(told),
        }
    }

    async fn on_input(&mut self, input: Input) -> Result<(), Status> {
        match input {
            Input::Request(request) => self.on_request(request).await,
            Input::Told(told) => self.on_told(told).await,
        }
    }

    async fn on_request(
        &mut self,
        request: Option<Result<v1::ConsumeRequest, Status>>,
    ) -> Result<(), Status> {
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
                if let Some(seat) = &mut self.seat {
                    seat.on_grant(grant.bytes);
                }
            }
            Some(Some(Request::Start(_))) => {
                return Err(Status::invalid("start", "only the first request may have it"));
            }
            Some(Some(Request::Commit(commit))) => return self.on_commit(commit).await,
            Some(Some(Request::Release(release))) => return self.on_release(release).await,
            Some(None) => return Err(Status::invalid("request", "must be `credit`, `commit` or `release`")),
        }
        Ok(())
    }

    /// Takes what is there already.
    async fn take_inputs(&mut self) -> Result<(), Status> {
        while !self.half_closed {
            let next = futures_util::poll!(pin!(self.input()));
            let std::task::Poll::Ready(input) = next else { break };
            self.on_input(input).await?;
        }
        Ok(())
    }

    async fn await_credit(&mut self) -> Result<(), Status> {
        let surroundings = self.surroundings.clone();
        let input = surroundings.within(surroundings.limits.stalled_reader, self.input()).await;
        match input {
            Some(input) => self.on_input(input).await,
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
                if self.seat.is_some() {
                    return Ok(());
                }
                let stop = self.surroundings.until_stop(fetched.as_mut());
                break stop.await.ok_or_else(super::call::stopping)?;
            }
            let input = match select(fetched.as_mut(), pin!(self.input())).await {
                Either::Left((fetched, _)) => break fetched,
                Either::Right((input, _)) => input,
            };
            let changes = matches!(input, Input::Told(Told::Change(_)));
            self.on_input(input).await?;
            if changes {
                // What is read is another now.
                return Ok(());
            }
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
        if error.code == ErrorCode::OffsetOutOfRange && self.go_on_elsewhere(index).await {
            return Ok(());
        }
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
        self.tell(Event::Failed(failed)).await
    }
}

fn fetch_part(part: &Assigned) -> FetchPart {
    FetchPart { topic: part.topic.clone(), partition: part.partition, offset: part.next_offset }
}
