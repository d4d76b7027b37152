//! `millrace topic`: create, list, describe, alter, trim, delete.

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::remote::Remote;
use clap::{Args, Subcommand};
use millrace_client::{NewTopic, Partition, Topic as Described};
use serde_json::{Value, json};
use std::io::Write;

const HELP: &str = "\
Examples:
  millrace topic create orders --partitions 12
  millrace topic create audit --config segment.bytes=268435456 --config max.message.bytes=2000000
  millrace topic list
  millrace topic describe orders --json
  millrace topic alter orders --partitions 24 --config retention.ms=86400000
  millrace topic trim orders --partition 3 --before 1000
  millrace topic delete orders";

/// What to do with topics.
#[derive(Subcommand, Debug)]
#[command(after_help = HELP)]
pub enum Topic {
    /// Create a topic
    Create(Create),
    /// List topics
    List(List),
    /// Describe a topic, with the offsets of its partitions
    Describe(Describe),
    /// Change a topic's settings, or give it more partitions
    Alter(Alter),
    /// Delete the oldest records of a partition
    Trim(Trim),
    /// Delete a topic and all of its records
    Delete(Delete),
}

/// A new topic.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace topic create orders --partitions 12\n  millrace topic create orders --config segment.ms=3600000"
)]
pub struct Create {
    /// Its name
    name: String,
    /// How many partitions [default: the broker's num.partitions]
    #[arg(long, short, value_name = "N")]
    partitions: Option<i32>,
    /// How many replicas of each [default: the broker's default.replication.factor]
    #[arg(long, value_name = "N")]
    replication_factor: Option<i32>,
    /// A setting of its own, by Kafka's names; may repeat
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// Only check whether it could be created
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Which topics there are.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  millrace topic list\n  millrace topic list --json")]
pub struct List {
    /// Also those that the broker keeps for itself
    #[arg(long)]
    internal: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// One topic.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace topic describe orders\n  millrace topic describe orders --json"
)]
pub struct Describe {
    /// Its name
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Another topic than before.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace topic alter orders --config retention.ms=86400000\n  millrace topic alter orders --reset retention.ms\n  millrace topic alter orders --partitions 24"
)]
pub struct Alter {
    /// Its name
    name: String,
    /// How many partitions it is to have; never fewer than it has
    #[arg(long, short, value_name = "N", required_unless_present_any = ["config", "reset"])]
    partitions: Option<i32>,
    /// A setting to make, by Kafka's names; may repeat
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// A setting to take back, so that the broker's holds; may repeat
    #[arg(long, value_name = "NAME")]
    reset: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// A partition without its oldest records.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace topic trim orders --partition 3 --before 1000\n  millrace topic trim orders --partition 3 --all"
)]
pub struct Trim {
    /// The topic's name
    name: String,
    /// The partition
    #[arg(long, value_name = "N", default_value_t = 0)]
    partition: i32,
    /// Records before this offset go
    #[arg(long, value_name = "OFFSET", required_unless_present = "all")]
    before: Option<i64>,
    /// All records that can be read go
    #[arg(long, conflicts_with = "before")]
    all: bool,
    #[command(flatten)]
    remote: Remote,
}

/// The end of a topic.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  millrace topic delete orders")]
pub struct Delete {
    /// Its name
    name: String,
    #[command(flatten)]
    remote: Remote,
}

/// `name=value`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Topic {
    /// Asks the broker.
    pub async fn run(self) -> Outcome {
        match self {
            Topic::Create(create) => create.run().await,
            Topic::List(list) => list.run().await,
            Topic::Describe(describe) => describe.run().await,
            Topic::Alter(alter) => alter.run().await,
            Topic::Trim(trim) => trim.run().await,
            Topic::Delete(delete) => delete.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Outcome {
        let mut topic = NewTopic::new(&self.name);
        if let Some(partitions) = self.partitions {
            topic = topic.partitions(partitions);
        }
        if let Some(replicas) = self.replication_factor {
            topic = topic.replicas(replicas);
        }
        for (name, value) in self.config {
            topic = topic.config(name, value);
        }
        if self.dry_run {
            topic = topic.validate_only();
        }
        let client = self.remote.connect().await?;
        let created = client.topics().create(topic).await.map_err(|e| about(&self.name, "not created", e))?;
        if self.json {
            return Ok(output::line(to_json(&created))?);
        }
        let partitions = count(created.partition_count, "partition");
        let done = if self.dry_run { "could be created" } else { "created" };
        Ok(output::line(format_args!("{} {done} with {partitions}", created.name))?)
    }
}

impl List {
    async fn run(self) -> Outcome {
        let topics = self.remote.connect().await?.topics().list(self.internal).await?;
        if self.json {
            for t in topics {
                let partitions = t.partition_count;
                output::line(
                    json!({"name": t.name, "id": t.id, "partitions": partitions, "internal": t.internal}),
                )?;
            }
            return Ok(());
        }
        if topics.is_empty() {
            // Not on standard output, where a program would take it for a name.
            eprintln!("there are no topics; create one with `millrace topic create NAME`");
            return Ok(());
        }
        let rows: Vec<_> =
            topics.into_iter().map(|t| vec![t.name, t.partition_count.to_string(), t.id]).collect();
        Ok(output::table(&["NAME", "PARTITIONS", "ID"], &rows)?)
    }
}

impl Describe {
    async fn run(self) -> Outcome {
        let topics = self.remote.connect().await?.topics();
        let topic = topics.describe(&self.name).await.map_err(|e| about(&self.name, "not described", e))?;
        if self.json {
            return Ok(output::line(to_json(&topic))?);
        }
        let mut out = output::out();
        writeln!(out, "name       {}\nid         {}", topic.name, topic.id)?;
        writeln!(out, "partitions {}\nreplicas   {}", topic.partition_count, topic.replication_factor)?;
        for (name, value) in &topic.configs {
            writeln!(out, "{name}={value}")?;
        }
        writeln!(out)?;
        out.flush()?;
        drop(out);
        let heading = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "START", "END", "RECORDS"];
        let rows: Vec<_> = topic.partitions.iter().map(row).collect();
        Ok(output::table(&heading, &rows)?)
    }
}

impl Alter {
    async fn run(self) -> Outcome {
        let topics = self.remote.connect().await?.topics();
        let not_changed = |e| about(&self.name, "not changed", e);
        let set = self.config.into_iter().map(|(name, value)| (name, Some(value)));
        let changes: Vec<_> = set.chain(self.reset.into_iter().map(|name| (name, None))).collect();
        if !changes.is_empty() {
            let topic = topics.alter_configs(&self.name, changes).await.map_err(not_changed)?;
            let settings = topic.configs.iter().map(|(name, value)| format!(" {name}={value}"));
            output::line(format_args!(
                "{} has these settings of its own:{}",
                self.name,
                settings.collect::<String>()
            ))?;
        }
        if let Some(partitions) = self.partitions {
            let topic = topics.add_partitions(&self.name, partitions).await.map_err(not_changed)?;
            output::line(format_args!("{} has {}", self.name, count(topic.partition_count, "partition")))?;
        }
        Ok(())
    }
}

impl Trim {
    async fn run(self) -> Outcome {
        let topics = self.remote.connect().await?.topics();
        let start = topics.delete_records(&self.name, self.partition, self.before).await;
        let start =
            start.map_err(|e| about(&format!("{}-{}", self.name, self.partition), "not trimmed", e))?;
        Ok(output::line(format_args!("{}-{} begins at offset {start}", self.name, self.partition))?)
    }
}

impl Delete {
    async fn run(self) -> Outcome {
        let topics = self.remote.connect().await?.topics();
        let deleted = topics.delete(&self.name).await.map_err(|e| about(&self.name, "not deleted", e))?;
        Ok(output::line(format_args!("{} deleted", deleted.name))?)
    }
}

fn about(name: &str, what: &str, error: millrace_client::Error) -> Failure {
    Failure::from(error).during(format_args!("{name} is {what}"))
}

fn count(n: i32, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

fn row(partition: &Partition) -> Vec<String> {
    let or_unknown = |n: Option<i64>| n.map_or("?".to_owned(), |n| n.to_string());
    let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let records = partition.high_watermark.zip(partition.log_start_offset).map(|(end, start)| end - start);
    vec![
        partition.partition.to_string(),
        partition.leader.map_or("none".to_owned(), |id| id.to_string()),
        partition.leader_epoch.to_string(),
        list(&partition.replicas),
        list(&partition.in_sync_replicas),
        or_unknown(partition.log_start_offset),
        or_unknown(partition.high_watermark),
        or_unknown(records),
    ]
}

fn to_json(topic: &Described) -> Value {
    let partition = |p: &Partition| {
        json!({
            "partition": p.partition,
            "leader": p.leader,
            "leader_epoch": p.leader_epoch,
            "replicas": p.replicas,
            "in_sync_replicas": p.in_sync_replicas,
            "log_start_offset": p.log_start_offset,
            "high_watermark": p.high_watermark,
        })
    };
    json!({
        "name": topic.name,
        "id": topic.id,
        "internal": topic.internal,
        "partition_count": topic.partition_count,
        "replication_factor": topic.replication_factor,
        "configs": topic.configs,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_split_at_the_first_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err());
    }
}
