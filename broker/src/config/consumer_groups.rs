//! How groups of the new protocol (KIP-848) are kept: the settings `group.consumer.*`.

use super::registry::{I32, Lands, Setting, millis, number};
use super::topic::Type;
use millrace_logic::group::consumer::{Assignor, ConsumerSettings, MigrationPolicy};
use std::time::Duration;

/// What groups may be given, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    session: (Duration, Duration),
    heartbeat: (Duration, Duration),
    assignment_interval: (Duration, Duration),
}

impl Default for Bounds {
    /// Kafka's.
    fn default() -> Self {
        let millis = |least, most| (Duration::from_millis(least), Duration::from_millis(most));
        Self {
            session: millis(45_000, 60_000),
            heartbeat: millis(5_000, 15_000),
            assignment_interval: millis(0, 15_000),
        }
    }
}

macro_rules! millis_of {
    ($name:literal $doc:literal, $least:literal, |$config:ident| $($place:tt)+) => {
        Setting {
            name: $name,
            config_type: Type::Int,
            doc: $doc,
            kafka: true,
            lands: Lands::Field(
                |draft, value| {
                    let $config = &mut draft.config.groups;
                    $($place)+ = millis(value, $least..=I32)?;
                    Ok(())
                },
                |config| {
                    let $config = &config.groups;
                    Some($($place)+.as_millis().to_string())
                },
            ),
        }
    };
}

/// The settings, in Kafka's names.
pub(super) static SETTINGS: &[Setting] = &[
    millis_of!("group.consumer.session.timeout.ms" "How long a member of a consumer group may be silent.", 1, |groups| groups.settings.consumer.session),
    millis_of!("group.consumer.min.session.timeout.ms" "The least `group.consumer.session.timeout.ms`.", 1, |groups| groups.consumer_bounds.session.0),
    millis_of!("group.consumer.max.session.timeout.ms" "The most `group.consumer.session.timeout.ms`.", 1, |groups| groups.consumer_bounds.session.1),
    millis_of!("group.consumer.heartbeat.interval.ms" "How often members of consumer groups are to come.", 1, |groups| groups.settings.consumer.heartbeat),
    millis_of!("group.consumer.min.heartbeat.interval.ms" "The least `group.consumer.heartbeat.interval.ms`.", 1, |groups| groups.consumer_bounds.heartbeat.0),
    millis_of!("group.consumer.max.heartbeat.interval.ms" "The most `group.consumer.heartbeat.interval.ms`.", 1, |groups| groups.consumer_bounds.heartbeat.1),
    millis_of!("group.consumer.assignment.interval.ms" "The least time between two assignments of a consumer group's partitions: what changes meanwhile is one change.", 0, |groups| groups.settings.consumer.assignment_interval),
    millis_of!("group.consumer.min.assignment.interval.ms" "The least `group.consumer.assignment.interval.ms`.", 0, |groups| groups.consumer_bounds.assignment_interval.0),
    millis_of!("group.consumer.max.assignment.interval.ms" "The most `group.consumer.assignment.interval.ms`.", 0, |groups| groups.consumer_bounds.assignment_interval.1),
    Setting {
        name: "group.consumer.max.size",
        config_type: Type::Int,
        doc: "The most members of a consumer group.",
        kafka: true,
        lands: Lands::Field(
            |draft, value| {
                draft.config.groups.settings.consumer.max_size = number(value, 1..=I32)?;
                Ok(())
            },
            |config| Some(config.groups.settings.consumer.max_size.to_string()),
        ),
    },
    Setting {
        name: "group.consumer.assignors",
        config_type: Type::List,
        doc: "How partitions of consumer groups may be assigned, `uniform` and `range`; the first one where members do not choose.",
        kafka: true,
        lands: Lands::Field(
            |draft, value| {
                draft.config.groups.settings.consumer.assignors = assignors(value)?;
                Ok(())
            },
            |config| {
                let names = config.groups.settings.consumer.assignors.iter().flatten();
                Some(names.map(|assignor| assignor.name()).collect::<Vec<_>>().join(","))
            },
        ),
    },
    Setting {
        name: "group.consumer.migration.policy",
        config_type: Type::String,
        doc: "Which way groups that have members may change their protocol: `upgrade` from the classic one to the new one when somebody joins by that, `downgrade` back when the last of those goes, `bidirectional` or `disabled`. Groups without members go either way.",
        kafka: true,
        lands: Lands::Field(
            |draft, value| {
                let policy = MigrationPolicy::of(value);
                draft.config.groups.settings.consumer.migration =
                    policy.ok_or("expected bidirectional, upgrade, downgrade or disabled")?;
                Ok(())
            },
            |config| Some(config.groups.settings.consumer.migration.name().to_owned()),
        ),
    },
];

fn assignors(value: &str) -> Result<[Option<Assignor>; 2], String> {
    let named: Vec<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let known: Option<Vec<Assignor>> = named.iter().map(|name| Assignor::of(name)).collect();
    match known.as_deref() {
        Some([one]) => Ok([Some(*one), None]),
        Some([one, other]) if one != other => Ok([Some(*one), Some(*other)]),
        Some(_) => Err("expected uniform, range or both".into()),
        None => Err("expected uniform, range or both; classes are not loaded".into()),
    }
}

impl super::Groups {
    /// Whether the settings of consumer groups fit each other; the error says which do not.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_bounds(&self.settings.consumer, "group.consumer.", |heartbeat, session| {
            format!("{heartbeat} must be less than {session}")
        })
    }

    /// The same for settings whose names begin otherwise; `order` says that one is not less than the other.
    pub(super) fn check_bounds(
        &self,
        consumer: &ConsumerSettings,
        prefix: &str,
        order: impl Fn(&str, &str) -> String,
    ) -> Result<(), String> {
        let bounds = [
            ("session.timeout.ms", consumer.session, self.consumer_bounds.session),
            ("heartbeat.interval.ms", consumer.heartbeat, self.consumer_bounds.heartbeat),
            (
                "assignment.interval.ms",
                consumer.assignment_interval,
                self.consumer_bounds.assignment_interval,
            ),
        ];
        for (name, value, (least, most)) in bounds {
            let value_name = format!("{prefix}{name}");
            let (min, max) = (format!("group.consumer.min.{name}"), format!("group.consumer.max.{name}"));
            if most < least {
                return Err(format!("{max} must be greater than or equal to {min}"));
            }
            if value < least {
                return Err(format!("{value_name} must be greater than or equal to {min}"));
            }
            if value > most {
                return Err(format!("{value_name} must be less than or equal to {max}"));
            }
        }
        match consumer.heartbeat < consumer.session {
            true => Ok(()),
            false => {
                Err(order(&format!("{prefix}heartbeat.interval.ms"), &format!("{prefix}session.timeout.ms")))
            }
        }
    }
}
