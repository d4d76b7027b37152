//! `millrace produce`: one record per line, from standard input or a file.

use crate::exit::{Failure, Outcome};
use crate::remote::Remote;
use crate::topic::pair;
use clap::{Args, ValueEnum};
use futures_util::FutureExt;
use millrace_client::{Acks, Compression, Delivery, Error, Placed, Record};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

/// A record's size at most: what the broker takes in one message, and some room for others in it.
const LONGEST_LINE: usize = 14 << 20;

const HELP: &str = "\
Examples:
  echo hello | millrace produce greetings
  millrace produce greetings                         # type lines; Ctrl-D ends
  millrace produce orders --file orders.txt --key-separator :
  echo '{\"total\":3}' | millrace produce orders --key customer-7 --header trace=a1 --partition 2
  seq 1000 | millrace produce numbers --acks leader
  millrace produce logs --file app.log --compression zstd

Each line is the value of a record; a missing key is null. Every record is acknowledged before the command ends; how
many went where is said on standard error.";

/// Records to send.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Produce {
    /// The topic; created on first use, where the broker does that
    topic: String,
    /// Read lines from here instead of standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key of every record
    #[arg(long, short, conflicts_with = "key_separator")]
    key: Option<String>,
    /// What separates key and value in each line; a line without it has no key
    #[arg(long, short = 'K', value_name = "SEPARATOR", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// A header of every record; may repeat
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// The partition of every record [default: by key as every Kafka client; without a key, one after the other]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// When a record counts as sent: handed over, written by the leader, or durable on every in-sync replica
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// How batches are compressed on their way and in the log
    #[arg(long, short = 'z', value_enum, default_value_t = CompressionArg::None)]
    compression: CompressionArg,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AcksArg {
    None,
    Leader,
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionArg {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<CompressionArg> for Compression {
    fn from(compression: CompressionArg) -> Self {
        match compression {
            CompressionArg::None => Compression::None,
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Snappy => Compression::Snappy,
            CompressionArg::Lz4 => Compression::Lz4,
            CompressionArg::Zstd => Compression::Zstd,
        }
    }
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::All => Acks::All,
        }
    }
}

impl Produce {
    /// Sends all lines, and waits for all answers.
    pub async fn run(self) -> Outcome {
        match &self.file {
            Some(path) => {
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                self.send_lines(BufReader::new(file)).await
            }
            None => self.send_lines(BufReader::new(tokio::io::stdin())).await,
        }
    }

    async fn send_lines(&self, mut input: impl AsyncBufRead + Unpin) -> Outcome {
        let client = self.remote.connect().await?;
        let producer = client
            .producer()
            .acks(self.acks.into())
            .compression(self.compression.into())
            .max_request_size(LONGEST_LINE)
            .build();
        let mut tally = Tally::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line).await? == 0 {
                break;
            }
            let delivery = producer.send(self.record(without_newline(&line))).await?;
            tally.waiting.push_back(delivery);
            if let Err(error) = tally.take_answers() {
                return self.failed(&tally, error);
            }
        }
        while let Some(delivery) = tally.waiting.pop_front() {
            match delivery.await {
                Ok(placed) => tally.add(placed),
                Err(error) => return self.failed(&tally, error),
            }
        }
        eprintln!("{}", tally.summary(&self.topic));
        Ok(())
    }

    fn failed(&self, tally: &Tally, error: Error) -> Outcome {
        Err(Failure::from(error).during(format_args!("line {} was not sent", tally.sent + 1)))
    }

    fn record(&self, line: &[u8]) -> Record {
        let mut record = Record::new(&self.topic);
        let separator = self.key_separator.as_deref().map(str::as_bytes);
        let split = separator.and_then(|separator| split_once(line, separator));
        record = match (split, &self.key) {
            (Some((key, value)), _) => record.key(key.to_vec()).value(value.to_vec()),
            (None, Some(key)) => record.key(key.clone()).value(line.to_vec()),
            (None, None) => record.value(line.to_vec()),
        };
        record.partition = self.partition;
        self.header.iter().fold(record, |record, (name, value)| record.header(name, value.clone()))
    }
}

/// The first and the last offset.
type Range = (i64, i64);

/// Records on their way, and where those before them went.
#[derive(Default)]
struct Tally {
    waiting: VecDeque<Delivery>,
    sent: u64,
    /// By partition: how many, and the first and last offset, where known.
    placed: BTreeMap<i32, (u64, Option<Range>)>,
}

impl Tally {
    /// Takes the answers that are there, in the order of the lines.
    fn take_answers(&mut self) -> Result<(), Error> {
        while let Some(answer) = self.waiting.front_mut().and_then(FutureExt::now_or_never) {
            self.waiting.pop_front();
            self.add(answer?);
        }
        Ok(())
    }

    fn add(&mut self, placed: Placed) {
        self.sent += 1;
        let (count, offsets) = self.placed.entry(placed.partition).or_default();
        *count += 1;
        if let Some(offset) = placed.offset {
            let (first, last) = offsets.unwrap_or((offset, offset));
            *offsets = Some((first.min(offset), last.max(offset)));
        }
    }

    fn summary(&self, topic: &str) -> String {
        let records = |n: u64| if n == 1 { "1 record".to_owned() } else { format!("{n} records") };
        let part = |(partition, (count, offsets)): (&i32, &(u64, Option<Range>))| match offsets {
            Some((first, last)) if first == last => format!("; partition {partition}: offset {first}"),
            Some((first, last)) => {
                format!("; partition {partition}: {} at offsets {first} to {last}", records(*count))
            }
            None => format!("; partition {partition}: {}", records(*count)),
        };
        format!("{topic}: {} sent{}", records(self.sent), self.placed.iter().map(part).collect::<String>())
    }
}

fn without_newline(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn split_once<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        produce: Produce,
    }

    fn record(args: &[&str], line: &[u8]) -> Record {
        Line::parse_from([&["produce", "t"], args].concat()).produce.record(line)
    }

    #[test]
    fn lines_become_records() {
        let plain = record(&[], b"a:b");
        assert_eq!((plain.key, plain.value.as_deref()), (None, Some(&b"a:b"[..])));
        let split = record(&["-K", "::", "--partition", "3"], b"k::v::w");
        assert_eq!((split.key.as_deref(), split.value.as_deref()), (Some(&b"k"[..]), Some(&b"v::w"[..])));
        assert_eq!(split.partition, Some(3));
        let keyed = record(&["--key", "k", "-H", "a=1", "-H", "a=2"], b"");
        assert_eq!((keyed.key.as_deref(), keyed.value.as_deref()), (Some(&b"k"[..]), Some(&b""[..])));
        assert_eq!(keyed.headers.len(), 2);
        assert_eq!(record(&["-K", ":"], b"no separator").key, None);
    }

    #[test]
    fn lines_end_with_either_newline() {
        for line in [&b"a\n"[..], b"a\r\n", b"a"] {
            assert_eq!(without_newline(line), b"a");
        }
        assert_eq!(without_newline(b"\n"), b"");
    }

    #[test]
    fn the_summary_says_what_went_where() {
        let mut tally = Tally::default();
        for (partition, offset) in [(0, Some(4)), (1, Some(9)), (0, Some(5))] {
            tally.add(Placed { partition, offset, log_append_time_ms: None });
        }
        assert_eq!(
            tally.summary("t"),
            "t: 3 records sent; partition 0: 2 records at offsets 4 to 5; partition 1: offset 9"
        );
    }
}
