//! `millrace group reset`: where a group goes on. Without `--execute` it says what would happen and changes nothing.

use super::{Topic, about, or_dash, topic};
use crate::exit::Outcome;
use crate::output::{self, printable};
use crate::position;
use crate::remote::Remote;
use clap::Args;
use millrace_client::{OffsetReset, ResetOffset, Start};
use serde_json::json;

/// Another place to go on.
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is changed unless --execute is given: what would happen is printed, and that is all.

The group must have no members, as each would go on where it is and commit over it. Stop them, wait
until `millrace group describe` says Empty, reset, start them. An offset that the log does not reach
becomes the nearest that it does.

Examples:
  millrace group reset billing --to beginning               # what would happen
  millrace group reset billing --to beginning --execute     # and now it does
  millrace group reset billing --to 2026-01-31T09:00:00Z --topic orders --execute
  millrace group reset billing --to 15m --topic orders:0,3 --topic invoices
  millrace group reset billing --shift -100 --execute       # the last hundred of each partition again")]
pub struct Reset {
    /// The group
    group: String,
    /// Where to: beginning, end, an offset (42), milliseconds since 1970 (@1700000000000), a time with its zone
    /// (2026-01-31T09:00:00Z), or a span before now (15m, 2h, 7d)
    #[arg(
        long, value_name = "POSITION", value_parser = position::parse, allow_hyphen_values = true,
        required_unless_present = "shift", conflicts_with = "shift"
    )]
    to: Option<Start>,
    /// By so many offsets from what is committed; negative goes back
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift: Option<i64>,
    /// Only this topic, or some of its partitions; may repeat [default: wherever the group has committed something]
    #[arg(long, value_name = "NAME[:N,N...]", value_parser = topic)]
    topic: Vec<Topic>,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Reset {
    fn request(&self) -> OffsetReset {
        let mut reset = match (self.to, self.shift) {
            (Some(to), _) => OffsetReset::new(&self.group, to),
            (None, shift) => OffsetReset::shift(&self.group, shift.unwrap_or(0)),
        };
        for topic in &self.topic {
            reset = match topic.partitions.is_empty() {
                true => reset.topic(&topic.name),
                false => {
                    topic.partitions.iter().fold(reset, |reset, number| reset.partition(&topic.name, *number))
                }
            };
        }
        if self.execute { reset } else { reset.validate_only() }
    }

    pub(super) async fn run(self) -> Outcome {
        let groups = self.remote.connect().await?.groups();
        let offsets = groups.reset_offsets(self.request()).await;
        let offsets = offsets.map_err(|e| about(&self.group, "is not moved", e))?;
        if self.json {
            let one = |o: &ResetOffset| {
                json!({
                    "topic": o.topic,
                    "partition": o.partition,
                    "previous": o.previous,
                    "offset": o.offset,
                    "log_start_offset": o.log_start_offset,
                    "high_watermark": o.high_watermark,
                })
            };
            let offsets: Vec<_> = offsets.iter().map(one).collect();
            return Ok(output::line(
                json!({"group": self.group, "executed": self.execute, "offsets": offsets}),
            )?);
        }
        if offsets.is_empty() {
            eprintln!("{} has committed nothing; name what to move with --topic", self.group);
            return Ok(());
        }
        let rows: Vec<_> = offsets.iter().map(row).collect();
        output::table(&["TOPIC", "PARTITION", "COMMITTED", "NEW", "START", "END", "LAG"], &rows)?;
        if !self.execute {
            // Beside the table, which is the same either way.
            eprintln!("nothing is changed yet: add --execute to do it");
        }
        Ok(())
    }
}

fn row(reset: &ResetOffset) -> Vec<String> {
    vec![
        printable(reset.topic.as_bytes()),
        reset.partition.to_string(),
        or_dash(reset.previous),
        reset.offset.to_string(),
        reset.log_start_offset.to_string(),
        reset.high_watermark.to_string(),
        (reset.high_watermark - reset.offset).max(0).to_string(),
    ]
}
