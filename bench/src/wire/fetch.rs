//! Consumers: fetches of one partition each, whose heads are checked and whose records are thrown away in the kernel.

use crate::error::{Doing, Error, Result};
use crate::measure::latency::Latencies;
use crate::measure::window::{Through, Window};
use crate::os::poller::Poller;
use crate::os::sockets::Discard;
use crate::wire::admin::connect;
use crate::wire::answers::fetched;
use crate::wire::prepared::{Fetch, Produce};
use crate::wire::produce::Schedule;
use millrace_proto::batch::{Header, verify};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A wait ends so often to look whether the window is closed.
const LOOK: Duration = Duration::from_millis(50);
/// What is read of an answer before the rest is thrown away: size, head, and the header of the first batch.
const BEGINNING: usize = 192;

/// What every batch of a topic is like: all are of one size, so that the number of records follows from the number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a batch.
    pub wire: usize,
    /// Its records.
    pub records: u32,
    /// Bytes of their keys and values.
    pub payload: u64,
}

impl Shape {
    /// That of all these requests.
    pub fn of(prepared: &[Produce], records: u32) -> Result<Self> {
        let shapes = prepared.iter().map(|one| Self { wire: one.batch.len(), records, payload: one.payload });
        let mut shapes = shapes.collect::<Vec<_>>();
        shapes.dedup();
        match shapes[..] {
            [shape] => Ok(shape),
            _ => Err(Error::Usage("what is read must be uncompressed records of one size".to_owned())),
        }
    }
}

/// How a consumer goes on.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// From the start to these ends, over and over, until the window closes.
    Around,
    /// Through once, unless the window closes before.
    Once,
    /// Behind producers, until the ends that are known when they have stopped. Latency counts from when a batch was to be sent.
    Tail(&'a Schedule, &'a OnceLock<Vec<i64>>),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    partition: u32,
    next: i64,
    end: i64,
}

#[derive(Debug)]
struct Consumer {
    stream: TcpStream,
    places: Vec<Place>,
    /// The place that is being read.
    at: usize,
    asked: Option<Instant>,
    correlation_id: i32,
    beginning: [u8; BEGINNING],
    filled: usize,
    /// Bytes of the answer yet to be thrown away, and whole batches in it, once its head has been read.
    rest: Option<(usize, u64)>,
    finished: bool,
}

/// One thread's consumers.
pub struct Consumers<'a> {
    fetch: Fetch,
    shape: Shape,
    way: Way<'a>,
    window: &'a Window,
    poller: Poller,
    discard: Discard,
    consumers: Vec<Consumer>,
    latencies: Latencies,
    batches: u64,
}

impl<'a> Consumers<'a> {
    /// Connects consumers, partitions dealt out among them. `ends` say where partitions end; a tail has none yet.
    pub fn connect(
        address: &str,
        connections: usize,
        fetch: Fetch,
        shape: Shape,
        ends: &[i64],
        way: Way<'a>,
        window: &'a Window,
    ) -> Result<Self> {
        let poller = Poller::new()?;
        let mut consumers = Vec::new();
        for number in 0..connections.min(ends.len()) {
            let stream = connect(address)?;
            stream.set_nonblocking(true).doing(address)?;
            poller.add(&stream, number)?;
            let places = (number..ends.len()).step_by(connections);
            let places = places.map(|at| Place { partition: at as u32, next: 0, end: ends[at] }).collect();
            consumers.push(Consumer {
                stream,
                places,
                at: 0,
                asked: None,
                correlation_id: 0,
                beginning: [0; BEGINNING],
                filled: 0,
                rest: None,
                finished: false,
            });
        }
        let (discard, latencies) = (Discard::new(), Latencies::new());
        Ok(Self { fetch, shape, way, window, poller, discard, consumers, latencies, batches: 0 })
    }

    /// Reads to the end; returns the latencies within the window, and how many records there were.
    pub fn run(mut self) -> Result<(Latencies, u64)> {
        for consumer in &mut self.consumers {
            ask(consumer, &self.fetch)?;
        }
        while !self.finished() {
            let ready = self.poller.wait(LOOK)?.to_vec();
            let mut through = Through::default();
            for found in ready {
                self.read(found.number, &mut through)?;
            }
            // Of a tail, what goes through is counted where it is produced.
            if through != Through::default() && !matches!(self.way, Way::Tail(..)) {
                self.window.add(through);
            }
        }
        Ok((self.latencies, self.batches * u64::from(self.shape.records)))
    }

    fn finished(&mut self) -> bool {
        if let Way::Tail(_, ends) = self.way
            && let Some(ends) = ends.get()
        {
            // A partition that is read to its end has a fetch waiting there for nothing: it is dropped.
            let places = self.consumers.iter().flat_map(|consumer| &consumer.places);
            let mut all = places.map(|place| place.next >= ends[place.partition as usize]);
            return all.all(|done| done) || self.window.failed();
        }
        self.consumers.iter().all(|consumer| consumer.finished) || self.window.failed()
    }

    fn read(&mut self, number: usize, through: &mut Through) -> Result<()> {
        let consumer = &mut self.consumers[number];
        loop {
            let Some((left, batches)) = consumer.rest else {
                if !begin(consumer, &self.shape)? {
                    return Ok(());
                }
                continue;
            };
            if left > 0 {
                let gone = match self.discard.up_to(&consumer.stream, left) {
                    Ok(0) => return Err(closed()),
                    Ok(gone) => gone,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error).doing("reading from the broker"),
                };
                consumer.rest = Some((left - gone, batches));
                if gone < left {
                    return Ok(());
                }
            }
            let now = Instant::now();
            let place = &mut consumer.places[consumer.at];
            match self.way {
                Way::Tail(schedule, _) => {
                    for batch in 0..batches {
                        let offset = place.next + (batch * u64::from(self.shape.records)) as i64;
                        let intended = schedule.intended(place.partition, offset);
                        if let Some(intended) = intended.filter(|time| self.window.covers(*time)) {
                            self.latencies.record(now - intended);
                        }
                    }
                }
                Way::Around | Way::Once => {
                    let asked = consumer.asked.filter(|_| self.window.covers(now));
                    asked.into_iter().for_each(|asked| self.latencies.record(now - asked));
                }
            }
            place.next += (batches * u64::from(self.shape.records)) as i64;
            self.batches += batches;
            through.requests += 1;
            through.records += batches * u64::from(self.shape.records);
            through.payload += batches * self.shape.payload;
            through.wire += batches * self.shape.wire as u64;
            (consumer.rest, consumer.filled, consumer.asked) = (None, 0, None);
            if !step(consumer, self.way, batches, self.window.is_closed())? {
                consumer.finished = true;
                return Ok(());
            }
            return ask(consumer, &self.fetch);
        }
    }
}

/// Moves on to what is to be asked next; false when there is nothing.
fn step(consumer: &mut Consumer, way: Way<'_>, batches: u64, closed: bool) -> Result<bool> {
    let place = &mut consumer.places[consumer.at];
    let at_end = place.next >= place.end;
    match way {
        Way::Tail(..) => {}
        // These are sure to be there.
        Way::Around | Way::Once if batches == 0 => {
            let (partition, next) = (place.partition, place.next);
            return Err(Error::Wrong(format!("nothing at offset {next} of partition {partition}")));
        }
        Way::Around if at_end => place.next = 0,
        Way::Once if at_end => {
            consumer.places.swap_remove(consumer.at);
            consumer.at = 0;
            return Ok(!consumer.places.is_empty() && !closed);
        }
        Way::Around | Way::Once => {}
    }
    consumer.at = (consumer.at + 1) % consumer.places.len();
    Ok(!(closed && matches!(way, Way::Around | Way::Once)))
}

fn ask(consumer: &mut Consumer, fetch: &Fetch) -> Result<()> {
    let place = consumer.places[consumer.at];
    consumer.correlation_id = consumer.correlation_id.wrapping_add(1);
    let head = fetch.head(consumer.correlation_id, place.partition as i32, place.next);
    // Nothing else is on its way, so there is room for a hundred bytes.
    let sent = (&consumer.stream).write(head.bytes()).doing("sending to the broker")?;
    if sent < head.bytes().len() {
        return Err(Error::Target("the broker does not take a whole request".to_owned()));
    }
    consumer.asked = Some(Instant::now());
    Ok(())
}

fn closed() -> Error {
    Error::Target("the broker closed a connection".to_owned())
}

/// Reads the beginning of an answer; true when its head is known and checked.
fn begin(consumer: &mut Consumer, shape: &Shape) -> Result<bool> {
    match consumer.stream.read(&mut consumer.beginning[consumer.filled..]) {
        Ok(0) => return Err(closed()),
        Ok(read) => consumer.filled += read,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error).doing("reading from the broker"),
    }
    let have = &consumer.beginning[..consumer.filled];
    let Some(size) = have.first_chunk::<4>() else { return Ok(false) };
    let whole = 4 + u32::from_be_bytes(*size) as usize;
    let Some(answer) = fetched(&have[4..])? else { return Ok(false) };
    let place = consumer.places[consumer.at];
    if answer.correlation_id != consumer.correlation_id || answer.partition != place.partition as i32 {
        return Err(Error::Wrong("an answer to another request".to_owned()));
    }
    let batches = (answer.records / shape.wire) as u64;
    if batches > 0 {
        let Some(header) = have.get(4 + answer.head..4 + answer.head + Header::SIZE) else {
            return Ok(false);
        };
        check_first(header, &place, shape)?;
    }
    let left =
        whole.checked_sub(consumer.filled).ok_or_else(|| Error::Wrong("an answer too many".to_owned()))?;
    consumer.rest = Some((left, batches));
    Ok(true)
}

/// The first batch must be the one that was asked for, and like all others.
fn check_first(header: &[u8], place: &Place, shape: &Shape) -> Result<()> {
    let header = Header::parse(header).map_err(|why| Error::unreadable("Fetch", why))?;
    let found = (header.base_offset, header.size(), header.record_count);
    let wanted = (place.next, shape.wire, shape.records as i32);
    match found == wanted {
        true => Ok(()),
        false => Err(Error::Wrong(format!(
            "in partition {} a batch of (offset, bytes, records) {found:?} where {wanted:?} was expected",
            place.partition
        ))),
    }
}

/// Reads partitions from their start to their end, records and all, and checks each batch: its checksum, its place, and that none is
/// missing. Returns how many records there are. Not timed.
pub fn read_back(address: &str, fetch: &Fetch, ends: &[i64]) -> Result<u64> {
    let stream = connect(address)?;
    let (mut correlation_id, mut records) = (0, 0);
    let mut frame = Vec::new();
    for (partition, end) in ends.iter().enumerate() {
        let mut next = 0;
        while next < *end {
            correlation_id += 1;
            let head = fetch.head(correlation_id, partition as i32, next);
            (&stream).write_all(head.bytes()).doing("sending to the broker")?;
            read_frame(&stream, &mut frame)?;
            let answer = fetched(&frame)?.ok_or_else(|| Error::unreadable("Fetch", "it is cut short"))?;
            let batches = frame.get(answer.head..answer.head + answer.records);
            let batches = batches.ok_or_else(|| Error::unreadable("Fetch", "it is cut short"))?;
            let before = next;
            next = check_batches(batches, partition, next)?;
            if next == before {
                let what = format!("nothing at offset {next} of partition {partition}, which ends at {end}");
                return Err(Error::Wrong(what));
            }
        }
        records += u64::try_from(next).unwrap_or(0);
    }
    Ok(records)
}

/// Checks the whole batches in front; the last may be cut short. Returns the offset behind them.
fn check_batches(mut batches: &[u8], partition: usize, mut next: i64) -> Result<i64> {
    while let Ok(header) = Header::parse(batches) {
        let Some((batch, rest)) = batches.split_at_checked(header.size()) else { break };
        verify(batch).map_err(|why| Error::Wrong(format!("partition {partition}, offset {next}: {why}")))?;
        if header.base_offset != next {
            let what =
                format!("partition {partition} has offset {} where {next} should be", header.base_offset);
            return Err(Error::Wrong(what));
        }
        next += i64::from(header.last_offset_delta) + 1;
        batches = rest;
    }
    Ok(next)
}

fn read_frame(mut stream: &TcpStream, frame: &mut Vec<u8>) -> Result<()> {
    const LARGEST: usize = 64 << 20;
    let mut size = [0; 4];
    stream.read_exact(&mut size).doing("reading from the broker")?;
    let size =
        millrace_proto::kafka::frame::size(size, LARGEST).map_err(|why| Error::unreadable("Fetch", why))?;
    frame.resize(size, 0);
    stream.read_exact(frame).doing("reading from the broker")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Load;
    use millrace_proto::batch::stamp;
    use uuid::Uuid;

    fn three_batches() -> (Vec<u8>, Shape) {
        let load = Load { records_per_request: 5, ..Load::default() };
        let prepared = Produce::prepare(&load, Uuid::nil()).unwrap();
        let mut bytes = Vec::new();
        for (number, one) in prepared.iter().take(3).enumerate() {
            let mut batch = bytes::BytesMut::from(&one.batch[..]);
            stamp(&mut batch, number as i64 * 5, 0);
            bytes.extend_from_slice(&batch);
        }
        (bytes, Shape::of(&prepared, 5).unwrap())
    }

    #[test]
    fn batches_are_read_back_in_order_and_whole() {
        let (bytes, shape) = three_batches();
        assert_eq!(bytes.len(), 3 * shape.wire);
        assert_eq!(check_batches(&bytes, 0, 0).unwrap(), 15);
        assert_eq!(check_batches(&bytes[..bytes.len() - 1], 0, 0).unwrap(), 10, "the last is cut short");
        assert_eq!(check_batches(&[], 0, 7).unwrap(), 7);
        let gap = [&bytes[..shape.wire], &bytes[2 * shape.wire..]].concat();
        assert!(check_batches(&gap, 0, 0).unwrap_err().to_string().contains("offset 10 where 5"));
        let mut damaged = bytes.clone();
        damaged[shape.wire + 200] ^= 1;
        assert!(check_batches(&damaged, 0, 0).is_err());
    }

    #[test]
    fn the_first_batch_of_an_answer_is_the_one_that_was_asked_for() {
        let (bytes, shape) = three_batches();
        let place = |next| Place { partition: 0, next, end: 15 };
        assert!(check_first(&bytes, &place(0), &shape).is_ok());
        assert!(check_first(&bytes[shape.wire..], &place(5), &shape).is_ok());
        assert!(check_first(&bytes, &place(5), &shape).is_err());
        assert!(check_first(&bytes, &place(0), &Shape { records: 4, ..shape }).is_err());
    }

    #[test]
    fn only_batches_of_one_size_can_be_counted_by_bytes() {
        let load = Load { record_size: "10-500".parse().unwrap(), ..Load::default() };
        let prepared = Produce::prepare(&load, Uuid::nil()).unwrap();
        assert!(Shape::of(&prepared, 100).is_err());
    }
}
