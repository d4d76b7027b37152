//! Producers: prepared requests over some connections, as fast as answers come or at even intervals whatever the broker does, every
//! answer checked.

use crate::error::{Error, Result};
use crate::measure::latency::Latencies;
use crate::measure::window::{Through, Window};
use crate::os::poller::Poller;
use crate::wire::answers::{Produced, produced};
use crate::wire::deal::Placed;
use crate::wire::line::Line;
use crate::wire::prepared::Produce;
use crate::workload::{Acks, Load};
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long what is in flight may take once the window is closed.
const DRAIN: Duration = Duration::from_secs(60);
/// A wait ends so often to look whether the window is closed.
const LOOK: Duration = Duration::from_millis(50);

/// When each request of an open loop is to leave, and to which partition.
#[derive(Debug)]
pub struct Schedule {
    start: OnceLock<Instant>,
    interval: Duration,
    partitions: u32,
    records_per_request: u32,
}

impl Schedule {
    /// The schedule of a load with a rate, where a request carries this payload.
    pub fn of(load: &Load, payload: u64) -> Option<Self> {
        let rate = load.rate_mb?;
        Some(Self {
            start: OnceLock::new(),
            interval: Duration::from_secs_f64(payload as f64 / (rate * 1e6)),
            partitions: load.partitions,
            records_per_request: load.records_per_request,
        })
    }

    /// When a request is to leave.
    pub fn due(&self, number: u64) -> Instant {
        let start = *self.start.get_or_init(Instant::now);
        start + Duration::from_nanos((self.interval.as_nanos() as u64).saturating_mul(number))
    }

    /// When the batch at this offset of a partition was to leave. True only where each partition has one producer, whose batches so are
    /// in the order of the schedule.
    pub fn intended(&self, partition: u32, offset: i64) -> Option<Instant> {
        self.start.get()?;
        let batch = u64::try_from(offset).ok()? / u64::from(self.records_per_request);
        Some(self.due(batch * u64::from(self.partitions) + u64::from(partition)))
    }
}

/// What a partition has acknowledged: how many batches, and the sum of their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    batches: u64,
    places: u64,
}

impl Tally {
    /// A batch was acknowledged, at this offset.
    fn take(&mut self, base_offset: i64, records: u32) -> Result<()> {
        let records = i64::from(records);
        if base_offset < 0 || base_offset % records != 0 {
            return Err(Error::Wrong(format!("offset {base_offset} is within a batch of {records} records")));
        }
        self.batches += 1;
        self.places = self.places.wrapping_add((base_offset / records) as u64);
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.batches += other.batches;
        self.places = self.places.wrapping_add(other.places);
    }
}

/// What producers have done.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Latencies within the window.
    pub latencies: Latencies,
    tallies: Vec<Tally>,
}

impl Outcome {
    /// Nothing yet.
    pub fn new(partitions: u32) -> Self {
        Self { latencies: Latencies::new(), tallies: vec![Tally::default(); partitions as usize] }
    }

    /// A batch was acknowledged, at this offset if that is told.
    pub fn acknowledged(&mut self, partition: i32, base_offset: Option<i64>, records: u32) -> Result<()> {
        let tally = usize::try_from(partition).ok().and_then(|at| self.tallies.get_mut(at));
        let tally = tally.ok_or_else(|| Error::Wrong(format!("an answer about partition {partition}")))?;
        match base_offset {
            Some(offset) => tally.take(offset, records),
            None => {
                tally.batches += 1;
                Ok(())
            }
        }
    }
}

/// Compares what was acknowledged with where the partitions of a topic that was empty end. Places 0, 1, 2… must each have been given once:
/// their sum says so, but for mistakes that cancel out.
pub fn check(outcomes: &[Outcome], load: &Load, ends: &[i64]) -> Result<u64> {
    let mut records = 0;
    for (partition, end) in ends.iter().enumerate() {
        let mut tally = Tally::default();
        let tallies = outcomes.iter().filter_map(|outcome| outcome.tallies.get(partition));
        tallies.for_each(|one| tally.add(*one));
        let acknowledged = tally.batches * u64::from(load.records_per_request);
        if u64::try_from(*end) != Ok(acknowledged) {
            let what = format!("{acknowledged} records sent to partition {partition}, which ends at {end}");
            return Err(Error::Wrong(what));
        }
        let places = (u128::from(tally.batches) * u128::from(tally.batches.saturating_sub(1)) / 2) as u64;
        if load.acks != Acks::None && tally.places != places {
            return Err(Error::Wrong(format!("partition {partition} gave one offset to two batches")));
        }
        records += acknowledged;
    }
    Ok(records)
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    correlation_id: i32,
    partition: i32,
    since: Instant,
    payload: u64,
    wire: u64,
}

#[derive(Debug)]
struct Producer {
    line: Line,
    in_flight: VecDeque<Sent>,
    /// Requests that are due and must wait for others of this connection.
    due: VecDeque<Instant>,
    /// Among all connections.
    place: usize,
    sent: u64,
}

/// One thread's share of the producers.
pub struct Producers<'a> {
    load: &'a Load,
    prepared: &'a [Produce],
    schedule: Option<&'a Schedule>,
    window: &'a Window,
    poller: Poller,
    producers: Vec<Producer>,
    /// Connections that are open and do nothing.
    _aside: Vec<Line>,
    /// Requests go to one after the other.
    partitions: Vec<i32>,
    next_due: u64,
    outcome: Outcome,
}

impl<'a> Producers<'a> {
    /// Connects those of the load's producers whose number is `share` modulo `shares`. A schedule is for one share alone.
    pub fn connect(
        address: &str,
        load: &'a Load,
        prepared: &'a [Produce],
        schedule: Option<&'a Schedule>,
        window: &'a Window,
        (share, shares): (usize, usize),
    ) -> Result<Self> {
        let poller = Poller::new()?;
        let places = (share..load.connections).step_by(shares).enumerate();
        let lines = places.map(|(number, place)| Ok((place, Line::open(address, number, &poller)?)));
        let lines = lines.collect::<Result<Vec<_>>>()?;
        let partitions = (0..load.partitions).map(|partition| partition as i32).collect();
        Ok(Self::with(load, prepared, schedule, window, (poller, lines), partitions))
    }

    /// Connects all producers of a load whose connections and partitions have places of their own.
    pub fn connect_placed(
        load: &'a Load,
        prepared: &'a [Produce],
        window: &'a Window,
        placed: &Placed<'_>,
    ) -> Result<Self> {
        let (poller, mut aside) = (Poller::new()?, Vec::new());
        let mut open = |place| Ok((place, placed.open(place, &poller, &mut aside)?));
        let lines = (0..load.connections).map(&mut open).collect::<Result<Vec<_>>>()?;
        let made = Self::with(load, prepared, None, window, (poller, lines), placed.partitions.clone());
        Ok(Self { _aside: aside, ..made })
    }

    fn with(
        load: &'a Load,
        prepared: &'a [Produce],
        schedule: Option<&'a Schedule>,
        window: &'a Window,
        (poller, lines): (Poller, Vec<(usize, Line)>),
        partitions: Vec<i32>,
    ) -> Self {
        let mut producers = Vec::new();
        for (place, line) in lines {
            let (in_flight, due) = (VecDeque::with_capacity(load.depth), VecDeque::new());
            producers.push(Producer { line, in_flight, due, place, sent: 0 });
        }
        let count = partitions.iter().max().map_or(0, |last| last + 1);
        let outcome = Outcome::new(count as u32);
        let _aside = Vec::new();
        Self { load, prepared, schedule, window, poller, producers, _aside, partitions, next_due: 0, outcome }
    }

    /// Sends until the window closes, and waits for the last answer.
    pub fn run(mut self) -> Result<Outcome> {
        self.begin()?;
        while !self.window.is_closed() {
            self.turn()?;
        }
        // What was due is still sent: leaving it out would leave out the slowest.
        let until = Instant::now() + DRAIN;
        while self.producers.iter().any(|p| p.line.unsent() + p.in_flight.len() + p.due.len() > 0) {
            if Instant::now() > until {
                let (waited, left) =
                    (DRAIN.as_secs(), self.producers.iter().map(|p| p.due.len()).sum::<usize>());
                let what =
                    format!("not all answers {waited} s after the end, {left} requests were never sent");
                return Err(Error::Target(what));
            }
            self.turn()?;
        }
        Ok(self.outcome)
    }

    fn begin(&mut self) -> Result<()> {
        if self.schedule.is_none() {
            for number in 0..self.producers.len() {
                self.fill(number)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        if let Some(schedule) = self.schedule {
            self.send_what_is_due(schedule)?;
        }
        let ready = self.poller.wait(LOOK)?.to_vec();
        let mut through = Through::default();
        for found in ready {
            if found.readable {
                self.read(found.number, &mut through)?;
            }
            if found.readable || found.writable {
                self.fill(found.number)?;
            }
        }
        if through != Through::default() {
            self.window.add(through);
        }
        Ok(())
    }

    fn send_what_is_due(&mut self, schedule: &Schedule) -> Result<()> {
        let now = Instant::now();
        if self.window.is_closed() {
            return Ok(());
        }
        let mut due = schedule.due(self.next_due);
        while due <= now {
            let number = (self.next_due % self.producers.len() as u64) as usize;
            self.producers[number].due.push_back(due);
            self.fill(number)?;
            self.next_due += 1;
            due = schedule.due(self.next_due);
        }
        self.poller.wake_at(due)
    }

    /// Sends as many requests as this connection may have in flight, or as are due.
    fn fill(&mut self, number: usize) -> Result<()> {
        let now = Instant::now();
        let closed = self.window.is_closed();
        let (depth, total) = (self.load.depth, self.load.connections as u64);
        let producer = &mut self.producers[number];
        let acknowledged = self.load.acks != Acks::None;
        let mut through = Through::default();
        loop {
            while if acknowledged { producer.in_flight.len() } else { producer.line.unsent() } < depth {
                let since = match self.schedule {
                    Some(_) => producer.due.pop_front(),
                    None => (!closed).then_some(now),
                };
                let Some(since) = since else { break };
                let correlation_id = producer.sent as i32;
                let place = producer.place as u64 + producer.sent * total;
                let partition = self.partitions[(place % self.partitions.len() as u64) as usize];
                let request = &self.prepared[(place % self.prepared.len() as u64) as usize];
                let wire = request.batch.len() as u64;
                producer.in_flight.push_back(Sent {
                    correlation_id,
                    partition,
                    since,
                    payload: request.payload,
                    wire,
                });
                let head = request.head(correlation_id, partition);
                producer.line.push(head, request.batch.clone(), request.tail.clone());
                producer.sent += 1;
            }
            let gone = producer.line.flush(&self.poller)?;
            if acknowledged || gone == 0 {
                break;
            }
            // Nobody will say that they arrived; the end of the partitions will.
            for sent in producer.in_flight.drain(..gone) {
                self.outcome.acknowledged(sent.partition, None, self.load.records_per_request)?;
                through = plus(through, &sent, self.load.records_per_request);
            }
        }
        if through != Through::default() {
            self.window.add(through);
        }
        Ok(())
    }

    fn read(&mut self, number: usize, through: &mut Through) -> Result<()> {
        let producer = &mut self.producers[number];
        let now = Instant::now();
        let (in_flight, outcome) = (&mut producer.in_flight, &mut self.outcome);
        producer.line.read(|frame| {
            let Produced { correlation_id, partition, base_offset } = produced(frame)?;
            let sent = in_flight.pop_front();
            let sent = sent
                .filter(|sent| (sent.correlation_id, sent.partition) == (correlation_id, partition))
                .ok_or_else(|| {
                    Error::Wrong(format!("an answer to request {correlation_id} out of its order"))
                })?;
            outcome.acknowledged(partition, Some(base_offset), self.load.records_per_request)?;
            // In an open loop what counts is when a request was to leave; in a closed one, what is answered in the window.
            let counted = if self.schedule.is_some() { sent.since } else { now };
            if self.window.covers(counted) {
                outcome.latencies.record(now - sent.since);
            }
            *through = plus(*through, &sent, self.load.records_per_request);
            Ok(())
        })
    }
}

fn plus(through: Through, sent: &Sent, records: u32) -> Through {
    Through {
        requests: through.requests + 1,
        records: through.records + u64::from(records),
        payload: through.payload + sent.payload,
        wire: through.wire + sent.wire,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(tallies: Vec<Tally>) -> Outcome {
        Outcome { latencies: Latencies::new(), tallies }
    }

    fn tally(offsets: &[i64]) -> Tally {
        let mut tally = Tally::default();
        offsets.iter().for_each(|offset| tally.take(*offset, 10).unwrap());
        tally
    }

    #[test]
    fn what_is_acknowledged_must_be_there_once() {
        let load = Load { records_per_request: 10, ..Load::default() };
        let two_threads = [outcome(vec![tally(&[0, 20])]), outcome(vec![tally(&[10, 30])])];
        assert_eq!(check(&two_threads, &load, &[40]).unwrap(), 40);
        let wrong = |offsets: &[i64], end| {
            check(&[outcome(vec![tally(offsets)])], &load, &[end]).unwrap_err().to_string()
        };
        assert!(wrong(&[0, 10], 30).contains("20 records sent"), "one batch too many is there");
        assert!(wrong(&[0, 10], 10).contains("20 records sent"), "one is lost");
        assert!(wrong(&[0, 0], 20).contains("two batches"));
        assert!(wrong(&[10, 20], 20).contains("two batches"), "the first place was never given");
    }

    #[test]
    fn nothing_is_acknowledged_within_a_batch() {
        assert!(Tally::default().take(15, 10).is_err());
        assert!(Tally::default().take(-1, 1).is_err());
    }

    #[test]
    fn a_schedule_is_even_and_known_by_offset() {
        let load = Load { rate_mb: Some(5.0), records_per_request: 10, partitions: 4, ..Load::default() };
        let schedule = Schedule::of(&load, 10_000).unwrap();
        assert_eq!(schedule.interval, Duration::from_millis(2));
        assert_eq!(schedule.intended(0, 0), None, "it has not begun");
        let start = schedule.due(0);
        assert_eq!(schedule.due(500) - start, Duration::from_secs(1));
        // The third batch of partition 1 is the tenth request.
        assert_eq!(schedule.intended(1, 20), Some(start + Duration::from_millis(18)));
        assert_eq!(schedule.intended(1, 29), schedule.intended(1, 20));
        assert!(Schedule::of(&Load::default(), 10_000).is_none());
    }
}
