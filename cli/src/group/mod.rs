//! `millrace group`: list, describe, reset, forget, delete.

mod describe;
mod reset;

use crate::exit::{Failure, Outcome};
use crate::output::{self, printable};
use crate::remote::Remote;
use clap::{Args, Subcommand};
use millrace_client::{Error, GroupState, GroupType};
use serde_json::json;

const HELP: &str = "\
Examples:
  millrace group list
  millrace group list --state stable --state reconciling
  millrace group describe billing
  millrace group reset billing --to beginning                      # only says what would happen
  millrace group reset billing --to 2h --topic orders --execute    # does it; the group must have no members
  millrace group forget billing --topic orders
  millrace group delete billing";

/// What to do with consumer groups.
#[derive(Subcommand, Debug)]
#[command(after_help = HELP)]
pub enum Group {
    /// List groups
    List(List),
    /// Describe a group: its members, how far it has come, and how far it is behind
    Describe(describe::Describe),
    /// Let a group go on elsewhere; only says what would happen unless --execute is given
    Reset(reset::Reset),
    /// Forget what a group has committed in a topic
    Forget(Forget),
    /// Delete a group and all that it has committed
    Delete(Delete),
}

/// Which groups there are.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace group list\n  millrace group list --state empty --json\n  millrace group list --type consumer"
)]
pub struct List {
    /// Only groups in this state; may repeat
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<GroupState>,
    /// Only groups of this type: classic, or consumer (KIP-848); may repeat
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kind: Vec<GroupType>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// A topic that a group has nothing to do with any more.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace group forget billing --topic orders\n  millrace group forget billing --topic orders:0,3\n\nMembers of the group must not read the topic."
)]
pub struct Forget {
    /// The group
    group: String,
    /// The topic, or some of its partitions; may repeat
    #[arg(long, value_name = "NAME[:N,N...]", value_parser = topic, required = true)]
    topic: Vec<Topic>,
    #[command(flatten)]
    remote: Remote,
}

/// The end of a group.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  millrace group delete billing\n\nThe group must have no members.")]
pub struct Delete {
    /// The group
    group: String,
    #[command(flatten)]
    remote: Remote,
}

/// A topic, and some of its partitions, or none for all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Topic {
    name: String,
    partitions: Vec<i32>,
}

/// `name` or `name:0,3`.
fn topic(text: &str) -> Result<Topic, String> {
    let (name, numbers) = text.split_once(':').map_or((text, None), |(name, numbers)| (name, Some(numbers)));
    let numbers = numbers.into_iter().flat_map(|numbers| numbers.split(','));
    let partitions = numbers.map(str::parse).collect::<Result<Vec<i32>, _>>();
    match partitions {
        Ok(partitions) if !name.is_empty() && partitions.iter().all(|number| *number >= 0) => {
            Ok(Topic { name: name.to_owned(), partitions })
        }
        _ => Err("expected a topic's name, or a name and partitions (orders:0,3)".to_owned()),
    }
}

fn state(text: &str) -> Result<GroupState, String> {
    let plain = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    let found = GroupState::ALL.into_iter().find(|state| plain(state.name()) == plain(text));
    found.ok_or_else(|| format!("expected one of {}", GroupState::ALL.map(GroupState::name).join(", ")))
}

fn kind(text: &str) -> Result<GroupType, String> {
    let found = GroupType::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("expected one of {}", GroupType::ALL.map(GroupType::name).join(", ")))
}

impl Group {
    /// Asks the broker.
    pub async fn run(self) -> Outcome {
        match self {
            Group::List(list) => list.run().await,
            Group::Describe(describe) => describe.run().await,
            Group::Reset(reset) => reset.run().await,
            Group::Forget(forget) => forget.run().await,
            Group::Delete(delete) => delete.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Outcome {
        let groups = self.remote.connect().await?.groups().list(&self.state, &self.kind).await?;
        if self.json {
            for g in groups {
                output::line(json!({
                    "group": g.id, "state": g.state.name(), "type": g.kind.name(), "protocol_type": g.protocol_type,
                }))?;
            }
            return Ok(());
        }
        if groups.is_empty() {
            // Not on standard output, where a program would take it for a name.
            eprintln!(
                "there are no such groups; a group begins with its first member: `millrace group --help`"
            );
            return Ok(());
        }
        let row = |g: millrace_client::GroupSummary| {
            vec![printable(g.id.as_bytes()), g.state.name().to_owned(), g.kind.name().to_owned()]
        };
        let rows: Vec<_> = groups.into_iter().map(row).collect();
        Ok(output::table(&["GROUP", "STATE", "TYPE"], &rows)?)
    }
}

impl Forget {
    async fn run(self) -> Outcome {
        let groups = self.remote.connect().await?.groups();
        let mut refused = None;
        for topic in &self.topic {
            let deleted = groups.delete_offsets(&self.group, &topic.name, &topic.partitions).await;
            let deleted = deleted.map_err(|e| about(&self.group, "does not forget", e))?;
            let kept = deleted.iter().filter(|it| it.error.is_some()).count();
            let forgotten = deleted.len() - kept;
            output::line(format_args!("{} has forgotten {forgotten} of {}", self.group, topic.name))?;
            refused = refused.or_else(|| deleted.into_iter().find_map(|it| it.error));
        }
        refused.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Delete {
    async fn run(self) -> Outcome {
        let groups = self.remote.connect().await?.groups();
        groups.delete(&self.group).await.map_err(|e| about(&self.group, "is not deleted", e))?;
        Ok(output::line(format_args!("{} deleted", printable(self.group.as_bytes())))?)
    }
}

fn about(group: &str, what: &str, error: Error) -> Failure {
    Failure::from(error).during(format_args!("{group} {what}"))
}

/// A number that may not be known, in a table.
fn or_dash(number: Option<i64>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_may_name_partitions() {
        let of = |name: &str, partitions: &[i32]| {
            Ok(Topic { name: name.to_owned(), partitions: partitions.to_vec() })
        };
        assert_eq!(topic("orders"), of("orders", &[]));
        assert_eq!(topic("orders:0"), of("orders", &[0]));
        assert_eq!(topic("orders:3,70000"), of("orders", &[3, 70_000]));
        for bad in ["", ":1", "orders:", "orders:-1", "orders:1,", "orders:a", "orders:3000000000"] {
            assert!(topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn states_and_types_are_found_however_they_are_written() {
        assert_eq!(state("stable"), Ok(GroupState::Stable));
        assert_eq!(state("PreparingRebalance"), Ok(GroupState::PreparingRebalance));
        assert_eq!(state("preparing-rebalance"), Ok(GroupState::PreparingRebalance));
        assert!(state("dead").expect_err("no state").contains("CompletingRebalance"));
        assert_eq!(kind("Consumer"), Ok(GroupType::Consumer));
        assert!(kind("share").expect_err("no type").contains("classic"));
    }
}
