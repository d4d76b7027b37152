//! The Rust client over gRPC.

use super::work::{Follower, Following, Ledger, Sending};
use crate::error::{Error, Result};
use crate::measure::latency::Latencies;
use crate::measure::window::{Through, Window};
use crate::wire::produce::Outcome;
use crate::workload::Acks;
use millrace_client::{Client, Delivery, Record, Start};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// How long what is in flight may take once the window is closed.
const DRAIN: Duration = Duration::from_secs(60);
/// Records that a consumer takes at once.
const TAKEN: usize = 4096;

impl From<millrace_client::Error> for Error {
    fn from(error: millrace_client::Error) -> Self {
        Self::Answer(format!("gRPC: {error}"))
    }
}

/// Runs something on this thread alone.
fn here<T>(part: impl Future<Output = Result<T>>) -> Result<T> {
    use crate::error::Doing;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("a runtime")?;
    runtime.block_on(LocalSet::new().run_until(part))
}

struct Pending {
    delivery: Delivery,
    partition: i32,
    since: Instant,
    payload: u64,
}

/// Sends until the window closes, over as many connections as the load has producers.
pub fn produce(address: &str, sending: &Sending<'_>) -> Result<Outcome> {
    here(async {
        let ledger = Rc::new(RefCell::new(Ledger::new(sending)));
        let producers = (0..sending.load.connections).map(|number| one(address, sending, number, &ledger));
        let done = futures_util::future::join_all(producers).await;
        done.into_iter().collect::<Result<()>>()?;
        let ledger = Rc::into_inner(ledger).ok_or_else(|| Error::Target("a producer goes on".to_owned()))?;
        Ok(ledger.into_inner().close())
    })
}

async fn one(
    address: &str,
    sending: &Sending<'_>,
    number: usize,
    ledger: &Rc<RefCell<Ledger<'_>>>,
) -> Result<()> {
    let load = sending.load;
    let client = Client::connect(address).await?;
    let acks = match load.acks {
        Acks::None => millrace_client::Acks::None,
        Acks::Leader => millrace_client::Acks::Leader,
        Acks::All => millrace_client::Acks::All,
    };
    // A batch takes as many records as a request of the wire driver has; what a record takes beside its value is less than this.
    let batch = (load.record_size.largest() + 64) * load.records_per_request as usize;
    let producer = client.producer().acks(acks).idempotence(false).compression(load.compression);
    let producer = producer.batch_size(batch).max_request_size(batch.max(1 << 20)).max_in_flight(load.depth);
    let producer = producer.linger(load.linger()).buffer_memory(batch * load.depth.max(2)).build();
    let (pending, mut answers) = mpsc::unbounded_channel::<Pending>();
    let send = async {
        let (mut sent, mut group) = (0, 0);
        let mut due = number as u64;
        while !sending.window.is_closed() {
            let mut since = Instant::now();
            if let Some(schedule) = sending.schedule {
                since = schedule.due(due);
                due += load.connections as u64;
                tokio::time::sleep_until(since.into()).await;
            }
            let partition = sending.partition(number, group);
            group += 1;
            for _ in 0..load.records_per_request {
                if sending.schedule.is_none() {
                    since = Instant::now();
                }
                let (key, value) = sending.record(sent, since);
                sent += 1;
                let payload = (value.len() + key.as_ref().map_or(0, bytes::Bytes::len)) as u64;
                let mut record = Record::new(sending.topic).value(value).partition(partition);
                record.key = key;
                // It waits for room, and what has room is bounded, so the channel is, too.
                let delivery = producer.send(record).await?;
                let _ = pending.send(Pending { delivery, partition, since, payload });
            }
        }
        producer.flush().await?;
        drop(pending);
        Ok::<(), Error>(())
    };
    let receive = async {
        while let Some(Pending { delivery, partition, since, payload }) = answers.recv().await {
            let placed = delivery.await?;
            if placed.partition != partition {
                return Err(Error::Wrong(format!(
                    "a record for partition {partition} is in {}",
                    placed.partition
                )));
            }
            ledger.borrow_mut().acknowledged(partition, placed.offset, since, payload)?;
        }
        Ok(())
    };
    let both = async { futures_util::future::try_join(send, receive).await.map(|_| ()) };
    tokio::select! {
        done = both => done,
        () = overdue(sending.window) => Err(Error::Target("not all answers in time".to_owned())),
    }
}

/// When what is in flight has had its time.
async fn overdue(window: &Window) {
    while !window.is_closed() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(DRAIN).await;
}

/// Reads; returns latencies, and how many records there were.
pub fn consume(address: &str, following: Following<'_>) -> Result<(Latencies, u64)> {
    here(async {
        let consumers = (0..following.connections.min(following.partitions as usize))
            .map(|number| read_one(address, following, number));
        let mut latencies = Latencies::new();
        let mut records = 0;
        for done in futures_util::future::join_all(consumers).await {
            let (found, count) = done?;
            latencies.add(&found);
            records += count;
        }
        Ok((latencies, records))
    })
}

async fn read_one(address: &str, following: Following<'_>, number: usize) -> Result<(Latencies, u64)> {
    let client = Client::connect(address).await?;
    let mine = || (number as i32..following.partitions as i32).step_by(following.connections);
    let mut follower = Follower::new(following.partitions, following.stamped, following.window);
    loop {
        let bytes = i32::try_from(following.message_bytes).unwrap_or(i32::MAX);
        let mut builder = client.consumer().message_bytes(bytes).max_poll_records(TAKEN);
        for partition in mine() {
            builder = builder.assign(following.topic, partition, Start::Beginning);
        }
        let mut consumer = builder.build();
        while !follower.is_through(mine()) {
            let stopped = following.around && following.window.is_closed();
            if stopped || following.window.failed() {
                return Ok((follower.latencies, follower.records));
            }
            if let Some(ends) = following.ends.get() {
                follower.ends_at(ends);
            }
            let records = consumer.poll(Duration::from_millis(50)).await?;
            let now = Instant::now();
            let mut payload = 0;
            for record in &records {
                let value = record.value.as_deref().unwrap_or_default();
                follower.read(record.partition, record.offset, value, now)?;
                payload += (value.len() + record.key.as_ref().map_or(0, bytes::Bytes::len)) as u64;
            }
            // Behind producers, what goes through is counted where it is produced.
            if following.around {
                let count = records.len() as u64;
                following.window.add(Through { requests: 1, records: count, payload, wire: payload });
            }
        }
        if !following.around {
            return Ok((follower.latencies, follower.records));
        }
        follower.rewind();
    }
}
