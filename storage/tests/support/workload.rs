//! What happens to a log while it lives: tasks on the simulated host that append, read, look up, delete, checkpoint.

use super::model::{Batch, Model};
use bytes::{Bytes, BytesMut};
use millrace_io::Io;
use millrace_io::simulated::{Rng, SimIo};
use millrace_proto::batch::{Builder, Header, Options, stamp};
use millrace_proto::compression::Codec;
use millrace_proto::files::{encode_producer_snapshot, encode_recent_batches};
use millrace_storage::{
    DataDir, Journal, Log, LogEvent, PartitionOffsets, ReadError, ReserveError, TimestampedOffset,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub type Shared = Rc<RefCell<Model>>;

/// Everything a task needs.
#[derive(Clone)]
pub struct Context {
    pub io: SimIo,
    pub log: Log<SimIo>,
    pub journal: Journal<SimIo>,
    pub dir: Rc<DataDir<SimIo>>,
    pub model: Shared,
    pub epoch: i32,
}

impl Context {
    pub async fn pause(&self, rng: &mut Rng, most_micros: u64) {
        self.io.sleep(Duration::from_micros(rng.below(most_micros.max(1)))).await;
    }

    pub fn offsets(&self) -> PartitionOffsets {
        PartitionOffsets {
            topic: "t".into(),
            partition: 0,
            recovery_point: self.log.recovery_point(),
            high_watermark: self.log.durable(),
            log_start: self.log.log_start(),
            cleaned: 0,
        }
    }
}

/// The model's ear: what the log says, as it says it.
pub fn listener(model: &Shared, rolled: &Rc<RefCell<Vec<i64>>>) -> Rc<dyn Fn(LogEvent)> {
    let (model, rolled) = (model.clone(), rolled.clone());
    Rc::new(move |event| match event {
        LogEvent::Written { end } => model.borrow_mut().on_written(end),
        LogEvent::Durable { end } => model.borrow_mut().on_durable(end),
        LogEvent::Rolled { base } => rolled.borrow_mut().push(base),
        LogEvent::Failed(_) => model.borrow_mut().failed = true,
    })
}

/// A batch of random size with random timestamps; sometimes compressed.
fn make_batch(rng: &mut Rng, now: i64) -> BytesMut {
    let mut builder = Builder::new();
    let large = rng.chance(0.1);
    for _ in 0..rng.within(1..=4) {
        let mut value = vec![0; rng.below(if large { 6000 } else { 400 }) as usize];
        rng.fill(&mut value);
        let timestamp = now - rng.below(2000) as i64;
        builder.push(timestamp, None, Some(&value), &[]).expect("a small record");
    }
    let codec = if rng.chance(0.2) { Codec::Lz4 } else { Codec::None };
    builder.finish(&Options { codec, ..Options::default() }).expect("a small batch")
}

fn as_appended(bytes: &Bytes, header: &Header) -> Batch {
    let mut scratch = Vec::new();
    let records =
        millrace_proto::batch::records(bytes, &mut scratch, &Default::default()).expect("own batch");
    let records = records.map(|r| r.map(|r| (r.offset, r.timestamp)).expect("own record")).collect();
    Batch { bytes: bytes.clone(), end: header.next_offset(), max_timestamp: header.max_timestamp, records }
}

/// Appends until the log goes offline.
pub async fn append(cx: Context, mut rng: Rng) {
    let eagerness = rng.within(1..=3000);
    loop {
        let batches: Vec<BytesMut> =
            (0..rng.within(1..=3)).map(|_| make_batch(&mut rng, cx.io.wall_clock())).collect();
        let bytes = batches.iter().map(|b| b.len()).sum();
        let newest = cx.io.wall_clock();
        if !cx.log.try_reserve(bytes, newest) {
            match cx.log.reserve(bytes, newest).await {
                Ok(()) => {}
                Err(ReserveError::NoSpace(_)) => {
                    cx.pause(&mut rng, 50_000).await;
                    continue;
                }
                Err(ReserveError::Offline(_)) => return,
            }
        }
        if rng.chance(0.05) {
            cx.log.release(bytes);
            continue;
        }
        if rng.chance(0.2) {
            // Other tasks run between reserving and appending.
            cx.pause(&mut rng, 500).await;
        }
        batches.into_iter().for_each(|batch| append_one(&cx, batch));
        if rng.chance(0.7) {
            cx.pause(&mut rng, eagerness).await;
        }
    }
}

fn append_one(cx: &Context, mut batch: BytesMut) {
    let base = cx.log.end();
    stamp(&mut batch, base, cx.epoch);
    let header = Header::parse(&batch).expect("own batch");
    let bytes = Bytes::copy_from_slice(&batch);
    if cx.log.failure().is_none() {
        cx.model.borrow_mut().append(base, as_appended(&bytes, &header));
    }
    cx.log.append(batch, &header);
}

/// Reads at random and compares.
pub async fn read(cx: Context, mut rng: Rng) {
    loop {
        let (start, written) = (cx.log.log_start(), cx.log.written());
        let offset = start + rng.below((written - start) as u64 + 2) as i64;
        let upto = offset + rng.below((written - offset).max(0) as u64 + 3) as i64;
        let max = rng.below(20_000);
        let force = rng.chance(0.5);
        match cx.log.read(offset, upto, max, force).await {
            Ok(extents) => compare(&cx, &extents, (offset, upto), max, force).await,
            Err(ReadError::OutOfRange { .. }) => {
                let wrong = offset >= cx.log.log_start() && offset <= written;
                cx.model
                    .borrow_mut()
                    .check(!wrong, || format!("{offset} is out of range of {start}..{written}"));
            }
            Err(ReadError::Offline(_)) => return,
            Err(ReadError::Io { .. }) => {}
            Err(ReadError::Quarantined(range)) => {
                let mut model = cx.model.borrow_mut();
                // A damaged header may claim offsets that are its neighbours', as far as it likes.
                let lied_about = model.damaged.iter().any(|damaged| damaged.start <= range.start);
                let just = lied_about || range.clone().all(|o| model.is_damaged(o) || o < model.log_start);
                model.check(just, || format!("{range:?} is quarantined and was not damaged"));
            }
        }
        cx.pause(&mut rng, 4000).await;
    }
}

async fn compare(
    cx: &Context,
    extents: &[millrace_storage::Extent<<SimIo as Io>::File>],
    (offset, upto): (i64, i64),
    max: u64,
    force: bool,
) {
    let mut found = Vec::new();
    for extent in extents {
        let Ok(bytes) = cx.log.read_bytes(extent).await else { return };
        found.extend_from_slice(&bytes);
    }
    let mut model = cx.model.borrow_mut();
    let (Some(first), Some(last)) = (extents.first(), extents.last()) else {
        // Nothing may mean: the first batch is too large, or ends behind `upto`.
        let next =
            model.log.range(..=offset).next_back().map(|(_, batch)| (batch.end, batch.bytes.len() as u64));
        let due = next.is_some_and(|(end, len)| {
            offset < end
                && end <= upto.min(model.written)
                && (force || len <= max)
                && !model.is_damaged(offset)
        });
        let deleted = offset < model.log_start;
        model.check(!due || deleted, || {
            format!("nothing was read from {offset} up to {upto} (at most {max} bytes, force {force})")
        });
        return;
    };
    // A damaged header in a segment that no start scans may claim offsets that are its neighbours'.
    if (first.base_offset..last.end_offset).any(|o| model.is_damaged(o)) {
        return;
    }
    let end = last.end_offset;
    let one = model.log.get(&first.base_offset).is_some_and(|batch| batch.end == end);
    let within = found.len() as u64 <= max || (force && one);
    model.check(within, || {
        format!("{} bytes were read from {offset}, at most {max} were asked for", found.len())
    });
    model.check(end <= upto, || format!("a read up to {upto} went to {end}"));
    let same = model.bytes(offset, end) == found;
    let deleted = offset < model.log_start;
    model.check(same || deleted, || {
        format!("offsets {}..{end} (asked for {offset}) are not what was appended", first.base_offset)
    });
}

/// Looks records up by timestamp and compares.
pub async fn look_up(cx: Context, mut rng: Rng) {
    loop {
        cx.pause(&mut rng, 30_000).await;
        let (start, upto) = (cx.log.log_start(), cx.log.written());
        let timestamp = cx.io.wall_clock() - rng.below(4000) as i64;
        if let Ok(found) = cx.log.offset_for_timestamp(timestamp, upto).await {
            compare_look_up(&cx, (start, upto), Some(timestamp), found);
        }
        let (start, upto) = (cx.log.log_start(), cx.log.written());
        if let Ok(found) = cx.log.max_timestamp_offset(upto).await {
            compare_look_up(&cx, (start, upto), None, found);
        }
    }
}

/// Compares what was found for a timestamp, or for the largest one, with the model. Damage and deletions that came
/// meanwhile excuse everything.
fn compare_look_up(
    cx: &Context,
    (start, upto): (i64, i64),
    timestamp: Option<i64>,
    found: Option<TimestampedOffset>,
) {
    let mut model = cx.model.borrow_mut();
    if !model.damaged.is_empty() || model.log_start != start {
        return;
    }
    let expected =
        timestamp.or_else(|| model.largest_timestamp(upto)).and_then(|t| model.at_timestamp(t, upto));
    let found = found.map(|f| (f.offset, f.timestamp));
    model.check(found == expected, || format!("{timestamp:?} was found at {found:?}, it is at {expected:?}"));
}

/// Checkpoints, snapshots at rolls, and now and then a deletion.
pub async fn maintain(cx: Context, mut rng: Rng, rolled: Rc<RefCell<Vec<i64>>>) {
    loop {
        cx.pause(&mut rng, 40_000).await;
        let offsets = cx.offsets();
        let _ = cx.dir.checkpoint(vec![offsets]).await;
        let bases = std::mem::take(&mut *rolled.borrow_mut());
        for base in bases {
            let snapshot = encode_producer_snapshot(&[]).into();
            let companion = encode_recent_batches(&[]).into();
            let _ = cx.log.write_producer_snapshot(base, snapshot, companion).await;
        }
        if rng.chance(0.1) {
            let start = cx.log.log_start()
                + rng.below((cx.log.durable() - cx.log.log_start()).max(0) as u64 / 2 + 1) as i64;
            cx.log.set_log_start(start);
            cx.model.borrow_mut().log_start = cx.log.log_start();
            if cx.dir.checkpoint(vec![cx.offsets()]).await.is_ok() {
                let _ = cx.log.delete_segments_below(start).await;
            }
        }
        if rng.chance(0.05) {
            retire(&cx, &mut rng).await;
        }
    }
}

/// Whole segments go, as by retention: their names say where the log begins then, whatever the checkpoint knows.
async fn retire(cx: &Context, rng: &mut Rng) {
    if rng.chance(0.3) && cx.log.roll().await.is_err() {
        return;
    }
    let Ok(segments) = cx.log.segments().await else { return };
    let durable = cx.log.durable();
    let whole: Vec<i64> =
        segments.iter().map(|segment| segment.base).filter(|base| *base <= durable).collect();
    let start = whole[rng.index(whole.len())];
    cx.log.set_log_start(start);
    cx.model.borrow_mut().log_start = cx.log.log_start();
    let _ = cx.log.delete_segments_below(start).await;
    if rng.chance(0.5) {
        let _ = cx.dir.checkpoint(vec![cx.offsets()]).await;
    }
}
