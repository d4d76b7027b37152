//! Deciding on a batch. One operation: `on_produce` of one batch, then what storage reports of it, until its producer has an answer and the
//! watermark has passed it.

use crate::OPERATIONS;
use gungraun::{library_benchmark, library_benchmark_group};
use millrace_logic::offset::{Durable, LogEnd, LogStart, Offset, Written};
use millrace_logic::partition::{
    Acks, BatchFacts, Decision, Effect, Epochs, LeaderEpoch, Opening, Partition, Produce, Producers,
    Sequenced, Settings,
};
use std::hint::black_box;
use std::time::Duration;

/// Records of a batch.
const RECORDS: i32 = 16;

struct Leader {
    partition: Partition<u64, u64>,
    effects: Vec<Effect<u64, u64>>,
    acks: Acks,
    idempotent: bool,
    sequence: i32,
}

impl Leader {
    fn new(acks: Acks, idempotent: bool) -> Self {
        let opening = Opening {
            broker: 1,
            leader_epoch: LeaderEpoch::new(0),
            log_start: LogStart::default(),
            end: LogEnd::default(),
            epochs: Epochs::default(),
            producers: Producers::new(1000),
        };
        let partition = Partition::open(Settings::default(), opening);
        let mut leader = Self { partition, effects: Vec::new(), acks, idempotent, sequence: 0 };
        leader.produce();
        leader
    }

    fn produce(&mut self) {
        let producer =
            self.idempotent.then_some(Sequenced { id: 4711, epoch: 0, base_sequence: self.sequence });
        self.sequence += RECORDS;
        let produce = Produce {
            now: Duration::from_secs(5),
            wall_ms: 1_700_000_000_000,
            batch: BatchFacts {
                last_offset_delta: RECORDS - 1,
                size: 16_600,
                max_timestamp: 1_700_000_000_000,
                producer,
                transactional: false,
            },
            acks: self.acks,
            deadline: Duration::from_secs(35),
            ticket: 9,
        };
        let decision = self.partition.on_produce(black_box(produce), &mut self.effects);
        assert!(matches!(decision, Decision::Append(_)), "a fresh batch");
        let end = Offset::new(self.partition.end().get());
        self.partition.on_written(Written::at(end), &mut self.effects);
        self.partition.on_durable(Durable::at(end), &mut self.effects);
        assert!(self.effects.len() == 1, "answered once");
        black_box(&self.effects);
        self.effects.clear();
    }
}

#[library_benchmark(setup = Leader::new)]
#[bench::acks_1(Acks::Leader, false)]
#[bench::acks_all(Acks::All, false)]
#[bench::acks_all_idempotent(Acks::All, true)]
fn on_produce(mut leader: Leader) -> Leader {
    for _ in 0..OPERATIONS {
        leader.produce();
    }
    leader
}

library_benchmark_group!(name = deciding, benchmarks = [on_produce]);
