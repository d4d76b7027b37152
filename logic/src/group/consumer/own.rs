//! What a group was given for itself, in the metadata: it goes before what holds for all groups.
//!
//! A group looks at it when the metadata has changed since it did, so a setting holds from the next heartbeat on, and a heartbeat that brings
//! nothing new looks at nothing.

use std::time::Duration;

use super::{ConsumerGroup, ConsumerSettings};
use crate::group::Settings;
use crate::meta::{ConfigResource, Configs, Image, ResourceKind};

/// How long a member of the group may be silent.
pub const SESSION: &str = "consumer.session.timeout.ms";
/// How often members of the group are to come.
pub const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
/// The least time between two targets of the group.
pub const ASSIGNMENT_INTERVAL: &str = "consumer.assignment.interval.ms";

impl ConsumerSettings {
    /// These, and before them what a group was given. That was checked before it was stored: what is no number does not count.
    pub fn with(self, own: &Configs) -> Self {
        let given = |name, otherwise| {
            let millis = own.get(name).and_then(|value: &String| value.trim().parse().ok());
            millis.map_or(otherwise, Duration::from_millis)
        };
        Self {
            session: given(SESSION, self.session),
            heartbeat: given(HEARTBEAT, self.heartbeat),
            assignment_interval: given(ASSIGNMENT_INTERVAL, self.assignment_interval),
            ..self
        }
    }
}

impl ConsumerGroup {
    /// What this group goes by.
    pub(super) fn settings<'a>(&'a self, all: &'a Settings) -> &'a ConsumerSettings {
        self.own.as_ref().unwrap_or(&all.consumer)
    }

    /// Looks at what this group was given, if the metadata has changed.
    pub(in crate::group) fn look_up_settings(&mut self, all: &Settings, image: &Image, version: u64) {
        if self.own_seen != version {
            let resource = ConfigResource { kind: ResourceKind::Group, name: self.id.to_string() };
            self.own = image.configs(&resource).map(|own| all.consumer.with(own));
            self.own_seen = version;
        }
    }
}
