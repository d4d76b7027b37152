//! What a client is to do, whichever it is, and what it tells.

use crate::error::{Error, Result};
use crate::measure::latency::Latencies;
use crate::measure::window::{Through, Window};
use crate::wire::prepared::{Noise, key, value};
use crate::wire::produce::{Outcome, Schedule};
use crate::workload::Load;
use bytes::Bytes;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Records that differ in content, sent one after the other.
const VARIANTS: usize = 64;
/// Bytes at the start of a value that say when its record was to leave.
const STAMP: usize = 8;

/// What producers are to send.
#[derive(Debug)]
pub struct Sending<'a> {
    /// To which topic.
    pub topic: &'a str,
    /// What.
    pub load: &'a Load,
    /// When, in an open loop.
    pub schedule: Option<&'a Schedule>,
    /// Until when.
    pub window: &'a Window,
    /// Keys and values.
    pub records: &'a [(Option<Bytes>, Bytes)],
    /// Values are stamped with the time at which they were to leave, since this one.
    pub stamped: Option<Instant>,
}

impl Sending<'_> {
    /// Keys and values of a load.
    pub fn records(load: &Load) -> Vec<(Option<Bytes>, Bytes)> {
        let mut noise = Noise::new(2);
        let one = |_| {
            let made = value(load, &mut noise);
            (load.keyed.then(|| key(&mut noise)), made)
        };
        (0..VARIANTS).map(one).collect()
    }

    /// The n-th record that leaves, to leave at this time.
    pub fn record(&self, number: u64, since: Instant) -> (Option<Bytes>, Bytes) {
        let (key, value) = &self.records[(number % self.records.len() as u64) as usize];
        let Some(base) = self.stamped else { return (key.clone(), value.clone()) };
        (key.clone(), stamp(value, since.saturating_duration_since(base)))
    }

    /// The partition of a producer's n-th group of records.
    pub fn partition(&self, producer: usize, group: u64) -> i32 {
        let place = producer as u64 + group * self.load.connections as u64;
        (place % u64::from(self.load.partitions)) as i32
    }
}

fn stamp(value: &Bytes, since_base: Duration) -> Bytes {
    let mut stamped = Vec::with_capacity(value.len().max(STAMP));
    stamped.extend_from_slice(&(since_base.as_nanos() as u64).to_be_bytes());
    stamped.extend_from_slice(value.get(STAMP..).unwrap_or_default());
    stamped.into()
}

/// How long ago a stamped record was to leave.
fn age(value: &[u8], base: Instant, now: Instant) -> Option<(Instant, Duration)> {
    let stamp = u64::from_be_bytes(*value.first_chunk::<STAMP>()?);
    let intended = base.checked_add(Duration::from_nanos(stamp))?;
    Some((intended, now.saturating_duration_since(intended)))
}

/// Takes down what producers are told.
#[derive(Debug)]
pub struct Ledger<'a> {
    window: &'a Window,
    open_loop: bool,
    outcome: Outcome,
    through: Through,
}

impl<'a> Ledger<'a> {
    /// Nothing yet.
    pub fn new(sending: &Sending<'a>) -> Self {
        Self {
            window: sending.window,
            open_loop: sending.schedule.is_some(),
            outcome: Outcome::new(sending.load.partitions),
            through: Through::default(),
        }
    }

    /// A record was acknowledged, at this offset if that is told.
    pub fn acknowledged(
        &mut self,
        partition: i32,
        offset: Option<i64>,
        since: Instant,
        payload: u64,
    ) -> Result<()> {
        self.outcome.acknowledged(partition, offset, 1)?;
        let now = Instant::now();
        if self.window.covers(if self.open_loop { since } else { now }) {
            self.outcome.latencies.record(now.saturating_duration_since(since));
        }
        let seen = self.through;
        self.through = Through {
            requests: seen.requests + 1,
            records: seen.records + 1,
            payload: seen.payload + payload,
            wire: seen.wire + payload,
        };
        // Now and then, not for each.
        if self.through.records.is_multiple_of(64) {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.window.add(std::mem::take(&mut self.through));
    }

    /// All of it.
    pub fn close(mut self) -> Outcome {
        self.tell();
        self.outcome
    }
}

/// What consumers are to read.
#[derive(Clone, Copy, Debug)]
pub struct Following<'a> {
    /// Of which topic.
    pub topic: &'a str,
    /// Its partitions, dealt out among the consumers.
    pub partitions: u32,
    /// Consumers, each with a connection.
    pub connections: usize,
    /// Bytes of a message at most.
    pub message_bytes: u32,
    /// Where partitions end; unknown until producers have stopped.
    pub ends: &'a OnceLock<Vec<i64>>,
    /// Over and over until the window closes; otherwise once, to the ends.
    pub around: bool,
    /// Values are stamped with a time since this one.
    pub stamped: Option<Instant>,
    /// In which time things count.
    pub window: &'a Window,
}

/// Follows what a consumer reads: each record once, in order.
#[derive(Debug)]
pub struct Follower<'a> {
    window: &'a Window,
    next: Vec<i64>,
    /// Where partitions end, once that is known.
    ends: Option<Vec<i64>>,
    stamped: Option<Instant>,
    /// Latencies of stamped records.
    pub latencies: Latencies,
    /// Records so far.
    pub records: u64,
}

impl<'a> Follower<'a> {
    /// At the start of each partition.
    pub fn new(partitions: u32, stamped: Option<Instant>, window: &'a Window) -> Self {
        let next = vec![0; partitions as usize];
        Self { window, next, ends: None, stamped, latencies: Latencies::new(), records: 0 }
    }

    /// Partitions end here.
    pub fn ends_at(&mut self, ends: &[i64]) {
        self.ends = Some(ends.to_vec());
    }

    /// Starts over.
    pub fn rewind(&mut self) {
        self.next.fill(0);
    }

    /// Whether these partitions have been read to their ends.
    pub fn is_through(&self, mut partitions: impl Iterator<Item = i32>) -> bool {
        self.ends.as_ref().is_some_and(|ends| {
            partitions.all(|partition| self.next[partition as usize] >= ends[partition as usize])
        })
    }

    /// A record was read.
    pub fn read(&mut self, partition: i32, offset: i64, value: &[u8], now: Instant) -> Result<()> {
        let next = usize::try_from(partition).ok().and_then(|at| self.next.get_mut(at));
        let next = next.ok_or_else(|| Error::Wrong(format!("a record of partition {partition}")))?;
        if offset != *next {
            let what = format!("partition {partition} has offset {offset} where {next} should be");
            return Err(Error::Wrong(what));
        }
        *next += 1;
        self.records += 1;
        if let Some((intended, age)) = self.stamped.and_then(|base| age(value, base, now))
            && self.window.covers(intended)
        {
            self.latencies.record(age);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_changes_no_size() {
        let base = Instant::now();
        let intended = base + Duration::from_millis(1234);
        for size in [8, 9, 1000] {
            let stamped = stamp(&Bytes::from(vec![7; size]), intended - base);
            assert_eq!(stamped.len(), size);
            let now = intended + Duration::from_millis(5);
            assert_eq!(age(&stamped, base, now), Some((intended, Duration::from_millis(5))));
        }
        assert_eq!(age(b"short", base, base), None);
    }

    #[test]
    fn a_reader_that_misses_or_repeats_a_record_is_found() {
        let window = Window::default();
        let mut follower = Follower::new(2, None, &window);
        for offset in 0..3 {
            follower.read(1, offset, b"", Instant::now()).unwrap();
        }
        assert!(follower.read(1, 2, b"", Instant::now()).is_err(), "repeated");
        assert!(follower.read(1, 4, b"", Instant::now()).is_err(), "missed");
        assert!(follower.read(2, 0, b"", Instant::now()).is_err(), "no such partition");
        assert!(!follower.is_through([1].into_iter()), "the end is not known");
        follower.ends_at(&[0, 3]);
        assert!(follower.is_through([0, 1].into_iter()));
        follower.rewind();
        assert!(!follower.is_through([0, 1].into_iter()) && follower.is_through([0].into_iter()));
    }

    #[test]
    fn acknowledgements_are_counted_and_placed() {
        let window = Window::default();
        window.open();
        let load = Load { partitions: 2, ..Load::default() };
        let sending =
            Sending { topic: "t", load: &load, schedule: None, window: &window, records: &[], stamped: None };
        assert_eq!((sending.partition(0, 0), sending.partition(1, 0), sending.partition(1, 3)), (0, 1, 1));
        let mut ledger = Ledger::new(&sending);
        let since = Instant::now();
        for offset in 0..100 {
            ledger.acknowledged(1, Some(offset), since, 10).unwrap();
        }
        assert_eq!(window.through().records, 64, "told now and then");
        let outcome = ledger.close();
        assert_eq!((window.through().records, window.through().payload), (100, 1000));
        assert_eq!(outcome.latencies.summary(crate::measure::latency::Since::Sent).unwrap().count, 100);
        let one = Load { records_per_request: 1, ..load };
        assert_eq!(crate::wire::produce::check(&[outcome], &one, &[0, 100]).unwrap(), 100);
    }
}
