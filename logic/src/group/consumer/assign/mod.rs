//! The assignors: which member is to have which partitions. Same question, same answer.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Partitions;

/// How partitions are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As evenly as may be, and so that as few as may be change their member.
    Uniform,
    /// A row of each topic's partitions for each member, so that topics with as many partitions are read together.
    Range,
}

impl Assignor {
    /// As clients name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each of these is to have, in their order. `counts`: how many partitions each topic has.
    pub(super) fn assign(self, subjects: &[Subject<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(subjects, counts),
            Self::Range => range::assign(subjects, counts),
        }
    }
}

/// A member, as assignors see it.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) id: &'a str,
    pub(super) instance: Option<&'a str>,
    /// The topics that it subscribes to, ascending; all of them are counted.
    pub(super) topics: Vec<Uuid>,
    /// What it was to have so far.
    pub(super) current: &'a Partitions,
}
