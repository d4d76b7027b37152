//! Millrace from the built binary, configured as an operator would: a file, free ports, a data directory.

use super::child::Scratch;
use super::{Broker, Kind, Setup, address_in, command, ready};
use crate::error::{Doing, Error, Result};
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn start(setup: &Setup) -> Result<Broker> {
    let binary = binary(setup)?;
    let folder = Scratch::below(&setup.data, "millrace")?;
    let (data, ports) = (folder.path().join("data"), folder.path().join("ports.json"));
    let config = folder.path().join("server.properties");
    fs::write(&config, properties(setup, &data)).doing(config.display())?;
    let mut command = command(&binary, &setup.cores);
    command.arg("serve").arg("--config").arg(&config).arg("--ports-file").arg(&ports);
    let version = version(&binary)?;
    let ready = ready(command, folder, || address_in(&ports, "kafka"))?;
    let [grpc, http] = ["grpc", "http"].map(|port| address_in(&ports, port));
    Ok(Broker { grpc, http, ..Broker::started(Kind::Millrace, version, ready, data) })
}

fn properties(setup: &Setup, data: &Path) -> String {
    let mut text = format!(
        "listeners=PLAINTEXT://127.0.0.1:0\ngrpc.listeners=127.0.0.1:0\nhttp.listeners=127.0.0.1:0\nlog.dirs={}\n",
        data.display()
    );
    if let Some(shards) = setup.shards {
        let _ = writeln!(text, "shards={shards}"); // a String takes everything
    }
    for line in &setup.millrace_properties {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary).arg("--version").output().doing(binary.display())?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() && !version.is_empty() {
        true => Ok(version),
        false => Err(Error::Target(format!("{} --version failed", binary.display()))),
    }
}

/// The binary that is named, or the one that was built beside this one, or the newest in the target directory.
fn binary(setup: &Setup) -> Result<PathBuf> {
    if let Some(named) = &setup.millrace {
        return Ok(named.clone());
    }
    let beside = env::current_exe().ok().map(|own| own.with_file_name("millrace"));
    if let Some(beside) = beside.filter(|path| path.exists()) {
        return Ok(beside);
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let built = ["release", "sim"].map(|profile| target.join(profile).join("millrace"));
    built.into_iter().find(|path| path.exists()).ok_or_else(|| {
        let how = "build it with `cargo build --release -p millrace`, or name it with --millrace-bin";
        Error::Usage(format!("there is no millrace binary: {how}"))
    })
}
