//! A member of a consumer group: what it says of itself, and where it is on its way to what it is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::assign::Assignor;
use crate::group::request::bytes_of_protocols;

/// Partitions by topic.
pub(in crate::group) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Partitions that a member has, by topic, each with the epoch in which it got it (KIP-1251).
pub(in crate::group) type Held = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// The epoch of a static member that left for a while.
pub(in crate::group) const AWAY: i32 = -2;

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::group) enum Progress {
    /// It has all that the target of its epoch gives it, and nothing else.
    Stable,
    /// It has partitions that it is to give up, and stays in its epoch until it has.
    Unrevoked,
    /// It lacks partitions that others have not given up yet.
    Unreleased,
}

impl Progress {
    /// As records say it.
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Stable => 1,
            Self::Unrevoked => 2,
            Self::Unreleased => 3,
        }
    }

    /// The same backwards. A state of the future is taken for one in which there is something to do: nothing is lost by looking.
    pub(super) fn of(code: i8) -> Self {
        match code {
            1 => Self::Stable,
            2 => Self::Unrevoked,
            _ => Self::Unreleased,
        }
    }
}

/// What a member says of itself in the classic protocol, when it speaks that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Classic {
    /// How long it may be silent: it chose that itself.
    pub(in crate::group) session: Duration,
    /// How it can be assigned, and what it says in each; it is told the first, as all say the same.
    pub(in crate::group) protocols: Vec<(Arc<str>, Bytes)>,
}

/// A member.
#[derive(Clone, Debug)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Arc<str>,
    pub(in crate::group) instance: Option<Arc<str>>,
    pub(in crate::group) rack: Option<String>,
    pub(in crate::group) client_id: String,
    pub(in crate::group) client_host: String,
    /// How long it may take to give partitions up.
    pub(in crate::group) rebalance: Duration,
    /// The topics that it names.
    pub(in crate::group) topics: BTreeSet<Arc<str>>,
    /// The regular expression that it subscribes by besides.
    pub(in crate::group) regex: Option<Arc<str>>,
    pub(in crate::group) assignor: Option<Assignor>,
    pub(in crate::group) classic: Option<Classic>,
    pub(in crate::group) epoch: i32,
    /// The one before: a member whose answer was lost comes with it.
    pub(in crate::group) previous_epoch: i32,
    pub(in crate::group) progress: Progress,
    /// What it has and may keep.
    pub(in crate::group) assigned: Held,
    /// What it has and is to give up.
    pub(in crate::group) revoking: Held,
    /// What it is to have.
    pub(in crate::group) target: Partitions,
    /// Until when it may be silent.
    pub(super) deadline: Duration,
    /// When its timer fires, not later than the deadline: a heartbeat moves the deadline alone.
    pub(super) armed: Option<Duration>,
    /// Until when it may take to give up what it is to give up.
    pub(super) revoke_by: Option<Duration>,
}

impl Member {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance: Duration::ZERO,
            topics: BTreeSet::new(),
            regex: None,
            assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: 0,
            progress: Progress::Stable,
            assigned: Held::new(),
            revoking: Held::new(),
            target: Partitions::new(),
            deadline: Duration::ZERO,
            armed: None,
            revoke_by: None,
        }
    }

    /// Bytes of what it says of itself.
    pub(super) fn bytes(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let names: usize = self.topics.iter().map(|name| name.len()).sum();
        let rack = self.rack.as_ref().map_or(0, String::len);
        let classic = self.classic.as_ref().map_or(0, |classic| bytes_of_protocols(&classic.protocols));
        self.id.len()
            + text(&self.instance)
            + text(&self.regex)
            + rack
            + self.client_id.len()
            + names
            + classic
    }

    /// Whether it has all that this epoch gives it.
    pub(super) fn is_settled_in(&self, epoch: i32) -> bool {
        self.progress == Progress::Stable && self.epoch == epoch
    }

    /// Whether these partitions are among those that it has and may keep.
    pub(super) fn keeps_all(&self, partitions: &Partitions) -> bool {
        partitions.iter().all(|(topic, numbers)| {
            let kept = self.assigned.get(topic);
            numbers.iter().all(|number| kept.is_some_and(|kept| kept.contains_key(number)))
        })
    }

    /// Since which epoch it has a partition, whether or not it is to give it up.
    pub(in crate::group) fn has_since(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let of = |held: &Held| held.get(&topic).and_then(|numbers| numbers.get(&partition).copied());
        of(&self.assigned).or_else(|| of(&self.revoking))
    }
}
