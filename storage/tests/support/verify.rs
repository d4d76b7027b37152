//! What must hold when a log has been opened again.

use super::model::Model;
use super::workload::Context;
use millrace_io::Io;
use millrace_io::simulated::{Host, SimIo};
use millrace_proto::batch::{Header, verify};
use millrace_proto::files::{OffsetIndexEntry, TimeIndexEntry, parse_offset_file_name};
use millrace_storage::{ReadError, Recovery};
use std::path::Path;

/// How the life before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    PowerCut,
    Kill,
    Clean,
}

/// Compares a log that was just opened with the model, and makes the model what the log is now.
pub async fn verify_opened(cx: &Context, found: &Recovery, end: End) -> Result<(), String> {
    check_bounds(&cx.model.borrow(), found, end)?;
    for range in &found.quarantined {
        let model = cx.model.borrow();
        if let Some(innocent) =
            range.clone().find(|o| *o < model.durable && *o >= model.log_start && !model.is_damaged(*o))
        {
            return Err(format!("{range:?} is quarantined although {innocent} was durable and not damaged"));
        }
    }
    let log = read_all(cx, found).await?;
    check_durable(&cx.model.borrow(), &log, found)?;
    let mut model = cx.model.borrow_mut();
    model.log = log;
    // What was not durable and lay behind damage may be quarantined with it, and stays so.
    model.damaged.extend(found.quarantined.iter().cloned());
    (model.log_start, model.durable, model.written) = (found.log_start, found.end, found.end);
    (model.may_cut_from, model.failed) = (i64::MAX, false);
    Ok(())
}

fn check_bounds(model: &Model, found: &Recovery, end: End) -> Result<(), String> {
    let promised = model.durable.min(model.may_cut_from);
    if found.end < promised {
        return Err(format!("the log ends at {} after {end:?}, but {promised} was durable", found.end));
    }
    let undisturbed = end == End::Kill && !model.failed && model.may_cut_from == i64::MAX;
    if undisturbed && found.end < model.written {
        return Err(format!("the log ends at {} after a kill, but {} was written", found.end, model.written));
    }
    if end == End::Clean && (found.scanned_bytes > 0 || found.cut.is_some()) && model.damaged.is_empty() {
        return Err(format!("a clean start scanned {} bytes, cut {:?}", found.scanned_bytes, found.cut));
    }
    if found.log_start > model.log_start {
        return Err(format!("the log begins at {}, not at {}", found.log_start, model.log_start));
    }
    Ok(())
}

type Batches = std::collections::BTreeMap<i64, super::model::Batch>;

/// Reads the whole log: contiguous, and nothing in it that was never appended there.
async fn read_all(cx: &Context, found: &Recovery) -> Result<Batches, String> {
    let (mut log, mut at) = (Batches::new(), found.log_start);
    while at < found.end {
        let extents = match cx.log.read(at, found.end, 50_000, true).await {
            Ok(extents) => extents,
            Err(ReadError::Quarantined(range)) => {
                let model = cx.model.borrow();
                if !range.clone().all(|o| model.is_damaged(o) || o >= model.durable) {
                    return Err(format!("reading {at}: {range:?} is quarantined and was not damaged"));
                }
                log.extend(model.log.range(range.clone()).map(|(base, batch)| (*base, batch.clone())));
                at = range.end;
                continue;
            }
            Err(e) => return Err(format!("reading {at}: {e}")),
        };
        if extents.is_empty() {
            return Err(format!("nothing at {at}, the log ends at {}", found.end));
        }
        for extent in extents {
            let bytes = cx.log.read_bytes(&extent).await.map_err(|e| e.to_string())?;
            at = take_batches(&cx.model.borrow(), &bytes, at, &mut log)?;
            if at != extent.end_offset
                && !(extent.base_offset..at.max(extent.end_offset)).any(|o| cx.model.borrow().is_damaged(o))
            {
                return Err(format!("an extent says that it ends at {}, it ends at {at}", extent.end_offset));
            }
        }
    }
    Ok(log)
}

fn take_batches(model: &Model, mut bytes: &[u8], mut at: i64, log: &mut Batches) -> Result<i64, String> {
    while !bytes.is_empty() {
        if let Some((base, batch)) = model.log.range(..=at).next_back().filter(|_| model.is_damaged(at)) {
            // What a damaged batch says about itself means nothing.
            log.insert(*base, batch.clone());
            (at, bytes) = (batch.end, bytes.get(batch.bytes.len()..).unwrap_or_default());
            continue;
        }
        let header = Header::parse(bytes).map_err(|e| format!("at {at}: {e}"))?;
        let (batch, rest) = bytes.split_at(header.size().min(bytes.len()));
        let first = log.is_empty() && header.base_offset <= at;
        if header.base_offset != at && !first {
            return Err(format!("offset {} follows where {at} is due", header.base_offset));
        }
        let candidates = model.ever.get(&header.base_offset);
        match candidates.and_then(|all| all.iter().rev().find(|b| b.bytes == batch)) {
            Some(known) => {
                log.insert(header.base_offset, known.clone());
            }
            None => {
                return Err(format!(
                    "the batch at {} was never appended (valid: {})",
                    header.base_offset,
                    verify(batch).is_ok()
                ));
            }
        }
        at = header.next_offset();
        bytes = rest;
    }
    Ok(at)
}

fn check_durable(model: &Model, log: &Batches, found: &Recovery) -> Result<(), String> {
    let promised = model.durable.min(model.may_cut_from);
    let from = found.log_start.max(model.log_start);
    for (base, batch) in model.log.iter().filter(|(_, b)| b.end <= promised && b.end > from) {
        if log.get(base) != Some(batch) && !model.is_damaged(*base) {
            return Err(format!("durable offsets {base}..{} are not what they were", batch.end));
        }
    }
    Ok(())
}

/// Indexes agree with their segments: ascending, each entry points to the batch it names, timestamps are true.
pub fn check_indexes(host: &Host, names: &[String], dir: &Path) -> Result<(), String> {
    for base in names.iter().filter_map(|name| parse_offset_file_name(name, ".log")) {
        let file = |suffix: &str| host.peek(&dir.join(format!("{base:020}{suffix}"))).unwrap_or_default();
        let batches = headers(&file(".log"));
        let mut last = None;
        for entry in OffsetIndexEntry::all(&file(".index")) {
            let named = batches.iter().find(|(at, _)| *at == u64::from(entry.position));
            let right =
                named.is_some_and(|(_, h)| h.last_offset() == base + i64::from(entry.relative_offset));
            if !right || last >= Some(entry.relative_offset) {
                return Err(format!("segment {base}: offset index entry {entry:?} is wrong"));
            }
            last = Some(entry.relative_offset);
        }
        let mut latest = None;
        for entry in TimeIndexEntry::all(&file(".timeindex")) {
            let upto = batches
                .iter()
                .take_while(|(_, h)| h.last_offset() <= base + i64::from(entry.relative_offset));
            let right = upto.map(|(_, h)| h.max_timestamp).max() == Some(entry.timestamp);
            if !right || latest >= Some(entry.timestamp) {
                return Err(format!("segment {base}: time index entry {entry:?} is wrong"));
            }
            latest = Some(entry.timestamp);
        }
    }
    Ok(())
}

/// Positions and headers of a segment's batches, as far as they can be read.
pub fn headers(segment: &[u8]) -> Vec<(u64, Header)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(header) = Header::parse(&segment[at..]) {
        found.push((at as u64, header));
        at += header.size();
        if at >= segment.len() {
            break;
        }
    }
    found
}

/// The names in the log's directory.
pub async fn names(io: &SimIo, dir: &Path) -> Vec<String> {
    let entries = io.read_dir(dir).await.unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}
