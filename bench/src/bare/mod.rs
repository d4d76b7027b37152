//! The least that a broker could do: a thread for each connection, which receives, checks the checksum, writes, and answers; and which
//! answers fetches by `sendfile`. No records are looked at, nothing is indexed, nothing outlives it. What the workloads that it can do come
//! to with it is the limit that they are compared with: the same driver, the same requests, the same machine.

mod answers;
mod topics;

use crate::error::{Doing, Result};
use answers::Answer;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use topics::Topics;

/// Requests are smaller.
const LARGEST: usize = 2 << 20;

/// Serves until it is ended; writes its address into `ports` once it does.
pub fn serve(data: &Path, ports: &Path) -> Result<()> {
    fs::create_dir_all(data).doing(data.display())?;
    let listener = TcpListener::bind("127.0.0.1:0").doing("listening")?;
    let address = listener.local_addr().doing("listening")?;
    let topics = Arc::new(Topics::new(data));
    // Whole at once: whoever waits for it reads it as soon as it is there.
    let unfinished = ports.with_extension("unfinished");
    fs::write(&unfinished, format!("{{\"kafka\": \"{address}\"}}")).doing(unfinished.display())?;
    fs::rename(&unfinished, ports).doing(ports.display())?;
    loop {
        let (stream, _) = listener.accept().doing("accepting")?;
        let topics = Arc::clone(&topics);
        thread::spawn(move || {
            // A connection that breaks, or asks for what is not there, ends; the driver will tell.
            if let Err(error) = connection(&stream, &topics, &address.to_string()) {
                eprintln!("{error}");
            }
        });
    }
}

/// Answers what has arrived, all of it with one write where no file is sent.
fn connection(mut stream: &TcpStream, topics: &Topics, address: &str) -> Result<()> {
    stream.set_nodelay(true).doing("a socket")?;
    let mut inbox = vec![0; LARGEST];
    let mut filled = 0;
    let mut out = Vec::new();
    loop {
        match stream.read(&mut inbox[filled..]).doing("receiving")? {
            0 => return Ok(()),
            read => filled += read,
        }
        let mut at = 0;
        while let Some(size) = inbox[at..filled].first_chunk::<4>() {
            let size = u32::from_be_bytes(*size) as usize;
            let Some(frame) = inbox[at + 4..filled].get_mut(..size) else { break };
            match answers::answer(frame, topics, address)? {
                Answer::Bytes(bytes) => out.extend_from_slice(&bytes),
                Answer::File { head, file, at, len, tail } => {
                    out.extend_from_slice(&head);
                    crate::os::sockets::send_and_more_follows(stream, &out).doing("sending")?;
                    send_file(stream, &file, at, len)?;
                    out.clear();
                    out.extend_from_slice(&tail);
                }
                Answer::Nothing => {}
            }
            at += 4 + size;
        }
        if !out.is_empty() {
            stream.write_all(&out).doing("sending")?;
            out.clear();
        }
        inbox.copy_within(at..filled, 0);
        filled -= at;
    }
}

fn send_file(stream: &TcpStream, file: &fs::File, at: u64, len: usize) -> Result<()> {
    let mut sent = 0;
    while sent < len {
        sent += crate::os::files::send(stream, file, at + sent as u64, len - sent)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::admin::Admin;
    use std::time::{Duration, Instant};

    fn started(folder: &Path) -> String {
        let (data, ports) = (folder.join("data"), folder.join("ports.json"));
        let found = ports.clone();
        // It ends with the test's process.
        thread::spawn(move || serve(&data, &ports));
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(text) = fs::read_to_string(&found) {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                return value["kafka"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < until, "it does not start");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_produced_is_read_back() {
        use crate::measure::window::Window;
        use crate::wire::fetch::read_back;
        use crate::wire::prepared::{Fetch, Produce};
        use crate::wire::produce::{Producers, check};
        use crate::workload::Load;

        let folder = tempfile::tempdir().unwrap();
        let address = started(folder.path());
        let mut admin = Admin::connect(&address).unwrap();
        assert_eq!(admin.brokers().unwrap(), 1);
        let load = Load { partitions: 3, records_per_request: 7, connections: 2, ..Load::default() };
        let id = admin.create_topic("t", 3, &[("file.delete.delay.ms", "1000")]).unwrap();
        let prepared = Produce::prepare(&load, id).unwrap();
        let window = Window::default();
        let outcome = thread::scope(|scope| {
            let producers = scope.spawn(|| {
                Producers::connect(&address, &load, &prepared, None, &window, (0, 1)).unwrap().run().unwrap()
            });
            while window.through().requests < 100 {
                thread::sleep(Duration::from_millis(1));
            }
            window.close();
            producers.join().unwrap()
        });
        let ends = admin.end_offsets("t", 3).unwrap();
        let records = check(&[outcome], &load, &ends).unwrap();
        assert!(records >= 700);
        let fetch = Fetch::prepare(id, 100_000, 10).unwrap();
        assert_eq!(read_back(&address, &fetch, &ends).unwrap(), records);
        admin.delete_topic("t").unwrap();
        assert!(admin.end_offsets("t", 3).is_err());
    }

    #[test]
    fn it_promises_nothing_that_it_does_not_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut admin = Admin::connect(&started(folder.path())).unwrap();
        let refused = admin.create_topic("t", 1, &[("flush.messages", "1")]).unwrap_err().to_string();
        assert!(refused.contains("INVALID_CONFIG"), "{refused}");
    }
}
