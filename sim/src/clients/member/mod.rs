//! What members of groups have in common, whichever protocol they speak: who they are, what they own and how far they have come
//! in it, and the accidents that befall them. [`classic`] and [`consumer`] are the protocols, `assignor` is how the former's leader assigns, `offsets` what both commit and find.

mod assignor;
pub mod classic;
pub mod consumer;
mod offsets;

use super::connection::{Connection, Lost};
use super::{Client, Target};
use crate::judge::{Fact, GroupId, Partition};
use crate::plan;
use millrace_io::Io;
use millrace_io::simulated::Rng;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, key_type,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// From this version on FindCoordinator takes many keys.
const MANY_KEYS: i16 = 4;
/// How long a member waits before it asks again what it could not be told.
const MOMENT: Duration = Duration::from_millis(100);

/// A group, as its members know it. Clones are the same group.
#[derive(Clone)]
pub struct Group(Rc<Shared>);

struct Shared {
    id: GroupId,
    name: String,
    /// The partitions that every member subscribes to: all of some topics.
    targets: Vec<Target>,
    /// Members speak both protocols. When nobody is left who speaks the one, or nobody at all, the group may begin anew in the other, and
    /// its generations with it.
    both_protocols: bool,
    /// Those for which a commit was accepted that was sent after the closing began.
    settled: RefCell<BTreeSet<Partition>>,
}

impl Group {
    /// One whose members subscribe to the topics of these partitions.
    pub fn new(id: GroupId, targets: &[Target], both_protocols: bool) -> Self {
        let (name, targets) = (id.to_string(), targets.to_vec());
        Self(Rc::new(Shared { id, name, targets, both_protocols, settled: RefCell::default() }))
    }

    fn topics(&self) -> BTreeSet<&str> {
        self.0.targets.iter().map(|target| target.topic.as_str()).collect()
    }

    fn target(&self, partition: Partition) -> Option<&Target> {
        self.0.targets.iter().find(|target| target.partition == partition)
    }
}

/// Something that happens to a member.
#[derive(Clone, Copy, Debug)]
enum Accident {
    /// Its process ends without a word, and is started again a while later.
    Crash,
    /// It stands still for longer than its session lasts, perhaps, and then goes on as if nothing had been.
    Stall,
    /// It leaves, and comes again a while later.
    Leave,
    /// It opens another connection.
    Reconnect,
}

/// A member, whatever it speaks.
pub struct Member {
    client: Client,
    group: Group,
    rng: Rng,
    /// No other member has it, whatever ids it is given.
    number: u64,
    /// Its name, when it is static.
    instance: Option<String>,
    /// Its id in the group; empty when it has none.
    id: String,
    /// Its generation, or its epoch.
    term: i32,
    /// What it owns, and the last offset that it knows of each; `None` until it has asked.
    owned: BTreeMap<Partition, Option<i64>>,
    /// A commit was sent and not answered.
    in_doubt: bool,
    /// How often the broker had died when the connection was opened.
    crashes: u64,
    coordinator_version: i16,
    commit_version: i16,
    fetch_version: i16,
}

impl Member {
    /// One that has not joined yet. `term` is that of who is in no group; `oldest` the oldest versions of OffsetCommit and OffsetFetch
    /// that it may use.
    fn new(client: Client, group: Group, mut rng: Rng, term: i32, oldest: (u64, u64)) -> Self {
        let number = client.judge.next_number();
        // Before version 7 a commit does not name static members.
        let instance = rng.chance(0.25).then(|| format!("name-{number}"));
        let oldest_commit = if instance.is_some() { oldest.0.max(7) } else { oldest.0 };
        Self {
            number,
            instance,
            id: String::new(),
            term,
            owned: BTreeMap::new(),
            in_doubt: false,
            crashes: 0,
            coordinator_version: rng.within(1..=6) as i16,
            commit_version: rng.within(oldest_commit..=10) as i16,
            fetch_version: rng.within(oldest.1..=10) as i16,
            client,
            group,
            rng,
        }
    }

    fn is_closing(&self) -> bool {
        self.client.closing.has_begun()
    }

    /// In the end a member is done when every partition of its group has had an owner, who could commit.
    fn is_done(&self) -> bool {
        let settled = self.group.0.settled.borrow();
        self.is_closing() && self.group.0.targets.iter().all(|target| settled.contains(&target.partition))
    }

    /// A connection to the coordinator; `None` when nobody knows now where that is.
    async fn connect(&mut self) -> Result<Option<Connection>, Lost> {
        self.crashes = self.client.judge.crashes();
        let mut connection = Connection::open(&self.client.io, self.client.broker).await?;
        let version = self.coordinator_version;
        let (name, many) = (self.group.0.name.as_str(), version >= MANY_KEYS);
        let request = FindCoordinatorRequest {
            key: if many { "" } else { name },
            key_type: key_type::GROUP,
            coordinator_keys: if many { vec![name] } else { Vec::new() },
        };
        let answer = connection.call(version, &request).await?;
        let response: FindCoordinatorResponse<'_> =
            decode_response(&answer, version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let of_key = response.coordinators.first().map(|found| found.error_code);
        match of_key.filter(|_| many).unwrap_or(response.error_code) {
            ErrorCode::None => return Ok(Some(connection)),
            code if is_away(code) => self.client.io.sleep(MOMENT).await,
            code => self.client.nonsense(format_args!("{code:?} for the coordinator of {name}")),
        }
        Ok(None)
    }

    /// The connection is gone. A commit that was under way may still arrive, unless the broker died: then the member goes on as
    /// somebody else, so that the coordinator can tell the two apart.
    fn is_out_of_touch(&mut self) -> bool {
        std::mem::take(&mut self.in_doubt) && self.crashes == self.client.judge.crashes()
    }

    /// Tells the judge what it has, which nobody else gets until then.
    fn note_held(&self, until: Duration) {
        let (member, group, now) = (self.number, self.group.0.id, self.client.io.now());
        let partitions = self.owned.keys().copied().collect();
        self.client.judge.note(Fact::Holds { group, member, partitions, now, until });
    }

    fn accident(&mut self) -> Option<Accident> {
        if self.is_closing() || !self.rng.chance(0.05) {
            return None;
        }
        let accidents = [Accident::Crash, Accident::Stall, Accident::Leave, Accident::Reconnect];
        Some(accidents[self.rng.index(accidents.len())])
    }

    /// Does nothing for a while, which is about as long as its session may be.
    async fn stand_still(&mut self, session: Duration) {
        let most = session.as_millis() as u64 * 2;
        let time = plan::millis(&mut self.rng, 0, most);
        self.client.io.sleep(time).await;
    }

    /// The time between two rounds of a member.
    async fn pause(&mut self) {
        let time = plan::millis(&mut self.rng, 20, 250);
        self.client.io.sleep(time).await;
    }
}

/// Whether an error says that there is no coordinator now: members ask again.
fn is_away(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
    )
}
