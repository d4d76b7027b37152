//! The ruler's movement: storage reports, replicas are compared, the watermark advances, whoever waited for it is told.

use super::{Effect, Health, Partition};
use crate::offset::{Durable, HighWatermark, LogStart, Offset, Written};

/// How far one replica has come.
#[derive(Clone, Copy, Debug)]
struct Replica {
    broker: i32,
    written: Written,
    durable: Durable,
    in_sync: bool,
}

/// The replicas of a partition; the leader is one of them.
#[derive(Debug)]
pub(super) struct Replicas {
    /// Index of the leader, this broker.
    leader: usize,
    members: Vec<Replica>,
}

impl Replicas {
    /// A leader without followers, all of whose log is durable.
    pub(super) fn alone(broker: i32, end: Offset) -> Self {
        let leader = Replica { broker, written: Written::at(end), durable: Durable::at(end), in_sync: true };
        Self { leader: 0, members: vec![leader] }
    }

    fn leader(&self) -> &Replica {
        &self.members[self.leader]
    }

    /// What the leader has written.
    pub(super) fn written(&self) -> Written {
        self.leader().written
    }

    /// What the leader could bring back after a power cut.
    pub(super) fn durable(&self) -> Durable {
        self.leader().durable
    }

    /// Takes the leader's progress; says whether there was any. Durable data is written data.
    fn progress(&mut self, written: Written, durable: Durable) -> bool {
        let leader = &mut self.members[self.leader];
        let before = (leader.written, leader.durable);
        leader.durable = leader.durable.max(durable);
        leader.written = leader.written.max(written).max(Written::at(durable.offset()));
        (leader.written, leader.durable) != before
    }

    /// The least offset over the in-sync replicas: what the watermark may reach.
    fn committed(&self, write_caching: bool) -> Offset {
        let reached = |replica: &Replica| match write_caching {
            true => replica.written.offset(),
            false => replica.durable.offset(),
        };
        let in_sync = self.members.iter().filter(|replica| replica.in_sync);
        in_sync.map(reached).min().unwrap_or_else(|| reached(self.leader()))
    }

    /// The brokers in sync, leader included.
    fn in_sync(&self) -> impl Iterator<Item = i32> {
        self.members.iter().filter(|replica| replica.in_sync).map(|replica| replica.broker)
    }
}

impl<P, W: Ord + Clone> Partition<P, W> {
    /// Storage wrote everything below `end`.
    pub fn on_written(&mut self, end: Written, out: &mut Vec<Effect<P, W>>) {
        self.on_progress(end, Durable::default(), out);
    }

    /// Storage synced everything below `end`.
    pub fn on_durable(&mut self, end: Durable, out: &mut Vec<Effect<P, W>>) {
        self.on_progress(Written::default(), end, out);
    }

    /// The log now starts at `log_start` (retention, deleted records). Waiting fetches from below it are sent back.
    ///
    /// Never lowers it, and never raises it above the high watermark; returns where it is.
    pub fn on_log_start(&mut self, log_start: LogStart, out: &mut Vec<Effect<P, W>>) -> LogStart {
        let allowed = log_start.offset().min(self.high_watermark.offset());
        self.log_start = self.log_start.max(LogStart::at(allowed));
        self.epochs.truncate_start(self.log_start);
        self.watchers.fail_below(self.log_start, out);
        self.check();
        self.log_start
    }

    /// The brokers in sync, this one included.
    pub fn in_sync(&self) -> impl Iterator<Item = i32> {
        self.replicas.in_sync()
    }

    fn on_progress(&mut self, written: Written, durable: Durable, out: &mut Vec<Effect<P, W>>) {
        // After a failure nothing that storage still reports is believed: the answers are out already.
        if self.health != Health::Serving || !self.replicas.progress(written, durable) {
            return;
        }
        self.answer_written(self.replicas.written(), out);
        self.advance(out);
    }

    /// Moves the watermark as far as the replicas allow, never back.
    pub(super) fn advance(&mut self, out: &mut Vec<Effect<P, W>>) {
        let reached = HighWatermark::at(self.replicas.committed(self.settings.write_caching));
        if reached > self.high_watermark && self.health == Health::Serving {
            let before = std::mem::replace(&mut self.high_watermark, reached);
            self.answer_committed(reached, out);
            self.watchers.advance(&mut self.unread, before, reached, out);
        }
        self.check();
    }
}
