//! How far groups are behind, as Prometheus text: found out when somebody asks, and only then.
//!
//! One message to each shard for what its groups have committed, and one for the ends of those logs. How many partitions of groups are told
//! is bounded, as whoever collects the numbers keeps a series for each: groups that have members come first.

use crate::shard::calls::ListOffsetsPart;
use crate::shard::partition_driver::PartitionId;
use crate::shard::{Shard, ShardCall};
use futures_channel::oneshot;
use millrace_io::Io;
use millrace_logic::group::survey::{Progress, Survey};
use millrace_logic::partition::{Isolation, OffsetSpec};
use std::collections::HashMap;
use std::fmt::Write;

/// Partitions of groups that one shard tells of: with the longest names about 600 KB of text.
const PARTITIONS: usize = 1000;

/// What one shard keeps.
pub struct ShardLags {
    shard: usize,
    lags: Vec<(Progress, i64)>,
    left_out: usize,
}

impl<I: Io> Shard<I> {
    /// How far the groups of all shards are behind.
    pub async fn group_lags(&self) -> Vec<ShardLags> {
        let mut answers = Vec::with_capacity(self.shards());
        for shard in 0..self.shards() {
            let (reply, answer) = oneshot::channel();
            self.call(shard, ShardCall::SurveyGroups { room: PARTITIONS, reply }).await;
            answers.push(answer);
        }
        let mut surveys: Vec<Survey> = Vec::with_capacity(answers.len());
        for answer in answers {
            surveys.push(answer.await.unwrap_or_default());
        }
        let ends = self.ends_of(&surveys).await;
        let lags = |(shard, survey): (usize, Survey)| {
            let end = |it: &Progress| self.named(it).and_then(|id| ends.get(&id).copied());
            let found = survey.found.into_iter();
            let lag = |it: Progress| end(&it).map(|end| (end.saturating_sub(it.offset).max(0), it));
            let lags = found.filter_map(lag).map(|(lag, it)| (it, lag)).collect();
            ShardLags { shard, lags, left_out: survey.left_out }
        };
        surveys.into_iter().enumerate().map(lags).collect()
    }

    /// Where the logs end that groups read; each is asked once, however many groups read it.
    async fn ends_of(&self, surveys: &[Survey]) -> HashMap<PartitionId, i64> {
        let found = surveys.iter().flat_map(|survey| &survey.found);
        let mut ends: HashMap<PartitionId, i64> =
            found.filter_map(|it| self.named(it)).map(|id| (id, -1)).collect();
        let ids: Vec<PartitionId> = ends.keys().copied().collect();
        let part = |id: &PartitionId| ListOffsetsPart { id: *id, spec: OffsetSpec::Latest, epoch: None };
        let parts = ids.iter().map(part).collect();
        let listed = self.list_offsets(parts, Isolation::ReadUncommitted).await;
        for (id, listed) in ids.into_iter().zip(listed) {
            match listed {
                Ok(listed) => drop(ends.insert(id, listed.offset)),
                // Its log is offline: how far anybody is behind is not known.
                Err(_) => drop(ends.remove(&id)),
            }
        }
        ends
    }

    fn named(&self, it: &Progress) -> Option<PartitionId> {
        self.image().topic(&it.topic).map(|topic| PartitionId { topic: topic.id, partition: it.partition })
    }
}

/// The Prometheus text.
pub fn render(shards: &[ShardLags]) -> String {
    let mut text = String::from(
        "# HELP millrace_group_lag Offsets between what a group has committed and the end of the log.\n\
         # TYPE millrace_group_lag gauge\n",
    );
    for ShardLags { shard, lags, .. } in shards {
        for (Progress { group, topic, partition, .. }, lag) in lags {
            let (group, topic) = (label(group), label(topic));
            // A String takes everything.
            let _ = writeln!(
                text,
                "millrace_group_lag{{shard=\"{shard}\",group=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"}} {lag}"
            );
        }
    }
    text.push_str(
        "# HELP millrace_group_lag_left_out Partitions of groups whose lag is not told, as there are too many.\n\
         # TYPE millrace_group_lag_left_out gauge\n",
    );
    for ShardLags { shard, left_out, .. } in shards {
        let _ = writeln!(text, "millrace_group_lag_left_out{{shard=\"{shard}\"}} {left_out}");
    }
    text
}

/// A name that anybody may have chosen, as the value of a label.
fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_labels() {
        let progress = Progress { group: "a\"} 1\nb\\".into(), topic: "t".into(), partition: 3, offset: 5 };
        let text = render(&[ShardLags { shard: 1, lags: vec![(progress, 7)], left_out: 2 }]);
        let line = r#"millrace_group_lag{shard="1",group="a\"} 1\nb\\",topic="t",partition="3"} 7"#;
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.ends_with("millrace_group_lag_left_out{shard=\"1\"} 2\n"), "{text}");
    }
}
