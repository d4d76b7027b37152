//! A member that speaks the classic protocol: it joins, its group's leader assigns, it asks for what it got, and works on that as long
//! as the coordinator does not call for a rebalance.

use super::super::Client;
use super::super::connection::{Connection, Lost};
use super::assignor::{self, RANGE, ROUND_ROBIN};
use super::{Accident, Group, MOMENT, Member, is_away};
use crate::judge::Fact;
use crate::plan;
use millrace_io::Io;
use millrace_io::simulated::Rng;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millrace_proto::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use millrace_proto::kafka::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use millrace_proto::kafka::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use std::time::Duration;

/// The generation of who is in none.
const NONE: i32 = -1;
/// What the group does.
const CONSUMER: &str = "consumer";
/// From these versions on requests say the name of a static member.
const NAMED_JOIN: u64 = 5;
const NAMED_OTHERS: u64 = 3;
/// From this version on SyncGroup says the protocol.
const SYNC_NAMES_PROTOCOL: i16 = 5;
/// From this version on many members leave at once.
const MANY_LEAVE: i16 = 3;

/// A member before it runs.
pub struct ClassicMember {
    member: Member,
    /// How long it may be silent, and how long it may take to come back for a rebalance.
    session: Duration,
    rebalance: Duration,
    /// How it can be assigned, as it prefers.
    protocols: [&'static str; 2],
    /// Versions of JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
    join_version: i16,
    sync_version: i16,
    heartbeat_version: i16,
    leave_version: i16,
}

impl ClassicMember {
    /// One that has not joined yet.
    pub fn new(client: Client, group: Group, mut rng: Rng) -> Self {
        let (session, rebalance) =
            (plan::millis(&mut rng, 1_500, 3_000), plan::millis(&mut rng, 1_000, 3_000));
        let member = Member::new(client, group, Rng::new(rng.bits()), NONE, (2, 1));
        let named = member.instance.is_some();
        let mut version = |oldest: u64, newest: u64, from: u64| {
            rng.within(if named { oldest.max(from) } else { oldest }..=newest) as i16
        };
        let (join_version, sync_version) = (version(1, 9, NAMED_JOIN), version(0, 5, NAMED_OTHERS));
        let (heartbeat_version, leave_version) = (version(0, 4, NAMED_OTHERS), version(0, 5, NAMED_OTHERS));
        let protocols = if rng.chance(0.5) { [RANGE, ROUND_ROBIN] } else { [ROUND_ROBIN, RANGE] };
        Self {
            member,
            session,
            rebalance,
            protocols,
            join_version,
            sync_version,
            heartbeat_version,
            leave_version,
        }
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
            if self.member.term == NONE {
                self.join(&mut connection).await?;
                continue;
            }
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
                    self.member.stand_still(self.session).await;
                    return Ok(());
                }
                Some(Accident::Leave) => {
                    self.leave(&mut connection).await?;
                    self.member.stand_still(self.session).await;
                }
                Some(Accident::Stall) => {
                    self.member.stand_still(self.session).await;
                    // Perhaps it is out, and does not know: nothing that it says may count then.
                    if self.member.rng.chance(0.5) {
                        let code = self.member.commit(&mut connection).await?;
                        self.hear(code, "a commit").await;
                    }
                }
            }
        }
        if self.member.rng.chance(0.5) { self.leave(&mut connection).await } else { Ok(()) }
    }

    async fn work(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let code = self.member.look_up(connection, false).await?;
        if code != ErrorCode::None {
            self.hear(code, "the group's offsets").await;
            return Ok(());
        }
        if self.member.rng.chance(0.1) {
            let code = self.member.look_around(connection).await?;
            self.hear(code, "the group's offsets").await;
        }
        let request = HeartbeatRequest {
            group_id: &self.member.group.0.name,
            generation_id: self.member.term,
            member_id: &self.member.id,
            group_instance_id: self.member.instance.as_deref(),
        };
        let answer = connection.call(self.heartbeat_version, &request).await?;
        let response: HeartbeatResponse =
            decode_response(&answer, self.heartbeat_version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let code = response.error_code;
        // Before it comes back for a rebalance, a member commits what it has done.
        let may_commit = matches!(code, ErrorCode::None | ErrorCode::RebalanceInProgress);
        if may_commit && (self.member.is_closing() || self.member.rng.chance(0.6)) {
            let code = self.member.commit(connection).await?;
            self.hear(code, "a commit").await;
        }
        // Its commit may have told it more already.
        if self.member.term != NONE {
            self.hear(code, "a heartbeat").await;
        }
        Ok(())
    }

    async fn join(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let metadata = assignor::subscription(&self.member.group);
        let protocol = |name: &'static str| JoinGroupRequestProtocol { name, metadata: &metadata };
        let request = JoinGroupRequest {
            group_id: &self.member.group.0.name,
            session_timeout_ms: self.session.as_millis() as i32,
            rebalance_timeout_ms: self.rebalance.as_millis() as i32,
            member_id: &self.member.id,
            group_instance_id: self.member.instance.as_deref(),
            protocol_type: CONSUMER,
            protocols: self.protocols.map(protocol).into(),
            reason: None,
        };
        let answer = connection.call(self.join_version, &request).await?;
        let joined: JoinGroupResponse<'_> =
            decode_response(&answer, self.join_version).map_err(|e| Lost::Garbled(e.to_string()))?;
        match joined.error_code {
            ErrorCode::None => {
                self.member.id = joined.member_id.to_owned();
                self.sync(connection, &joined).await?;
            }
            ErrorCode::MemberIdRequired => self.member.id = joined.member_id.to_owned(),
            code => self.hear(code, "a join").await,
        }
        Ok(())
    }

    async fn sync(
        &mut self,
        connection: &mut Connection,
        joined: &JoinGroupResponse<'_>,
    ) -> Result<(), Lost> {
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let shares = match leads {
            true => {
                let first = self.member.rng.index(joined.members.len().max(1));
                let group = &self.member.group;
                assignor::assign(joined.protocol_name, joined.members.len(), first, group)
            }
            false => Vec::new(),
        };
        let assignments = joined.members.iter().zip(&shares);
        let names = self.sync_version >= SYNC_NAMES_PROTOCOL;
        let request = SyncGroupRequest {
            group_id: &self.member.group.0.name,
            generation_id: joined.generation_id,
            member_id: &self.member.id,
            group_instance_id: self.member.instance.as_deref(),
            protocol_type: names.then_some(CONSUMER),
            protocol_name: joined.protocol_name.filter(|_| names),
            assignments: assignments
                .map(|(member, share)| SyncGroupRequestAssignment {
                    member_id: member.member_id,
                    assignment: share,
                })
                .collect(),
        };
        let sent = self.member.client.io.now();
        let answer = connection.call(self.sync_version, &request).await?;
        let synced: SyncGroupResponse<'_> =
            decode_response(&answer, self.sync_version).map_err(|e| Lost::Garbled(e.to_string()))?;
        if synced.error_code != ErrorCode::None {
            self.hear(synced.error_code, "what it got").await;
            return Ok(());
        }
        let Some(partitions) = assignor::read_assignment(&self.member.group, synced.assignment) else {
            return Err(Lost::Garbled(format!("what no leader assigned: {:?}", synced.assignment)));
        };
        // Processes of one static member follow each other; to the group they are the same.
        let member = self.member.instance.clone().unwrap_or_else(|| self.member.id.clone());
        let (group, generation) = (self.member.group.0.id, joined.generation_id);
        self.member.term = generation;
        self.member.owned = partitions.iter().map(|partition| (*partition, None)).collect();
        if !self.member.group.0.both_protocols {
            self.member.client.judge.note(Fact::Shared { group, generation, member, partitions });
        }
        // Nobody else gets it until its session is over, or the time in which it is to come back for a rebalance that begins now. That
        // heartbeats are answered says nothing: they are while a coordinator is loading, whoever sends them, as in Kafka.
        self.member.note_held(sent + self.session.min(self.rebalance));
        Ok(())
    }

    /// What a member has to do, as the coordinator says.
    async fn hear(&mut self, code: ErrorCode, of: &str) {
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => self.fall_out(),
            ErrorCode::IllegalGeneration => {
                self.member.client.judge.note(Fact::Out);
                self.fall_out();
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.member.client.judge.note(Fact::Out);
                self.forget();
            }
            code if is_away(code) => self.member.client.io.sleep(MOMENT).await,
            code => {
                self.member.client.nonsense(format_args!("{code:?} for {of}"));
                self.forget();
            }
        }
    }

    /// It is in no generation, and owns nothing.
    fn fall_out(&mut self) {
        self.member.term = NONE;
        self.member.owned.clear();
        self.member.note_held(Duration::ZERO);
    }

    /// It has no id, either.
    fn forget(&mut self) {
        self.fall_out();
        self.member.id.clear();
        self.member.in_doubt = false;
    }

    async fn leave(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let id = std::mem::take(&mut self.member.id);
        self.fall_out();
        let many = self.leave_version >= MANY_LEAVE;
        let group_instance_id = self.member.instance.as_deref();
        let identity = MemberIdentity { member_id: &id, group_instance_id, ..MemberIdentity::default() };
        let request = LeaveGroupRequest {
            group_id: &self.member.group.0.name,
            member_id: if many { "" } else { &id },
            members: if many { vec![identity] } else { Vec::new() },
        };
        let answer = connection.call(self.leave_version, &request).await?;
        let left: LeaveGroupResponse<'_> =
            decode_response(&answer, self.leave_version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let of_member = left.members.first().map(|member| member.error_code);
        match of_member.filter(|_| left.error_code == ErrorCode::None).unwrap_or(left.error_code) {
            ErrorCode::None | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {}
            code if is_away(code) => {}
            code => self.member.client.nonsense(format_args!("{code:?} for its leaving")),
        }
        Ok(())
    }
}
