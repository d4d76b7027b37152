//! A member that speaks the new protocol (KIP-848): one heartbeat for everything. The coordinator assigns; the member gives up what it is
//! not to have any more, and says so, before somebody else gets it.

use super::super::Client;
use super::super::connection::{Connection, Lost};
use super::{Accident, Group, MOMENT, Member, is_away};
use crate::judge::{Fact, Partition};
use crate::server::CONSUMER_SESSION;
use millrace_io::Io;
use millrace_io::simulated::Rng;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatTopicPartitions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// The epochs of who joins, of who leaves, and of a static member that leaves for a while.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;
/// From this version on members make their ids, and may subscribe by a regular expression.
const OWN_IDS: i16 = 1;
/// How long it may take to give partitions up: longer than any world lasts that has not gone wrong.
const REBALANCE_MS: i32 = 300_000;
/// Topics that stay are called like this, and no others.
const EXPRESSION: &str = "stays-[0-9]+";

/// A member before it runs.
pub struct ConsumerMember {
    member: Member,
    version: i16,
    by_expression: bool,
    assignor: Option<&'static str>,
    /// What it is to have, as it was last told.
    told: BTreeSet<Partition>,
    /// What it last said that it has, and was heard.
    said: Option<BTreeSet<Partition>>,
    /// It does not know what became of its last heartbeat: the next one says all there is to say.
    says_all: bool,
    /// Until then nobody else gets what it has, however silent it is.
    until: Duration,
}

impl ConsumerMember {
    /// One that has not joined yet.
    pub fn new(client: Client, group: Group, mut rng: Rng) -> Self {
        let version = rng.within(0..=1) as i16;
        let by_expression = version >= OWN_IDS && rng.chance(0.3);
        let assignor = [None, Some("uniform"), Some("range")][rng.index(3)];
        let member = Member::new(client, group, rng, JOINS, (9, 1));
        let (told, said, until) = (BTreeSet::new(), None, Duration::ZERO);
        Self { member, version, by_expression, assignor, told, said, says_all: true, until }
    }

    /// Works until the closing, and then until every partition of the group has had its commit.
    pub async fn run(mut self) {
        while !self.member.is_done() {
            if let Err(lost) = self.connection().await {
                if self.member.is_out_of_touch() {
                    self.forget();
                }
                self.member.client.after(lost).await;
            }
        }
    }

    /// One connection, until it is given up at will.
    async fn connection(&mut self) -> Result<(), Lost> {
        let Some(mut connection) = self.member.connect().await? else { return Ok(()) };
        while !self.member.is_done() {
            self.work(&mut connection).await?;
            self.member.pause().await;
            match self.member.accident() {
                None => {}
                Some(Accident::Reconnect) => return Ok(()),
                Some(Accident::Crash) => {
                    if self.member.rng.chance(0.5) {
                        self.member.send_commit(&mut connection).await?;
                    }
                    drop(connection);
                    self.forget();
                    self.member.stand_still(CONSUMER_SESSION).await;
                    return Ok(());
                }
                Some(Accident::Leave) => {
                    self.leave(&mut connection).await?;
                    self.member.stand_still(CONSUMER_SESSION).await;
                }
                Some(Accident::Stall) => {
                    self.member.stand_still(CONSUMER_SESSION).await;
                    // Perhaps it is out, and does not know: nothing that it says may count then.
                    if self.member.term > JOINS && self.member.rng.chance(0.5) {
                        let code = self.member.commit(&mut connection).await?;
                        self.hear(code, "a commit").await;
                    }
                }
            }
        }
        if self.member.rng.chance(0.5) { self.leave(&mut connection).await } else { Ok(()) }
    }

    async fn work(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let is_in = self.member.term > JOINS;
        let surplus = self.member.owned.keys().any(|partition| !self.told.contains(partition));
        if is_in && (self.member.is_closing() || self.member.rng.chance(0.5)) {
            let code = self.member.commit(connection).await?;
            self.hear(code, "a commit").await;
        }
        // Sometimes it takes a while to give something up.
        if surplus && (self.member.is_closing() || self.member.rng.chance(0.8)) {
            self.member.owned.retain(|partition, _| self.told.contains(partition));
            self.member.note_held(self.until);
        }
        let code = self.beat(connection).await?;
        self.hear(code, "a heartbeat").await;
        if self.member.term > JOINS {
            let code = self.member.look_up(connection, true).await?;
            self.hear(code, "the group's offsets").await;
        }
        if self.member.rng.chance(0.1) {
            let code = self.member.look_around(connection).await?;
            self.hear(code, "the group's offsets").await;
        }
        Ok(())
    }

    async fn beat(&mut self, connection: &mut Connection) -> Result<ErrorCode, Lost> {
        let joins = self.member.term == JOINS;
        if joins && self.version >= OWN_IDS && self.member.id.is_empty() {
            self.member.id = uuid::Builder::from_random_bytes(self.sixteen()).into_uuid().to_string();
        }
        let is_unsure = std::mem::replace(&mut self.says_all, true);
        let says_all = joins || is_unsure;
        let has: BTreeSet<Partition> = self.member.owned.keys().copied().collect();
        let says_partitions = says_all || self.said.as_ref() != Some(&has);
        let names = says_all && !self.by_expression;
        let request = ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: if says_all { REBALANCE_MS } else { -1 },
            subscribed_topic_names: names.then(|| self.member.group.topics().into_iter().collect()),
            subscribed_topic_regex: (says_all && self.by_expression).then_some(EXPRESSION),
            server_assignor: self.assignor.filter(|_| says_all),
            topic_partitions: says_partitions.then(|| listed(&has)),
            ..self.request(self.member.term)
        };
        let sent = self.member.client.io.now();
        let answer = connection.call(self.version, &request).await?;
        let response: ConsumerGroupHeartbeatResponse<'_> =
            decode_response(&answer, self.version).map_err(|e| Lost::Garbled(e.to_string()))?;
        if response.error_code != ErrorCode::None {
            // What is refused changes nothing. A coordinator that is away may have been half through.
            self.says_all = is_unsure || is_away(response.error_code);
            return Ok(response.error_code);
        }
        if let Some(id) = response.member_id {
            self.member.id = id.to_owned();
        }
        self.says_all = false;
        self.said = if says_partitions { Some(has) } else { self.said.take() };
        self.member.term = response.member_epoch;
        // The coordinator heard of it after it was sent, and has given it the whole session since.
        self.until = sent + CONSUMER_SESSION;
        if let Some(assignment) = response.assignment.0 {
            let all = assignment.topic_partitions.into_iter();
            let all = all.flat_map(|HeartbeatTopicPartitions { topic_id: topic, partitions }| {
                partitions.into_iter().map(move |index| Partition { topic, index })
            });
            self.told = all.collect();
            if let Some(stranger) = self.told.iter().find(|it| self.member.group.target(**it).is_none()) {
                return Err(Lost::Garbled(format!("{stranger} is its own, which it does not subscribe to")));
            }
            for partition in &self.told {
                self.member.owned.entry(*partition).or_default();
            }
        }
        self.member.note_held(self.until);
        Ok(ErrorCode::None)
    }

    /// A heartbeat that says nothing but who it is from.
    fn request(&self, member_epoch: i32) -> ConsumerGroupHeartbeatRequest<'_> {
        ConsumerGroupHeartbeatRequest {
            group_id: &self.member.group.0.name,
            member_id: &self.member.id,
            member_epoch,
            instance_id: self.member.instance.as_deref(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// What a member has to do, as the coordinator says.
    async fn hear(&mut self, code: ErrorCode, of: &str) {
        match code {
            // Of an epoch that has moved on its next heartbeat tells.
            ErrorCode::None | ErrorCode::StaleMemberEpoch => {}
            code if self.is_out(code) => {
                self.question(code, of);
                self.member.client.judge.note(Fact::Out);
                let keeps_id = self.member.rng.chance(0.5);
                let id = self.member.id.clone();
                self.forget();
                if keeps_id {
                    self.member.id = id;
                }
            }
            // Another process has its name, or it had it itself: it waits until that is out.
            ErrorCode::FencedInstanceId | ErrorCode::UnreleasedInstanceId => {
                self.forget();
                self.member.client.io.sleep(MOMENT).await;
            }
            code if is_away(code) => self.member.client.io.sleep(MOMENT).await,
            code => {
                self.member.client.nonsense(format_args!("{code:?} for {of}"));
                self.forget();
            }
        }
    }

    /// Whether it is not in the group any more. Where members speak both protocols, the group may have gone over to the other since.
    fn is_out(&self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => true,
            code => code == ErrorCode::GroupIdNotFound && self.member.group.0.both_protocols,
        }
    }

    /// Nobody is out within its session, and nobody is fenced who says the epoch that it was told: what a member is told of its place in
    /// the group is durable.
    fn question(&self, code: ErrorCode, of: &str) {
        let (now, until) = (self.member.client.io.now(), self.until);
        let explained = match code {
            ErrorCode::FencedMemberEpoch => self.says_all,
            _ => until <= now,
        };
        if !explained {
            self.member
                .client
                .nonsense(format_args!("{code:?} for {of}, and has its session until {until:?}"));
        }
    }

    /// It has nothing, is in no group and has no id.
    fn forget(&mut self) {
        self.member.owned.clear();
        self.until = Duration::ZERO;
        self.member.note_held(self.until);
        self.member.id.clear();
        (self.member.term, self.member.in_doubt) = (JOINS, false);
        (self.told, self.said, self.says_all) = (BTreeSet::new(), None, true);
    }

    async fn leave(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        if self.member.term == JOINS {
            return Ok(());
        }
        let returns = self.member.instance.is_some() && self.member.rng.chance(0.5);
        let id = self.member.id.clone();
        self.forget();
        let epoch = if returns { LEAVES_FOR_A_WHILE } else { LEAVES };
        let request = ConsumerGroupHeartbeatRequest { member_id: &id, ..self.request(epoch) };
        let answer = connection.call(self.version, &request).await?;
        let left: ConsumerGroupHeartbeatResponse<'_> =
            decode_response(&answer, self.version).map_err(|e| Lost::Garbled(e.to_string()))?;
        match left.error_code {
            ErrorCode::None | ErrorCode::FencedInstanceId => {}
            code if is_away(code) => {}
            code if code != ErrorCode::FencedMemberEpoch && self.is_out(code) => {}
            code => self.member.client.nonsense(format_args!("{code:?} for its leaving")),
        }
        Ok(())
    }

    fn sixteen(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.member.rng.fill(&mut bytes);
        bytes
    }
}

/// Partitions by topic.
fn listed(partitions: &BTreeSet<Partition>) -> Vec<HeartbeatTopicPartitions> {
    let mut all: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    partitions.iter().for_each(|it| all.entry(it.topic).or_default().push(it.index));
    let listed = |(topic_id, partitions)| HeartbeatTopicPartitions { topic_id, partitions };
    all.into_iter().map(listed).collect()
}
