//! What happens in a world, as facts, and the judge who shows each of them to every invariant.

use crate::invariants::{self, Invariant};
use millrace_io::Io;
use millrace_io::simulated::SimIo;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// A partition of a topic: a topic that is made again under the same name is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's number.
    pub index: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", &self.topic.simple().to_string()[..8], self.index)
    }
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// acks=1: the leader has written it.
    Written,
    /// acks=all: it is durable.
    Durable,
}

/// Records of one origin, in whose order they are sent: a connection, or an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream(pub u64);

/// A group of members that share partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(pub u64);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group-{}", self.0)
    }
}

/// How far a group has come in a partition, as a member says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// No other commit has it.
    pub number: u64,
    /// The group.
    pub group: GroupId,
    /// The partition.
    pub partition: Partition,
    /// How far.
    pub offset: i64,
}

/// Something that happened, as far as clients and the operator can know.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A record is about to be sent for the first time. Numbers of a stream ascend.
    Sent {
        /// Its number.
        number: u64,
        /// Where to.
        partition: Partition,
        /// From whom.
        stream: Stream,
    },
    /// A record was acknowledged.
    Acked {
        /// Its number.
        number: u64,
        /// Where it is.
        partition: Partition,
        /// At which offset.
        offset: i64,
        /// What that means.
        promise: Promise,
    },
    /// A reader goes on from here.
    Seek {
        /// Who.
        reader: u64,
        /// Where.
        partition: Partition,
        /// From which offset.
        offset: i64,
    },
    /// A reader was given a record.
    Read {
        /// Who.
        reader: u64,
        /// Where.
        partition: Partition,
        /// At which offset.
        offset: i64,
        /// Which.
        number: u64,
    },
    /// A client was told a high watermark; its answers come in the order of its requests.
    Watermark {
        /// Who.
        observer: u64,
        /// Where.
        partition: Partition,
        /// How high.
        offset: i64,
    },
    /// Nothing is sent any more, and a reader has read all from offset 0 to this end.
    ReadWhole {
        /// Where.
        partition: Partition,
        /// The high watermark.
        end: i64,
    },
    /// A member is about to commit.
    CommitSent(Commit),
    /// A commit was accepted.
    CommitAccepted(Commit),
    /// A member is about to ask how far its group has come.
    OffsetsAsked {
        /// Who.
        member: u64,
        /// Which group.
        group: GroupId,
    },
    /// It was told.
    OffsetFound {
        /// Who.
        member: u64,
        /// Which group.
        group: GroupId,
        /// Where.
        partition: Partition,
        /// How far, and by which commit; `None` if nothing was committed.
        found: Option<(i64, u64)>,
    },
    /// A member of the classic protocol was told its share of a generation.
    Shared {
        /// Which group.
        group: GroupId,
        /// Which generation.
        generation: i32,
        /// Who: its name if it is static, otherwise its id.
        member: String,
        /// All that it got.
        partitions: BTreeSet<Partition>,
    },
    /// What a member of a group has from now on.
    Holds {
        /// Which group.
        group: GroupId,
        /// Who.
        member: u64,
        /// All that it has.
        partitions: BTreeSet<Partition>,
        /// When it is now.
        now: Duration,
        /// Until when it has that at least, should nothing be heard of it any more.
        until: Duration,
    },
    /// A member was told that it is out.
    Out,
    /// A client was told something that it should never be told.
    Nonsense(String),
    /// A producer id was given.
    ProducerId(i64),
    /// The creation of a topic was acknowledged.
    TopicCreated(String, Uuid),
    /// The deletion of a topic is about to be asked for.
    TopicDoomed(Uuid),
    /// The deletion of a topic was acknowledged.
    TopicDeleted(Uuid),
    /// All topics, by the client that creates and deletes them, which did nothing else meanwhile.
    Topics(BTreeMap<String, Uuid>),
    /// The broker died. Written bytes that no sync covered may be gone, or they may not.
    Crashed {
        /// Whether everything written is still there.
        keeps_written: bool,
    },
    /// The broker was asked to stop, and nothing was wrong with its disk.
    Stopped {
        /// Whether it stopped in time, called itself clean, and left the marker.
        clean: bool,
    },
    /// The broker is serving again after a clean stop.
    StartedClean {
        /// How often the one partition's log that was read most was read.
        log_reads: u64,
    },
    /// The broker did not start though nothing is wrong with its disk.
    StartFailed(String),
    /// Everything is healed; everybody shall finish. A while later these were not done.
    Unfinished(Vec<String>),
}

/// An invariant that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub what: String,
    /// When, in virtual time.
    pub at: Duration,
}

/// How often what happened, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records sent, each once.
    pub sent: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Records read, by all readers.
    pub read: u64,
    /// Topics created.
    pub created: u64,
    /// Topics deleted.
    pub deleted: u64,
    /// Producer ids given.
    pub producer_ids: u64,
    /// Commits of groups accepted.
    pub commits: u64,
    /// How often a member found out how far its group had come in a partition.
    pub lookups: u64,
    /// How often a member was told that it is out.
    pub outs: u64,
}

struct State {
    io: SimIo,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    tally: Tally,
    last_number: u64,
    crashes: u64,
}

/// Shows every fact to every invariant and keeps the first violation. Clones are the same judge.
#[derive(Clone)]
pub struct Judge(Rc<RefCell<State>>);

impl Judge {
    /// A judge with all invariants, and a clock.
    pub fn new(io: SimIo) -> Self {
        let invariants = invariants::all();
        let state =
            State { io, invariants, violation: None, tally: Tally::default(), last_number: 0, crashes: 0 };
        Self(Rc::new(RefCell::new(state)))
    }

    /// A number that was not given before; they ascend.
    pub fn next_number(&self) -> u64 {
        let mut state = self.0.borrow_mut();
        state.last_number += 1;
        state.last_number
    }

    /// How often the broker has died.
    pub fn crashes(&self) -> u64 {
        self.0.borrow().crashes
    }

    /// Takes a fact.
    pub fn note(&self, fact: Fact) {
        let state = &mut *self.0.borrow_mut();
        state.tally.count(&fact);
        state.crashes += u64::from(matches!(fact, Fact::Crashed { .. }));
        if state.violation.is_some() {
            return;
        }
        let broken = state.invariants.iter_mut().find_map(|invariant| {
            let outcome = invariant.observe(&fact);
            outcome.err().map(|what| (invariant.name(), what))
        });
        let at = state.io.now();
        state.violation = broken.map(|(invariant, what)| Violation { invariant, what, at });
    }

    /// The first violation, if there is one.
    pub fn violation(&self) -> Option<Violation> {
        self.0.borrow().violation.clone()
    }

    /// How often what happened.
    pub fn tally(&self) -> Tally {
        self.0.borrow().tally
    }
}

impl Tally {
    fn count(&mut self, fact: &Fact) {
        match fact {
            Fact::Sent { .. } => self.sent += 1,
            Fact::Acked { .. } => self.acked += 1,
            Fact::Read { .. } => self.read += 1,
            Fact::TopicCreated(..) => self.created += 1,
            Fact::TopicDeleted(_) => self.deleted += 1,
            Fact::ProducerId(_) => self.producer_ids += 1,
            Fact::CommitAccepted(_) => self.commits += 1,
            Fact::OffsetFound { .. } => self.lookups += 1,
            Fact::Out => self.outs += 1,
            _ => {}
        }
    }
}
