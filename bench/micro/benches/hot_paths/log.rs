//! The log without its disk.
//!
//! - `append`: stamps one batch and hands it to the log, for which space is reserved: where it begins and its index entries are noted, and
//!   it is put among what the next write takes. The write itself is not counted.
//! - `extent_lookup`: finds what a consumer is to get that reads near the end of the log, from a batch to the end. Nothing is read from a
//!   file for it; if something were, the benchmark would fail.

use crate::OPERATIONS;
use crate::input::batch;
use bytes::BytesMut;
use futures_util::FutureExt;
use gungraun::{library_benchmark, library_benchmark_group};
use millrace_io::Io;
use millrace_io::simulated::{SimIo, World};
use millrace_proto::batch::{Header, stamp};
use millrace_storage::{Log, LogConfig};
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use uuid::Uuid;

struct Site {
    log: Log<SimIo>,
    batches: Vec<BytesMut>,
    // Dropped last: the log's tasks are in it.
    _world: World,
}

impl Site {
    fn new(records: usize, bytes: usize) -> Self {
        let world = World::new(1);
        let io = world.host(1).core(0);
        let config = LogConfig { write_caching: true, ..LogConfig::default() };
        // One is appended in advance.
        let batches: Vec<_> = (0..=OPERATIONS).map(|_| batch(records, bytes)).collect();
        let wanted = batches.iter().map(BytesMut::len).sum();
        let log = world.run_until(async {
            let dir = Path::new("/data/topic-0");
            io.create_dir_all(Path::new("/data")).await.expect("room");
            let log = Log::create(io.clone(), dir, Uuid::from_u128(7), config, Rc::new(|_| {}));
            let log = log.await.expect("a new log");
            log.reserve(wanted, 0).await.expect("room");
            log
        });
        let mut site = Self { log, batches, _world: world };
        // The first one starts the task that writes; it does not run before the world does.
        site.append();
        site
    }

    /// A log that has been written.
    fn written(records: usize, bytes: usize) -> Self {
        let mut site = Self::new(records, bytes);
        while !site.batches.is_empty() {
            site.append();
        }
        site._world.run_until(site.log.flush()).expect("a disk");
        site.look_up(1);
        site
    }

    fn append(&mut self) {
        let mut batch = self.batches.pop().expect("a batch");
        stamp(&mut batch, self.log.end(), 0);
        let header = Header::parse(&batch).expect("its header");
        self.log.append(batch, &header);
    }

    fn look_up(&self, offset: i64) {
        let end = self.log.written();
        let found = self.log.read(black_box(offset), end, 1 << 20, true).now_or_never();
        let found = found.expect("no file is read").expect("it is there");
        assert!(!found.is_empty(), "something is there");
        black_box(found);
    }
}

#[library_benchmark(setup = Site::new)]
#[bench::b_1x100(1, 100)]
#[bench::b_16x1k(16, 1024)]
#[bench::b_100x1k(100, 1024)]
fn append(mut site: Site) -> Site {
    for _ in 0..OPERATIONS {
        site.append();
    }
    site
}

/// A log of single records: each offset is a batch of its own.
fn last(behind: i64) -> (Site, i64) {
    let site = Site::written(1, 1024);
    let offset = site.log.end() - behind;
    (site, offset)
}

#[library_benchmark(setup = last)]
#[bench::last_batch(1)]
#[bench::last_50_batches(50)]
fn extent_lookup((site, offset): (Site, i64)) -> Site {
    for _ in 0..OPERATIONS {
        site.look_up(offset);
    }
    site
}

library_benchmark_group!(name = logs, benchmarks = [append, extent_lookup]);
