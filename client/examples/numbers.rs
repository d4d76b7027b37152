//! Sends numbered records until its input ends, and prints where each was acknowledged: `number partition offset` per line.
//!
//! ```text
//! cargo run -p millrace-client --example numbers -- 127.0.0.1:9095 TOPIC PARTITIONS < /dev/null
//! ```
//! The tests use it as a load that must survive whatever happens to the broker.

use millrace_client::{Client, Compression, Delivery, Error, Record};
use std::time::Duration;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, topic, partitions] = &args[..] else { return Err("ADDRESS TOPIC PARTITIONS".into()) };
    let partitions: i32 = partitions.parse()?;
    let producer = Client::connect(address)
        .await?
        .producer()
        .compression(Compression::Zstd)
        .buffer_memory(1 << 20)
        .delivery_timeout(Duration::from_secs(120))
        .build();
    let input_ended =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let (deliveries, receiver) = mpsc::unbounded_channel();
    let printer = tokio::spawn(print(receiver));
    let mut number: u64 = 0;
    while number == 0 || !input_ended.is_finished() {
        let partition = (number % partitions.max(1) as u64) as i32;
        let padding = ".".repeat((number * 7919 % 1500) as usize);
        let value = format!("rust:{number}:{padding}");
        let delivery = producer.send(Record::new(topic).partition(partition).value(value)).await?;
        deliveries.send((number, delivery))?;
        number += 1;
    }
    drop(deliveries);
    printer.await??;
    Ok(())
}

async fn print(mut deliveries: mpsc::UnboundedReceiver<(u64, Delivery)>) -> Result<(), Error> {
    while let Some((number, delivery)) = deliveries.recv().await {
        let placed = delivery.await?;
        println!("{number} {} {}", placed.partition, placed.offset.unwrap_or(-1));
    }
    Ok(())
}
