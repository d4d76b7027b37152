//! rskafka for the matrix of clients: see `../../test_matrix.py` for what goes in and out.
//!
//! ```text
//! rskafka-matrix produce BOOTSTRAP TOPIC CODEC     records on stdin, offsets on stdout
//! rskafka-matrix consume BOOTSTRAP TOPIC COUNTS    records on stdout; COUNTS by partition, between commas
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use rskafka::client::partition::{Compression, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, bootstrap, topic, last] = &args[..] else { return Err("four arguments".into()) };
    let client = ClientBuilder::new(vec![bootstrap.clone()]).build().await?;
    match what.as_str() {
        "produce" => produce(&client, topic, last).await,
        _ => consume(&client, topic, last).await,
    }
}

async fn produce(client: &Client, topic: &str, codec: &str) -> Result<(), Error> {
    let compression = match codec {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Compression::NoCompression,
    };
    let (mut records, mut partition) = (Vec::new(), 0);
    for line in std::io::stdin().lines() {
        let line: Value = serde_json::from_str(&line?)?;
        partition = line["partition"].as_i64().unwrap_or_default() as i32;
        let mut headers = BTreeMap::new();
        for header in line["headers"].as_array().into_iter().flatten() {
            let name = header[0].as_str().unwrap_or_default().to_owned();
            headers.insert(name, decode(&header[1])?.unwrap_or_default());
        }
        let timestamp = DateTime::from_timestamp_millis(line["timestamp"].as_i64().unwrap_or_default());
        records.push(Record {
            key: decode(&line["key"])?,
            value: decode(&line["value"])?,
            headers,
            timestamp: timestamp.ok_or("a timestamp")?,
        });
    }
    let target = client.partition_client(topic, partition, UnknownTopicHandling::Error).await?;
    let produced = target.produce(records, compression).await?;
    produced.iter().for_each(|offset| println!("{offset}"));
    Ok(())
}

async fn consume(client: &Client, topic: &str, counts: &str) -> Result<(), Error> {
    for (partition, count) in counts.split(',').enumerate() {
        let count: i64 = count.parse()?;
        let source = client.partition_client(topic, partition as i32, UnknownTopicHandling::Error).await?;
        let mut next = 0;
        while next < count {
            let (records, _) = source.fetch_records(next, 1..10_000_000, 1000).await?;
            for found in records {
                next = found.offset + 1;
                let headers: Vec<_> = found
                    .record
                    .headers
                    .iter()
                    .map(|(name, content)| json!([name, STANDARD.encode(content)]))
                    .collect();
                let out = json!({
                    "partition": partition,
                    "offset": found.offset,
                    "timestamp": found.record.timestamp.timestamp_millis(),
                    "key": found.record.key.map(|key| STANDARD.encode(key)),
                    "value": found.record.value.map(|value| STANDARD.encode(value)),
                    "headers": headers,
                });
                println!("{out}");
            }
        }
    }
    Ok(())
}

fn decode(text: &Value) -> Result<Option<Vec<u8>>, Error> {
    Ok(text.as_str().map(|text| STANDARD.decode(text)).transpose()?)
}
