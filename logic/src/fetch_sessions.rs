//! Incremental fetch sessions (KIP-227): what a client fetches, remembered, so that it need not say it again; and what it was told, so that
//! it is told again only what changed.
//!
//! The rules are those of Kafka's `FetchManager` and `FetchSessionCache`. Sessions belong to one core: a client that comes back on another
//! one does not find its session there, and starts anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

/// A session that was not used for so long makes room for another, and one that has lived for so long for a larger one
/// (`min.incremental.fetch.session.eviction.ms`).
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// The epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants none.
const FINAL_EPOCH: i32 = -1;

/// A topic as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id, from version 13 on.
    Id(Uuid),
}

/// A partition to fetch, with all that the request says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicKey,
    /// The partition's number.
    pub partition: i32,
    /// From where on.
    pub offset: i64,
    /// The most bytes.
    pub max_bytes: i32,
    /// The leader epoch that the client knows; -1 for none.
    pub current_epoch: i32,
    /// The epoch of the last record that the client has; -1 for none.
    pub last_fetched_epoch: i32,
}

/// A partition by the client's name of its topic.
type Key = (TopicKey, i32);

impl Wanted {
    fn key(&self) -> Key {
        (self.topic.clone(), self.partition)
    }
}

/// What a request says of its session.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The session; 0 for none.
    pub id: i32,
    /// Its epoch.
    pub epoch: i32,
    /// Whether topics go by id.
    pub by_id: bool,
    /// Partitions that are new or changed; in a full request, all of them.
    pub wanted: Vec<Wanted>,
    /// Partitions to fetch no longer.
    pub forgotten: Vec<(TopicKey, i32)>,
}

/// What to fetch, in order, and whose answer it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each partition.
    pub wanted: Vec<Wanted>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sessionless,
    Opens { by_id: bool },
    Continues { id: i32 },
}

/// What was found of one partition, as far as a session compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The high watermark; -1 with an error.
    pub high_watermark: i64,
    /// The log's start; -1 with an error.
    pub log_start: i64,
    /// Whether there is more to tell: records, an error, a diverging epoch.
    pub has_news: bool,
    /// Whether there are records.
    pub has_records: bool,
}

/// What the answer says of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The session; 0 for none.
    pub id: i32,
    /// For each partition of the plan, whether it is part of the answer.
    pub included: Vec<bool>,
}

/// Why a session cannot be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// `FETCH_SESSION_ID_NOT_FOUND` (70). So is one whose last request is still being answered: it ends.
    #[error("there is no fetch session {0} on this core: it was evicted, or the client was on another one")]
    NotFound(i32),
    /// `INVALID_FETCH_SESSION_EPOCH` (71).
    #[error("fetch session {id} is at epoch {expected}, the request is of epoch {found}")]
    Epoch {
        /// The session.
        id: i32,
        /// The epoch that comes next.
        expected: i32,
        /// The epoch of the request.
        found: i32,
    },
    /// `FETCH_SESSION_TOPIC_ID_ERROR` (106).
    #[error("fetch session {0} was opened with the other way of naming topics")]
    TopicIds(i32),
}

/// A partition of a session: how to fetch it, and what the client knows of it.
#[derive(Clone, Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start: i64,
}

impl Cached {
    /// A partition of which the client knows nothing yet.
    fn new(wanted: Wanted) -> Self {
        Self { wanted, high_watermark: -1, log_start: -1 }
    }

    /// Whether the client is to be told. What it is told it knows from then on.
    fn take(&mut self, outcome: &Outcome) -> bool {
        let moved = (self.high_watermark, self.log_start) != (outcome.high_watermark, outcome.log_start);
        (self.high_watermark, self.log_start) = (outcome.high_watermark, outcome.log_start);
        moved || outcome.has_news
    }
}

#[derive(Debug)]
struct Session {
    by_id: bool,
    epoch: i32,
    /// A request of it is being answered. Clients wait for an answer before they go on; who does not would have each small request
    /// read everything that is remembered.
    busy: bool,
    created: Duration,
    used: Duration,
    /// In the order in which they are fetched: who had records goes to the end, so that everybody gets a turn.
    queue: BTreeMap<u64, Cached>,
    places: BTreeMap<Key, u64>,
    next_place: u64,
}

impl Session {
    fn put(&mut self, cached: Cached) {
        self.places.insert(cached.wanted.key(), self.next_place);
        self.queue.insert(self.next_place, cached);
        self.next_place += 1;
    }

    /// Takes what an incremental request changes.
    fn update(&mut self, asked: &Asked) {
        for wanted in &asked.wanted {
            match self.places.get(&wanted.key()).and_then(|place| self.queue.get_mut(place)) {
                Some(known) => known.wanted = wanted.clone(),
                None => self.put(Cached::new(wanted.clone())),
            }
        }
        for key in &asked.forgotten {
            if let Some(place) = self.places.remove(key) {
                self.queue.remove(&place);
            }
        }
    }

    /// Takes what was found of a partition; whether the client is to be told.
    fn take(&mut self, wanted: &Wanted, outcome: &Outcome) -> bool {
        let key = wanted.key();
        let Some(place) = self.places.get(&key).copied() else { return true };
        let Some(cached) = self.queue.get_mut(&place) else { return true };
        let told = cached.take(outcome);
        if outcome.has_records
            && let Some(cached) = self.queue.remove(&place)
        {
            self.put(cached);
        }
        told
    }
}

/// The sessions of one core.
#[derive(Debug)]
pub struct Sessions {
    slots: usize,
    most_partitions: usize,
    by_id: BTreeMap<i32, Session>,
    by_use: BTreeSet<(Duration, i32)>,
    partitions: usize,
    evicted: u64,
}

impl Sessions {
    /// At most so many sessions (`max.incremental.fetch.session.cache.slots`), and so many partitions in all of them.
    pub fn new(slots: usize, most_partitions: usize) -> Self {
        Self {
            slots,
            most_partitions,
            by_id: BTreeMap::new(),
            by_use: BTreeSet::new(),
            partitions: 0,
            evicted: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many partitions are remembered in all of them.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// How many had to make room so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes a request: what to fetch for it.
    pub fn begin(&mut self, asked: Asked, now: Duration) -> Result<Plan, SessionError> {
        let Asked { id, epoch, by_id, .. } = asked;
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.remove(id);
            let kind = if epoch == FINAL_EPOCH { Kind::Sessionless } else { Kind::Opens { by_id } };
            return Ok(Plan { wanted: asked.wanted, kind });
        }
        let session = self.by_id.get_mut(&id).ok_or(SessionError::NotFound(id))?;
        if session.epoch != epoch {
            return Err(SessionError::Epoch { id, expected: session.epoch, found: epoch });
        }
        if session.by_id != by_id {
            return Err(SessionError::TopicIds(id));
        }
        if session.busy {
            self.remove(id);
            return Err(SessionError::NotFound(id));
        }
        session.busy = true;
        let before = session.queue.len();
        session.update(&asked);
        let after = session.queue.len();
        let wanted = session.queue.values().map(|cached| cached.wanted.clone()).collect();
        session.epoch = next_epoch(epoch);
        self.by_use.remove(&(session.used, id));
        session.used = now;
        self.by_use.insert((now, id));
        self.partitions = self.partitions - before + after;
        if after == 0 || self.partitions > self.most_partitions {
            // Nothing is left to fetch, or too much to remember: this answer is the session's last.
            self.remove(id);
            return Ok(Plan { wanted, kind: Kind::Sessionless });
        }
        Ok(Plan { wanted, kind: Kind::Continues { id } })
    }

    /// Takes what was found, for each partition of the plan in order: what the answer says of it. `random` gives ids.
    pub fn finish(
        &mut self,
        plan: &Plan,
        outcomes: &[Outcome],
        now: Duration,
        random: &mut dyn FnMut() -> i32,
    ) -> Told {
        let all = || vec![true; outcomes.len()];
        match plan.kind {
            Kind::Sessionless => Told { id: 0, included: all() },
            Kind::Opens { by_id } => {
                Told { id: self.open(plan, outcomes, by_id, now, random), included: all() }
            }
            Kind::Continues { id } => match self.by_id.get_mut(&id) {
                Some(session) => {
                    session.busy = false;
                    let pairs = plan.wanted.iter().zip(outcomes);
                    Told {
                        id,
                        included: pairs.map(|(wanted, outcome)| session.take(wanted, outcome)).collect(),
                    }
                }
                // It made room for another meanwhile: the next request will be told.
                None => Told { id, included: all() },
            },
        }
    }

    /// Opens a session, if there is room for it; its id, or 0.
    fn open(
        &mut self,
        plan: &Plan,
        outcomes: &[Outcome],
        by_id: bool,
        now: Duration,
        random: &mut dyn FnMut() -> i32,
    ) -> i32 {
        let size = plan.wanted.len();
        if size == 0 || size > self.most_partitions || !self.make_room(size, now) {
            return 0;
        }
        let unused = |id: &i32| *id > 0 && !self.by_id.contains_key(id);
        let Some(id) = std::iter::repeat_with(random).take(64).find(unused) else { return 0 };
        let mut session = Session {
            by_id,
            epoch: next_epoch(INITIAL_EPOCH),
            busy: false,
            created: now,
            used: now,
            queue: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        };
        for (wanted, outcome) in plan.wanted.iter().zip(outcomes) {
            let mut cached = Cached::new(wanted.clone());
            cached.take(outcome);
            // Named twice, the last one counts.
            if let Some(place) = session.places.remove(&wanted.key()) {
                session.queue.remove(&place);
            }
            session.put(cached);
        }
        self.partitions += session.queue.len();
        self.by_use.insert((now, id));
        self.by_id.insert(id, session);
        id
    }

    /// Lets others go until a session of this size fits; whether it does.
    fn make_room(&mut self, size: usize, now: Duration) -> bool {
        while self.by_id.len() >= self.slots || self.partitions + size > self.most_partitions {
            let Some(id) = self.evictable(size, now) else { return false };
            self.remove(id);
            self.evicted += 1;
        }
        true
    }

    /// One that was not used for long, or else the smallest that has lived for long and is smaller than `size`.
    fn evictable(&self, size: usize, now: Duration) -> Option<i32> {
        let long_ago = |time: Duration| now.saturating_sub(time) > EVICTABLE_AFTER;
        let (used, longest_unused) = *self.by_use.first()?;
        if long_ago(used) {
            return Some(longest_unused);
        }
        let smaller = self.by_id.iter().filter(|(_, s)| long_ago(s.created) && s.queue.len() < size);
        smaller.min_by_key(|(_, session)| session.queue.len()).map(|(id, _)| *id)
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.by_id.remove(&id) {
            self.by_use.remove(&(session.used, id));
            self.partitions -= session.queue.len();
        }
    }
}

/// After the largest comes 1: 0 would open a session.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
#[path = "fetch_sessions_test.rs"]
mod tests;
