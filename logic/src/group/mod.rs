//! The coordinator of groups: one for each partition of `__consumer_offsets`, which holds what it decided.
//!
//! Requests and time go in; records to append and answers come out. State changes at once; an answer that tells of it waits, marked
//! [`When::Durable`], until all records so far are durable. If an append fails, the coordinator is thrown away and made anew from the log by
//! [`Coordinator::replay`]: what nobody was told of did not happen.
//!
//! Split by role: [`request`] what is asked and answered, [`classic`] the group and its members, `joining` and `syncing` the two steps of a
//! rebalance, `membership` everything by which members come to go, [`offsets`] what was committed, `admin` describing and deleting,
//! `records` all of it as bytes, [`consumer_protocol`] what is read of what members say; [`consumer`] groups of the new protocol.
//! For people: [`assignment`] reads what members got, [`reset`] says where a group goes on that somebody moves, [`survey`] how far groups have
//! come.

mod admin;
pub mod classic;
pub mod consumer;
pub mod consumer_protocol;
mod joining;
mod membership;
pub mod offsets;
mod records;
pub mod request;
pub mod reset;
pub mod survey;
mod syncing;

pub use records::{GroupRecord, ReplayError};
pub use request::{Request, Response};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::meta::Image;
use classic::{Group, State};
use consumer::ConsumerSettings;
use joining::Cx;
use millrace_proto::kafka::error::ErrorCode;

/// The moment of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the process started: what deadlines are compared with.
    pub mono: Duration,
    /// By the calendar, in milliseconds: what records say.
    pub wall_ms: i64,
}

/// When an answer may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// When every record that was to be appended so far is durable.
    Durable,
}

/// What the coordinator wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Append this record.
    Append(GroupRecord),
    /// Answer a request.
    Reply {
        /// Whom.
        ticket: T,
        /// With what.
        response: Response,
        /// When.
        when: When,
    },
    /// Count a rebalance: members of a group are to get their shares anew.
    Rebalance,
}

/// How groups are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`.
    pub min_session: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session: Duration,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members.
    pub initial_delay: Duration,
    /// `group.max.size`: the most members of a group.
    pub max_size: usize,
    /// `offsets.retention.minutes`: how long offsets stay that nobody uses, in milliseconds.
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check: Duration,
    /// `offset.metadata.max.bytes`: the most that a client may keep with an offset.
    pub max_metadata: usize,
    /// How groups of the new protocol are kept.
    pub consumer: ConsumerSettings,
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            min_session: Duration::from_secs(6),
            max_session: Duration::from_secs(30 * 60),
            initial_delay: Duration::from_secs(3),
            max_size: i32::MAX as usize,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_check: Duration::from_secs(10 * 60),
            max_metadata: 4096,
            consumer: ConsumerSettings::default(),
        }
    }
}

/// What may come due in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Members have had the time to come back.
    Join,
    /// Members have had the time to ask for what they got.
    Sync,
    /// A member, or one that was given an id and is to come back with it, has been silent.
    Member(Arc<str>),
    /// A member of a consumer group has had the time to give partitions up.
    Revoke(Arc<str>),
    /// The partitions of a consumer group may be assigned again.
    Assign,
}

/// The most bytes that the members of a group may say of themselves together, and that its leader may give out. All of it is kept, and makes
/// one record at the end of a rebalance.
pub const MAX_GROUP_BYTES: usize = 16 << 20;

/// When something comes due in which group. An entry that no longer holds is passed over when its time comes.
type Timers = BTreeSet<(Duration, Arc<str>, Timer)>;

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Coordinator<T> {
    settings: Settings,
    groups: BTreeMap<Arc<str>, Group<T>>,
    timers: Timers,
    /// The topics now.
    image: Arc<Image>,
    /// Rises with the image: who has seen this one has seen all. 0 is none.
    image_version: u64,
    /// When to look for offsets that nobody uses.
    next_check: Duration,
}

impl<T> Coordinator<T> {
    /// One without groups, for [`Coordinator::replay`].
    pub fn new(settings: Settings) -> Self {
        let (groups, timers, image) = (BTreeMap::new(), Timers::new(), Arc::default());
        Self { settings, groups, timers, image, image_version: 1, next_check: Duration::ZERO }
    }

    /// The topics are these from now on. Consumer groups find out what that is to them as their members come.
    pub fn follow(&mut self, image: &Arc<Image>) {
        self.image = image.clone();
        self.image_version += 1;
    }

    /// All records were replayed: members have their session timeout from now on.
    pub fn loaded(&mut self, now: Now) {
        self.next_check = now.mono + self.settings.retention_check;
        for group in self.groups.values_mut() {
            group.rest_all(now.mono, &mut self.timers);
            if group.state == State::Stable && group.leader.is_none() {
                // It came of a consumer group, and nobody has assigned since. There is nothing to answer yet.
                let (settings, timers, out) = (&self.settings, &mut self.timers, &mut Vec::new());
                group.rebalance(&mut Cx { now, settings, timers, out });
            }
            if let Some(consumer) = &mut group.consumer {
                consumer.look_up_settings(&self.settings, &self.image, self.image_version);
                consumer.loaded(now, &self.settings, &mut self.timers);
            }
        }
    }

    /// Decides on a request. It is answered now or later, exactly once.
    pub fn handle(&mut self, now: Now, request: Request, ticket: T, out: &mut Vec<Effect<T>>) {
        match request {
            Request::Join(join) => self.join(now, join, ticket, out),
            Request::Sync(sync) => self.sync(now, sync, ticket, out),
            Request::Heartbeat(member) => {
                let before = out.len();
                let code = self.heartbeat(now, &member, out).err().unwrap_or(ErrorCode::None);
                let when = if out.len() == before { When::Now } else { When::Durable };
                out.push(reply(ticket, Response::Heartbeat(code), when));
            }
            Request::ConsumerHeartbeat(beat) => self.consumer_heartbeat(now, beat, ticket, out),
            Request::Leave(leave) => self.leave(now, leave, ticket, out),
            Request::Commit(commit) => self.commit(now, commit, ticket, out),
            Request::Fetch(fetch) => {
                out.push(reply(ticket, Response::Fetch(self.fetch(&fetch)), When::Durable));
            }
            Request::DeleteOffsets(delete) => self.delete_offsets(delete, ticket, out),
            Request::Describe { group } => {
                out.push(reply(ticket, Response::Describe(self.describe(&group)), When::Durable));
            }
            Request::DescribeConsumers { group } => {
                let described = self.describe_consumers(&group);
                out.push(reply(ticket, Response::DescribeConsumers(described), When::Durable));
            }
            Request::List => out.push(reply(ticket, Response::List(self.list()), When::Durable)),
            Request::Delete { group } => {
                let code = self.delete(&group, out).err().unwrap_or(ErrorCode::None);
                out.push(reply(ticket, Response::Delete(code), When::Durable));
            }
        }
    }

    /// Does what has come due.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Effect<T>>) {
        while let Some((due, ..)) = self.timers.first()
            && *due <= now.mono
        {
            let Some((due, id, timer)) = self.timers.pop_first() else { return };
            self.fire(now, due, &id, timer, out);
        }
        if self.next_check <= now.mono {
            self.next_check = now.mono + self.settings.retention_check;
            self.expire_offsets(now, out);
        }
    }

    /// When [`Coordinator::tick`] is next worth it.
    pub fn next_deadline(&self) -> Duration {
        self.timers.first().map_or(self.next_check, |(due, ..)| self.next_check.min(*due))
    }

    /// The coordinator ends here: whoever waits is told this.
    pub fn stop(self, code: ErrorCode, out: &mut Vec<Effect<T>>) {
        for mut group in self.groups.into_values() {
            group.members.values_mut().for_each(|member| member.dismiss(code, out));
        }
    }

    /// How many groups there are, and how many members all of them have.
    pub fn counts(&self) -> (usize, usize) {
        let members = |group: &Group<T>| {
            group.members.len() + group.consumer.as_ref().map_or(0, |consumer| consumer.members.len())
        };
        (self.groups.len(), self.groups.values().map(members).sum())
    }

    fn fire(&mut self, now: Now, due: Duration, id: &Arc<str>, timer: Timer, out: &mut Vec<Effect<T>>) {
        let in_consumers = self.in_consumer_group(now, id, out, |group, step| match &timer {
            Timer::Member(member) => group.member_is_due(due, member, step),
            Timer::Revoke(member) => group.revocation_is_due(due, member, step),
            Timer::Assign => group.assign_is_due(due, step),
            // Of the classic group that it was.
            Timer::Join | Timer::Sync => {}
        });
        let Some(group) = self.groups.get_mut(id).filter(|_| in_consumers.is_none()) else { return };
        let mut cx = Cx { now, settings: &self.settings, timers: &mut self.timers, out };
        match timer {
            Timer::Join if group.join_deadline == Some(due) => group.join_is_due(&mut cx),
            Timer::Sync if group.sync_deadline == Some(due) => group.sync_is_due(&mut cx),
            Timer::Member(member) => group.member_is_due(due, &member, &mut cx),
            Timer::Join | Timer::Sync | Timer::Revoke(_) | Timer::Assign => {}
        }
        self.drop_if_void(id);
    }

    /// A group without members, offsets or a record of its own is nothing.
    fn drop_if_void(&mut self, id: &str) {
        let void = |group: &Group<T>| {
            group.is_idle() && group.generation == 0 && group.consumer.is_none() && group.offsets.is_empty()
        };
        if self.groups.get(id).is_some_and(void) {
            self.groups.remove(id);
        }
    }
}

/// Which partition of `__consumer_offsets` keeps a group: Kafka's rule, which tools apply by themselves. Java's hash of a text goes over its
/// UTF-16 units.
pub fn partition_of(group: &str, partitions: usize) -> i32 {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let hash = if hash == i32::MIN { 0 } else { hash.abs() };
    hash % i32::try_from(partitions).unwrap_or(i32::MAX).max(1)
}

fn reply<T>(ticket: T, response: Response, when: When) -> Effect<T> {
    Effect::Reply { ticket, response, when }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Java's `Utils.abs("…".hashCode()) % n`.
    #[test]
    fn groups_are_kept_where_kafka_keeps_them() {
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(partition_of("group", 50), 98_629_247 % 50);
        assert_eq!(partition_of("polygenelubricants", 50), 0, "its hash is the least integer");
        assert_eq!(partition_of("héé", 7), (104 * 31 * 31 + 233 * 31 + 233) % 7);
    }
}
