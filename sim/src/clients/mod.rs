//! Kafka clients of our own making, each a task on a host of its own: they speak the wire protocol through the
//! simulated network, and tell the judge what they do and what they are told.

pub mod admin;
pub mod connection;
pub mod consumer;
pub mod member;
pub mod producer;

use crate::judge::{Fact, Judge, Partition};
use connection::Lost;
use millrace_io::Io;
use millrace_io::simulated::SimIo;
use millrace_proto::kafka::error::ErrorCode;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A partition that clients use, by all its names.
#[derive(Clone, Debug)]
pub struct Target {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, and the partition's number.
    pub partition: Partition,
}

/// When clients are to finish, and who has not yet. Clones are the same.
#[derive(Clone, Default)]
pub struct Closing(Rc<(Cell<bool>, RefCell<BTreeSet<String>>)>);

impl Closing {
    /// Clients shall finish.
    pub fn begin(&self) {
        self.0.0.set(true);
    }

    /// Whether they shall.
    pub fn has_begun(&self) -> bool {
        self.0.0.get()
    }

    /// A client begins its work.
    pub fn enter(&self, name: &str) {
        self.0.1.borrow_mut().insert(name.to_owned());
    }

    /// A client is done.
    pub fn leave(&self, name: &str) {
        self.0.1.borrow_mut().remove(name);
    }

    /// Who is not done.
    pub fn left(&self) -> Vec<String> {
        self.0.1.borrow().iter().cloned().collect()
    }
}

/// What every client has.
#[derive(Clone)]
pub struct Client {
    /// Its core.
    pub io: SimIo,
    /// Where the broker is.
    pub broker: SocketAddr,
    /// Whom it tells.
    pub judge: Judge,
    /// When it finishes.
    pub closing: Closing,
    /// Its name.
    pub name: String,
}

impl Client {
    /// Waits a moment before the next attempt, and tells the judge if the last one ended in a way that no fault explains.
    pub async fn after(&self, lost: Lost) {
        if let Lost::Garbled(what) = lost {
            self.nonsense(format_args!("{what}"));
        }
        self.io.sleep(Duration::from_millis(100)).await;
    }

    /// Tells the judge of an answer that no fault explains.
    pub fn nonsense(&self, what: impl std::fmt::Display) {
        self.judge.note(Fact::Nonsense(format!("{} was told: {what}", self.name)));
    }
}

/// Whether a fault explains that a partition of a topic that is there gives this error: clients try again.
pub fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::KafkaStorageError
            | ErrorCode::RequestTimedOut
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::OffsetNotAvailable
    )
}
