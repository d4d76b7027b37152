//! Apache Kafka as it is released: one node, broker and controller in one process (KRaft), its defaults, and the JVM options of its own
//! start script but for the heap.

use super::child::Scratch;
use super::{Broker, Kind, Setup, command, ready};
use crate::error::{Doing, Error, Result};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that is measured; `scripts/setup` fetches it.
pub const VERSION: &str = "4.3.1";
/// Any id will do; this one is "millrace-bench-1".
const CLUSTER: &str = "bWlsbHJhY2UtYmVuY2gtMQ";

pub(super) fn start(setup: &Setup) -> Result<Broker> {
    let classes = format!("{}/*", libs(setup)?.display());
    let folder = Scratch::below(&setup.data, "kafka")?;
    let data = folder.path().join("data");
    let [kafka, controller] = free_ports()?.map(|port| format!("127.0.0.1:{port}"));
    let config = folder.path().join("server.properties");
    fs::write(&config, properties(setup, &kafka, &controller, &data)).doing(config.display())?;
    format(&classes, &config)?;
    let mut command = command(Path::new("java"), &setup.cores);
    let heap = &setup.heap;
    command.args([&format!("-Xms{heap}"), &format!("-Xmx{heap}")]);
    command.args([
        "-server",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
    ]);
    command.args(["-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"]);
    command.arg("-cp").arg(&classes).arg("kafka.Kafka").arg(&config);
    let ready = ready(command, folder, || Some(kafka.clone()))?;
    Ok(Broker::started(Kind::Kafka, format!("Apache Kafka {VERSION}"), ready, data))
}

fn properties(setup: &Setup, kafka: &str, controller: &str, data: &Path) -> String {
    let data = data.display();
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{kafka},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{kafka}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"
    );
    for line in &setup.kafka_properties {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn format(classes: &str, config: &Path) -> Result<()> {
    let mut tool = Command::new("java");
    tool.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes]);
    tool.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(config);
    let output = tool.output().doing("starting java")?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            Err(Error::Target(format!("Kafka's storage could not be formatted:\n{said}")))
        }
    }
}

/// Two ports that nobody listens on, below those that the kernel gives to whoever names none: a connection of the
/// generator's would take one of these while Kafka starts.
fn free_ports() -> Result<[u16; 2]> {
    let first = 10_000 + (std::process::id().wrapping_mul(97) % 20_000) as u16;
    let mut free = (first..32_768).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    match (free.next(), free.next()) {
        (Some(kafka), Some(controller)) => Ok([kafka, controller]),
        _ => Err(Error::Target(format!("no two ports of 127.0.0.1 from {first} to 32767 are free"))),
    }
}

/// The folder that is named, or the one into which `scripts/setup` puts the jars, here or above.
fn libs(setup: &Setup) -> Result<PathBuf> {
    if let Some(named) = &setup.kafka_libs {
        return Ok(named.clone());
    }
    let here = std::env::current_dir().doing("the current directory")?;
    let found = here.ancestors().map(|folder| folder.join(format!(".cache/kafka-{VERSION}/libs")));
    found.into_iter().find(|folder| folder.is_dir()).ok_or_else(|| {
        let how = "run scripts/setup, or name the folder of its jars with --kafka-libs";
        Error::Usage(format!("Apache Kafka {VERSION} is not here: {how}"))
    })
}
