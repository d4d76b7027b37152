//! The settings that one group can be given: one table, as that of topics.
//!
//! Those of share and streams groups may have their default only: nothing is stored and ignored.

use super::topic::Setting;
use super::topic::Values::{Boolean, Int, OneOf};
use super::topic::{INT, settings};
use millrace_logic::meta::Configs;

/// Every setting, by name.
pub static SETTINGS: &[Setting] = settings! {
    honoured "consumer.assignment.interval.ms" <- "group.consumer.assignment.interval.ms" = "1000", Int(0, INT), "The least time between two assignments of the consumer group's partitions.";
    honoured "consumer.heartbeat.interval.ms" <- "group.consumer.heartbeat.interval.ms" = "5000", Int(1, INT), "How often members of the consumer group are to come.";
    honoured "consumer.session.timeout.ms" <- "group.consumer.session.timeout.ms" = "45000", Int(1, INT), "How long a member of the consumer group may be silent.";
    default_only "share.assignment.interval.ms" <- "group.share.assignment.interval.ms" = "1000", Int(0, INT), "The least time between two assignments of a share group.";
    default_only "share.auto.offset.reset" = "latest", OneOf(&["latest", "earliest"]), "Where a share group begins.";
    default_only "share.delivery.count.limit" <- "group.share.delivery.count.limit" = "5", Int(2, INT), "How often a share group tries to deliver a record.";
    default_only "share.heartbeat.interval.ms" <- "group.share.heartbeat.interval.ms" = "5000", Int(1, INT), "How often members of a share group are to come.";
    default_only "share.isolation.level" = "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), "What a share group reads of transactions.";
    default_only "share.partition.max.record.locks" <- "group.share.partition.max.record.locks" = "2000", Int(1, INT), "How many records of a partition a share group holds.";
    default_only "share.record.lock.duration.ms" <- "group.share.record.lock.duration.ms" = "30000", Int(1, INT), "How long a share group holds a record.";
    default_only "share.renew.acknowledge.enable" = "true", Boolean, "Whether members of a share group may hold records longer.";
    default_only "share.session.timeout.ms" <- "group.share.session.timeout.ms" = "45000", Int(1, INT), "How long a member of a share group may be silent.";
    default_only "streams.assignment.interval.ms" <- "group.streams.assignment.interval.ms" = "1000", Int(0, INT), "The least time between two assignments of a streams group.";
    default_only "streams.heartbeat.interval.ms" <- "group.streams.heartbeat.interval.ms" = "5000", Int(1, INT), "How often members of a streams group are to come.";
    default_only "streams.initial.rebalance.delay.ms" <- "group.streams.initial.rebalance.delay.ms" = "3000", Int(0, INT), "How long a new streams group waits for more members.";
    default_only "streams.num.standby.replicas" <- "group.streams.num.standby.replicas" = "0", Int(0, INT), "How many standby replicas a streams group keeps of a task.";
    default_only "streams.session.timeout.ms" <- "group.streams.session.timeout.ms" = "45000", Int(1, INT), "How long a member of a streams group may be silent.";
};

/// Whether a group may have this setting. The error is for whoever asked.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.ok_or_else(|| format!("Unknown group config name: {name}"))?.check(value)
}

impl super::Groups {
    /// Whether these settings of a group fit each other and the bounds of the broker; the error says which do not, in Kafka's words.
    pub(super) fn check_own(&self, own: &Configs) -> Result<(), String> {
        self.check_bounds(&self.settings.consumer.with(own), "consumer.", |heartbeat, session| {
            format!("{session} must be greater than {heartbeat}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Groups;
    use millrace_logic::group::consumer::own;

    #[test]
    fn names_are_those_that_groups_go_by() {
        for name in [own::SESSION, own::HEARTBEAT, own::ASSIGNMENT_INTERVAL] {
            assert!(SETTINGS.iter().any(|setting| setting.name == name && setting.is_honoured()), "{name}");
        }
    }

    #[test]
    fn what_is_not_served_may_have_its_default_only() {
        assert_eq!(check("share.session.timeout.ms", "45000"), Ok(()));
        assert!(check("share.session.timeout.ms", "46000").unwrap_err().contains("not supported yet"));
        assert_eq!(check("nothing", "1"), Err("Unknown group config name: nothing".into()));
    }

    #[test]
    fn bounds_are_the_brokers() {
        let check = |all: &[(&str, &str)]| {
            let own =
                all.iter().map(|(name, value)| (format!("consumer.{name}"), (*value).to_owned())).collect();
            Groups::default().check_own(&own).err().unwrap_or_default()
        };
        assert_eq!(check(&[("session.timeout.ms", "60000"), ("heartbeat.interval.ms", "15000")]), "");
        assert_eq!(
            check(&[("session.timeout.ms", "60001")]),
            "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"
        );
        assert_eq!(
            check(&[("heartbeat.interval.ms", "4999")]),
            "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms"
        );
    }
}
