//! `millrace group describe`: a group's members, how far it has come, and how far it is behind.

use super::{about, or_dash};
use crate::exit::Outcome;
use crate::output::{self, printable};
use crate::remote::Remote;
use clap::Args;
use millrace_client::{Group, GroupMember, GroupOffset};
use serde_json::{Value, json};
use std::io::Write;

/// One group.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  millrace group describe billing
  millrace group describe billing --json | jq '[.offsets[].lag] | add'

Columns:
  COMMITTED  the offset of the record that the group reads next; - where it has committed nothing
  START      the oldest offset that can be read; a group that has committed less has missed records
  END        behind the newest record
  LAG        END less COMMITTED
  MEMBER     who reads the partition")]
pub struct Describe {
    /// The group
    group: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Describe {
    pub(super) async fn run(self) -> Outcome {
        let groups = self.remote.connect().await?.groups();
        let group =
            groups.describe(&self.group).await.map_err(|e| about(&self.group, "is not described", e))?;
        if self.json {
            return Ok(output::line(to_json(&group))?);
        }
        let mut out = output::out();
        writeln!(out, "group    {}\nstate    {}", printable(group.id.as_bytes()), group.state.name())?;
        writeln!(out, "type     {}", group.kind.name())?;
        if !group.protocol.is_empty() {
            writeln!(out, "protocol {}", printable(group.protocol.as_bytes()))?;
        }
        writeln!(out, "members  {}\nlag      {}", group.members.len(), lag(&group))?;
        out.flush()?;
        drop(out);
        if !group.offsets.is_empty() {
            output::line("")?;
            let heading = ["TOPIC", "PARTITION", "COMMITTED", "START", "END", "LAG", "MEMBER"];
            let rows: Vec<_> = group.offsets.iter().map(offset).collect();
            output::table(&heading, &rows)?;
        }
        if !group.members.is_empty() {
            output::line("")?;
            let rows: Vec<_> = group.members.iter().map(member).collect();
            output::table(&["MEMBER", "CLIENT", "HOST", "PARTITIONS"], &rows)?;
        }
        Ok(())
    }
}

/// How far the group is behind where that is known.
fn lag(group: &Group) -> i64 {
    group.offsets.iter().filter_map(|offset| offset.lag).sum()
}

fn offset(offset: &GroupOffset) -> Vec<String> {
    let member = offset.member_id.as_deref().unwrap_or("-");
    vec![
        printable(offset.topic.as_bytes()),
        offset.partition.to_string(),
        or_dash(offset.committed),
        or_dash(offset.log_start_offset),
        or_dash(offset.high_watermark),
        or_dash(offset.lag),
        printable(member.as_bytes()),
    ]
}

fn member(member: &GroupMember) -> Vec<String> {
    let name = match &member.instance_id {
        Some(instance) => format!("{} ({instance})", member.id),
        None => member.id.clone(),
    };
    vec![
        printable(name.as_bytes()),
        printable(member.client_id.as_bytes()),
        printable(member.client_host.as_bytes()),
        printable(assigned(&member.assignment).as_bytes()),
    ]
}

/// Partitions as people write them: `orders:0-3,7 invoices:1`.
fn assigned(topics: &[(String, Vec<i32>)]) -> String {
    let one = |(topic, partitions): &(String, Vec<i32>)| format!("{topic}:{}", ranges(partitions));
    match topics.is_empty() {
        true => "-".to_owned(),
        false => topics.iter().map(one).collect::<Vec<_>>().join(" "),
    }
}

/// Ascending numbers, with what follows one by one as a range.
fn ranges(numbers: &[i32]) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let one = |(first, last): &(i32, i32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

fn to_json(group: &Group) -> Value {
    let member = |m: &GroupMember| {
        let topic =
            |(topic, partitions): &(String, Vec<i32>)| json!({"topic": topic, "partitions": partitions});
        json!({
            "member": m.id,
            "instance": m.instance_id,
            "client_id": m.client_id,
            "client_host": m.client_host,
            "assignment": m.assignment.iter().map(topic).collect::<Vec<_>>(),
        })
    };
    let offset = |o: &GroupOffset| {
        json!({
            "topic": o.topic,
            "partition": o.partition,
            "committed": o.committed,
            "metadata": o.metadata,
            "log_start_offset": o.log_start_offset,
            "high_watermark": o.high_watermark,
            "lag": o.lag,
            "member": o.member_id,
        })
    };
    json!({
        "group": group.id,
        "state": group.state.name(),
        "type": group.kind.name(),
        "protocol_type": group.protocol_type,
        "protocol": group.protocol,
        "lag": lag(group),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "offsets": group.offsets.iter().map(offset).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_in_a_row_are_a_range() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        let topics = [("orders".to_owned(), vec![0, 1]), ("x".to_owned(), vec![4])];
        assert_eq!((assigned(&topics).as_str(), assigned(&[]).as_str()), ("orders:0-1 x:4", "-"));
    }
}
