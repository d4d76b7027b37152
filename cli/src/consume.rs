//! `millrace consume`: records of a topic, as text, JSON or raw, for as long as they come.

mod member;

use crate::exit::Outcome;
use crate::output::{self, Out, printable};
use crate::position;
use crate::remote::Remote;
use clap::{Args, ValueEnum};
use futures_util::FutureExt;
use millrace_client::{ConsumedRecord, Consumer, Error, Position, Start, TimestampType};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

const HELP: &str = "\
Examples:
  millrace consume greetings                         # what comes from now on; Ctrl-C ends
  millrace consume greetings --from beginning --count 10
  millrace consume orders --from 42 --partition 2
  millrace consume orders --from 2026-01-31T09:00:00Z --no-follow
  millrace consume orders --from 15m --output json | jq .value
  millrace consume orders --group billing --from beginning   # run it twice: they share the topic

Output:
  text  partition:offset, time, key, value and headers, with control characters escaped
  json  an object per line: topic, partition, offset, timestamp_ms, timestamp_type, key, value, headers ([name, value]
        pairs) and leader_epoch; bytes that are not UTF-8 are an array of numbers
  raw   the value alone and a newline; nothing for a null value but the newline";

/// What to read.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Consume {
    /// The topic
    topic: String,
    /// Where to start: beginning, end, an offset (42), milliseconds since 1970 (@1700000000000), a time with its zone
    /// (2026-01-31T09:00:00Z), or a span before now (15m, 2h, 7d)
    #[arg(long, value_name = "POSITION", default_value = "end", value_parser = position::parse, allow_hyphen_values = true)]
    from: Start,
    /// End after so many records
    #[arg(long, short, value_name = "N")]
    count: Option<u64>,
    /// Only this partition; may repeat [default: all]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Read as a member of this consumer group: the broker says which partitions, and what was printed is committed.
    /// `--from` (beginning or end) is where it starts in partitions in which the group has committed nothing
    #[arg(long, short, value_name = "GROUP", conflicts_with_all = ["partition", "no_follow"])]
    group: Option<String>,
    /// How records are printed
    #[arg(long, short, visible_alias = "format", value_enum, default_value_t = Format::Text)]
    output: Format,
    /// End where the log ends now, instead of following it
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    Raw,
}

impl Consume {
    /// Until the count is reached, the end (if asked for), or Ctrl-C.
    pub async fn run(self) -> Outcome {
        if let Some(group) = &self.group {
            return self.run_in_group(group).await;
        }
        let client = self.remote.connect().await?;
        let mut builder = client.consumer();
        builder = match self.partition.is_empty() {
            true => builder.assign_topic(&self.topic, self.from),
            false => self.partition.iter().fold(builder, |b, p| b.assign(&self.topic, *p, self.from)),
        };
        let mut consumer = builder.build();
        let mut out = output::out();
        tokio::select! {
            outcome = self.read(&mut consumer, &mut out) => outcome?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        Ok(out.flush()?)
    }

    async fn read(&self, consumer: &mut Consumer, out: &mut Out) -> Outcome {
        let mut ends = None;
        if self.no_follow {
            ends = Some(Ends::new(&consumer.positions().await?));
        }
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut failed = None;
        while left > 0 && !ends.as_ref().is_some_and(Ends::reached) {
            // What has been printed is shown before waiting for more.
            let next = match consumer.next().now_or_never() {
                Some(next) => next,
                None => {
                    out.flush()?;
                    consumer.next().await
                }
            };
            match next {
                Some(Ok(record)) => {
                    // Behind the end there may already be more.
                    if ends.as_mut().is_none_or(|ends| ends.take(&record)) {
                        self.print(out, &record)?;
                        left -= 1;
                    }
                }
                Some(Err(error)) => {
                    out.flush()?;
                    if let Some(earlier) = failed.replace(error) {
                        say(&earlier);
                    }
                }
                None => break,
            }
        }
        out.flush()?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn print(&self, out: &mut Out, record: &ConsumedRecord) -> io::Result<()> {
        match self.output {
            Format::Text => writeln!(out, "{}", to_text(record)),
            Format::Json => writeln!(out, "{}", to_json(record)),
            Format::Raw => {
                out.write_all(record.value.as_deref().unwrap_or_default())?;
                out.write_all(b"\n")
            }
        }
    }
}

/// A partition that can not be read further while others go on.
fn say(error: &Error) {
    eprintln!("millrace: {error}");
}

/// Where the log ended when reading started, by partition, and which partitions have not got there.
struct Ends(BTreeMap<i32, i64>);

impl Ends {
    fn new(positions: &[Position]) -> Self {
        let unread = positions.iter().filter(|p| p.next_offset < p.high_watermark);
        Self(unread.map(|p| (p.partition, p.high_watermark)).collect())
    }

    fn reached(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the record lies before the end.
    fn take(&mut self, record: &ConsumedRecord) -> bool {
        let Some(end) = self.0.get(&record.partition).copied() else { return false };
        if record.offset + 1 >= end {
            self.0.remove(&record.partition);
        }
        record.offset < end
    }
}

fn to_text(record: &ConsumedRecord) -> String {
    let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_deref().map_or("null".to_owned(), printable);
    let time = match record.timestamp_type {
        TimestampType::None => "no time".to_owned(),
        _ => output::time(record.timestamp_ms),
    };
    let mut text = format!("{}:{}  {time}  ", record.partition, record.offset);
    if let Some(key) = &record.key {
        text.push_str(&format!("{} => ", printable(key)));
    }
    text.push_str(&bytes(&record.value));
    for header in &record.headers {
        text.push_str(&format!("  [{}: {}]", printable(header.key.as_bytes()), bytes(&header.value)));
    }
    text
}

fn to_json(record: &ConsumedRecord) -> Value {
    let bytes = |bytes: &Option<bytes::Bytes>| match bytes.as_deref().map(|b| (std::str::from_utf8(b), b)) {
        None => Value::Null,
        Some((Ok(text), _)) => text.into(),
        Some((Err(_), bytes)) => bytes.into(),
    };
    let headers = record.headers.iter().map(|h| json!([h.key, bytes(&h.value)]));
    let timestamp_type = match record.timestamp_type {
        TimestampType::None => Value::Null,
        TimestampType::CreateTime => "CreateTime".into(),
        TimestampType::LogAppendTime => "LogAppendTime".into(),
    };
    Value::Object(Map::from_iter([
        ("topic".to_owned(), (*record.topic).into()),
        ("partition".to_owned(), record.partition.into()),
        ("offset".to_owned(), record.offset.into()),
        ("timestamp_ms".to_owned(), record.timestamp_ms.into()),
        ("timestamp_type".to_owned(), timestamp_type),
        ("key".to_owned(), bytes(&record.key)),
        ("value".to_owned(), bytes(&record.value)),
        ("headers".to_owned(), headers.collect()),
        ("leader_epoch".to_owned(), record.leader_epoch.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_client::Header;

    fn record(offset: i64) -> ConsumedRecord {
        ConsumedRecord {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp_ms: 1_700_000_000_123,
            timestamp_type: TimestampType::CreateTime,
            key: Some("k".into()),
            value: Some("v\n".into()),
            headers: vec![Header { key: "h".into(), value: None }],
            leader_epoch: Some(3),
        }
    }

    #[test]
    fn text_is_one_line() {
        assert_eq!(to_text(&record(7)), "0:7  2023-11-14T22:13:20.123Z  k => v\\n  [h: null]");
        let bare = ConsumedRecord { key: None, value: None, headers: Vec::new(), ..record(8) };
        assert_eq!(to_text(&bare), "0:8  2023-11-14T22:13:20.123Z  null");
    }

    #[test]
    fn json_keeps_what_is_not_text() {
        let odd = ConsumedRecord { key: Some(vec![0xff, 0].into()), ..record(7) };
        let value = to_json(&odd);
        assert_eq!((&value["key"], &value["value"]), (&json!([255, 0]), &json!("v\n")));
        assert_eq!(value["headers"], json!([["h", null]]));
        assert_eq!((&value["timestamp_type"], &value["leader_epoch"]), (&json!("CreateTime"), &json!(3)));
    }

    #[test]
    fn the_end_is_where_the_log_ended_at_the_start() {
        let position = |partition, next_offset, high_watermark| Position {
            topic: "t".into(),
            partition,
            next_offset,
            high_watermark,
        };
        assert!(Ends::new(&[position(0, 5, 5)]).reached());
        let mut ends = Ends::new(&[position(0, 5, 7), position(1, 3, 3)]);
        assert!(ends.take(&record(5)) && !ends.reached());
        assert!(ends.take(&record(6)) && ends.reached());
        assert!(!ends.take(&record(7)));
    }
}
