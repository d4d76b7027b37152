//! The bare server, in a process of its own like any broker: this program again, with a command that nobody is told of.

use super::child::Scratch;
use super::{Broker, Kind, Setup, command, ready};
use crate::error::{Doing, Result};
use std::env;
use std::fs;

pub(super) fn start(setup: &Setup) -> Result<Broker> {
    let own = env::current_exe().doing("this program")?;
    let folder = Scratch::below(&setup.data, "bare")?;
    let (data, ports) = (folder.path().join("data"), folder.path().join("ports.json"));
    fs::create_dir(&data).doing(data.display())?;
    let mut command = command(&own, &setup.cores);
    command.arg("bare").arg(&data).arg(&ports);
    let ready = ready(command, folder, || super::address_in(&ports, "kafka"))?;
    Ok(Broker::started(Kind::Kafka, "the least that a broker could do".to_owned(), ready, data))
}
