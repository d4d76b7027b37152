//! What the machine can do at most: each measurement does what a broker cannot do without, and nothing else.

use crate::error::{Doing, Error, Result};
use crate::measure::latency::{Latencies, Since};
use crate::os::{cpu, files, sockets::Discard};
use crate::target::child::Scratch;
use serde::Serialize;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A file that is read is of this size: more than the processor caches, like what consumers read.
const FILE: u64 = 512 << 20;
/// Requests that a reader has in flight.
const DEPTH: usize = 4;
/// Bytes of a request, and of a buffer that is written.
const REQUEST: usize = 64;

/// A figure of the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was done.
    pub name: &'static str,
    /// How much of it.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
}

/// Everything, one after the other.
pub fn all(data: &Path, time: Duration, mut tell: impl FnMut(&str)) -> Result<Vec<Figure>> {
    let folder = folder(data)?;
    let folder = folder.path();
    let mut figures = Vec::new();
    let mut add = |name, value, unit| figures.push(Figure { name, value, unit });
    tell("system calls");
    let calls = syscalls(time);
    add("cheapest system call", calls, "calls/CPU-s");
    add("cheapest system call", 1e9 / calls, "ns");
    tell("CRC-32C");
    add("CRC-32C of 100 KiB", crc32c(time), "GB/CPU-s");
    tell("loopback");
    let stream = loopback(time)?;
    add("loopback stream, 128 KiB a write, discarded", stream.gb_per_s, "GB/s");
    add("loopback stream, 128 KiB a write, discarded", stream.gb_per_cpu_s, "GB/CPU-s of the sender");
    tell("sendfile");
    let file = filled(folder)?;
    for (bytes, name) in [
        (1 << 20, "sendfile, 1 MiB a request, discarded"),
        (128 << 10, "sendfile, 128 KiB a request, discarded"),
    ] {
        let sent = sendfile(&file, bytes, time)?;
        add(name, sent.gb_per_s, "GB/s");
        add(name, sent.gb_per_cpu_s, "GB/CPU-s of the sender");
    }
    drop(file);
    tell("writes");
    add("write of 100 KiB into fresh pages", write(folder, 100 << 10, time)?, "GB/CPU-s");
    add("write of 16 KiB into fresh pages", write(folder, 16 << 10, time)?, "GB/CPU-s");
    tell("fdatasync");
    let synced = fdatasync(folder, time)?;
    add("append of 16 KiB and fdatasync", synced.per_s, "/s");
    add("append of 16 KiB and fdatasync, p50", synced.p50_ms, "ms");
    add("append of 16 KiB and fdatasync, p99", synced.p99_ms, "ms");
    Ok(figures)
}

/// How many appends of 16 KiB, each followed by fdatasync, are done in a second.
pub fn syncs(data: &Path, time: Duration) -> Result<f64> {
    Ok(fdatasync(folder(data)?.path(), time)?.per_s)
}

fn folder(data: &Path) -> Result<Scratch> {
    let folder = Scratch::below(data, "limits")?;
    files::sync_file_system(folder.path())?;
    Ok(folder)
}

/// Calls for each second of CPU time.
fn syscalls(time: Duration) -> f64 {
    let (until, before) = (Instant::now() + time, cpu::of_thread());
    let mut calls = 0u32;
    while Instant::now() < until {
        for _ in 0..1000 {
            black_box(cpu::cheapest_call());
        }
        calls += 1000;
    }
    f64::from(calls) / (cpu::of_thread() - before).as_secs_f64()
}

fn crc32c(time: Duration) -> f64 {
    let batch = vec![0x5a; 100 << 10];
    let (until, before) = (Instant::now() + time, cpu::of_thread());
    let mut bytes = 0;
    while Instant::now() < until {
        black_box(::crc32c::crc32c(black_box(&batch)));
        bytes += batch.len();
    }
    bytes as f64 / 1e9 / (cpu::of_thread() - before).as_secs_f64()
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    gb_per_s: f64,
    gb_per_cpu_s: f64,
}

impl Sent {
    fn new(bytes: u64, wall: Duration, cpu: Duration) -> Self {
        let gb = bytes as f64 / 1e9;
        Self { gb_per_s: gb / wall.as_secs_f64(), gb_per_cpu_s: gb / cpu.as_secs_f64() }
    }
}

/// Two ends of a connection over loopback.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").doing("listening")?;
    let there = TcpStream::connect(listener.local_addr().doing("listening")?).doing("connecting")?;
    let (here, _) = listener.accept().doing("accepting")?;
    for end in [&here, &there] {
        end.set_nodelay(true).doing("a socket")?;
    }
    Ok((here, there))
}

fn loopback(time: Duration) -> Result<Sent> {
    let (mut sender, receiver) = pair()?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || discard_all(&receiver));
        let block = vec![0x5a; 128 << 10];
        let (started, before) = (Instant::now(), cpu::of_thread());
        let mut bytes = 0;
        while started.elapsed() < time {
            sender.write_all(&block).doing("sending")?;
            bytes += block.len() as u64;
        }
        let sent = Sent::new(bytes, started.elapsed(), cpu::of_thread() - before);
        drop(sender);
        ended(reader.join())?;
        Ok(sent)
    })
}

fn discard_all(stream: &TcpStream) -> Result<()> {
    let mut discard = Discard::new();
    while discard.up_to(stream, 4 << 20).doing("receiving")? > 0 {}
    Ok(())
}

fn ended<T>(joined: thread::Result<Result<T>>) -> Result<T> {
    joined.unwrap_or_else(|_| Err(Error::Target("a thread of the harness ended".to_owned())))
}

/// A file in the page cache.
fn filled(folder: &Path) -> Result<File> {
    let path = folder.join("filled");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .doing(path.display())?;
    let block = vec![0x5a; 1 << 20];
    for _ in 0..FILE / block.len() as u64 {
        file.write_all(&block).doing(path.display())?;
    }
    files::sync_data(&file)?;
    Ok(file)
}

/// A server that answers each request with the next part of a file, and a reader that keeps some requests in flight and discards.
fn sendfile(file: &File, bytes: usize, time: Duration) -> Result<Sent> {
    let (here, mut there) = pair()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || serve_file(&here, file, bytes));
        let mut discard = Discard::new();
        let started = Instant::now();
        there.write_all(&[0; REQUEST * DEPTH]).doing("sending")?;
        while started.elapsed() < time {
            let mut left = bytes;
            while left > 0 {
                match discard.up_to(&there, left).doing("receiving")? {
                    0 => return ended(server.join()),
                    gone => left -= gone,
                }
            }
            there.write_all(&[0; REQUEST]).doing("sending")?;
        }
        // What is in flight is still served, and nothing after it.
        there.shutdown(std::net::Shutdown::Write).doing("a socket")?;
        discard_all(&there)?;
        ended(server.join())
    })
}

fn serve_file(mut stream: &TcpStream, file: &File, bytes: usize) -> Result<Sent> {
    let (started, before) = (Instant::now(), cpu::of_thread());
    let mut requests = [0; REQUEST * 16];
    let (mut partial, mut at, mut sent) = (0, 0, 0u64);
    loop {
        let read = stream.read(&mut requests).doing("receiving")?;
        if read == 0 {
            return Ok(Sent::new(sent, started.elapsed(), cpu::of_thread() - before));
        }
        partial += read;
        while partial >= REQUEST {
            partial -= REQUEST;
            let mut left = bytes;
            while left > 0 {
                let gone = files::send(stream, file, at + (bytes - left) as u64, left)?;
                left -= gone;
            }
            sent += bytes as u64;
            at = (at + bytes as u64) % FILE;
        }
    }
}

/// Buffered writes into a new file, and another one when that has 1 GiB.
fn write(folder: &Path, bytes: usize, time: Duration) -> Result<f64> {
    const LARGEST: u64 = 1 << 30;
    let block = vec![0x5a; bytes];
    let (until, mut spent, mut written) = (Instant::now() + time, Duration::ZERO, 0u64);
    while Instant::now() < until {
        let path = folder.join("written");
        let file = File::create(&path).doing(path.display())?;
        let mut at = 0;
        let before = cpu::of_thread();
        while at < LARGEST && Instant::now() < until {
            file.write_all_at(&block, at).doing(path.display())?;
            at += bytes as u64;
        }
        spent += cpu::of_thread() - before;
        written += at;
        std::fs::remove_file(&path).doing(path.display())?;
    }
    Ok(written as f64 / 1e9 / spent.as_secs_f64())
}

#[derive(Clone, Copy, Debug)]
struct Synced {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn fdatasync(folder: &Path, time: Duration) -> Result<Synced> {
    let path = folder.join("synced");
    let mut file = File::create(&path).doing(path.display())?;
    let block = [0x5a; 16 << 10];
    let mut latencies = Latencies::new();
    let started = Instant::now();
    let mut count = 0u32;
    while started.elapsed() < time {
        let begun = Instant::now();
        file.write_all(&block).doing(path.display())?;
        files::sync_data(&file)?;
        latencies.record(begun.elapsed());
        count += 1;
    }
    let wall = started.elapsed().as_secs_f64();
    let summary = latencies.summary(Since::Sent);
    let ms = |percentile| summary.as_ref().and_then(|found| found.ms(percentile)).unwrap_or(f64::NAN);
    Ok(Synced { per_s: f64::from(count) / wall, p50_ms: ms(50.0), p99_ms: ms(99.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_measured_and_plausible() {
        let folder = tempfile::tempdir().unwrap();
        let figures = all(folder.path(), Duration::from_millis(150), |_| {}).unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left behind");
        let of = |name: &str, unit: &str| {
            let found = figures.iter().find(|figure| figure.name.starts_with(name) && figure.unit == unit);
            found.unwrap_or_else(|| panic!("{name} in {unit}")).value
        };
        assert!((10.0..100_000.0).contains(&of("cheapest", "ns")));
        // A machine that is slower, or faster, by a factor of a hundred is not one that anybody measures on.
        for (name, unit) in [
            ("CRC-32C", "GB/CPU-s"),
            ("loopback", "GB/s"),
            ("sendfile, 1 MiB", "GB/CPU-s of the sender"),
            ("sendfile, 128 KiB", "GB/s"),
            ("write of 100", "GB/CPU-s"),
            ("write of 16", "GB/CPU-s"),
        ] {
            assert!((0.01..1000.0).contains(&of(name, unit)), "{name}: {}", of(name, unit));
        }
        assert!(of("append of 16 KiB and fdatasync", "/s") > 1.0);
    }
}
