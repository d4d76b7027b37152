//! Ranges of offsets that were durable once and are damaged or gone, and the file that remembers them.
//!
//! Found by recovery, below the checkpoint. A clean start scans nothing, so they are kept in `quarantine-checkpoint`:
//! version, count, then `start end segment from to` per line (offsets; the segment's base; the bytes in it).

use crate::disk;
use bytes::Bytes;
use millrace_io::Io;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

const FILE: &str = "quarantine-checkpoint";
const VERSION: &str = "0";

/// One damaged range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Offsets without a readable batch. Empty if only bytes between two batches are damaged.
    pub(super) offsets: Range<i64>,
    /// The segment in whose bytes it lies.
    pub(super) segment: i64,
    /// The damaged bytes: reads end before, and begin behind. Empty if the bytes are not there at all.
    pub(super) bytes: Range<u64>,
}

impl Hole {
    /// Where the damaged bytes end.
    pub(super) fn end(&self) -> u64 {
        self.bytes.end
    }
}

/// All damaged ranges of a log, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Quarantine(Vec<Hole>);

impl Quarantine {
    /// Adds a range; one that touches the last one of the same segment is merged with it.
    pub(super) fn add(&mut self, hole: Hole) {
        match self.0.last_mut() {
            Some(last)
                if last.offsets.end == hole.offsets.start
                    && last.segment == hole.segment
                    && last.bytes.end == hole.bytes.start =>
            {
                last.offsets.end = hole.offsets.end;
                last.bytes.end = hole.bytes.end;
            }
            _ => self.0.push(hole),
        }
    }

    /// Forgets what was known about a segment: it is looked at again.
    pub(super) fn forget_segment(&mut self, base: i64) {
        self.0.retain(|hole| hole.segment != base);
    }

    /// Forgets what lies below the start of the log.
    pub(super) fn forget_below(&mut self, log_start: i64) {
        self.0.retain(|hole| hole.offsets.end > log_start);
    }

    /// Brings ranges from different sources into order.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|hole| hole.offsets.start);
    }

    /// The range that holds `offset`.
    pub(super) fn containing(&self, offset: i64) -> Option<&Hole> {
        self.0.iter().find(|hole| hole.offsets.contains(&offset))
    }

    /// The first range that begins behind `offset`.
    pub(super) fn next_after(&self, offset: i64) -> Option<&Hole> {
        self.0.iter().find(|hole| hole.offsets.start > offset)
    }

    /// Behind which position of `segment` an offset beyond its damage is to be looked for.
    pub(super) fn resume(&self, segment: i64, offset: i64) -> u64 {
        let behind = |hole: &&Hole| hole.segment == segment && hole.offsets.end <= offset;
        self.0.iter().filter(behind).map(|hole| hole.bytes.end).max().unwrap_or(0)
    }

    /// The range whose bytes begin at or before `position` of `segment` and end behind it.
    pub(super) fn at(&self, segment: i64, position: u64) -> Option<&Hole> {
        self.0.iter().find(|hole| hole.segment == segment && hole.bytes.contains(&position))
    }

    pub(super) fn ranges(&self) -> Vec<Range<i64>> {
        self.0.iter().map(|hole| hole.offsets.clone()).filter(|r| !r.is_empty()).collect()
    }

    /// Reads the file. One that cannot be understood is as good as none: the damage is found again when it is read.
    pub(super) async fn load<I: Io>(io: &I, dir: &Path) -> std::io::Result<Quarantine> {
        let content = disk::read_file(io, &dir.join(FILE)).await?;
        let parsed = content.as_deref().map(parse);
        if let Some(None) = parsed {
            tracing::warn!(file = %dir.join(FILE).display(), "cannot be understood and is ignored");
        }
        Ok(parsed.flatten().unwrap_or_default())
    }

    /// Writes the file, or removes it if there is nothing to remember.
    pub(super) async fn save<I: Io>(&self, io: &I, dir: &Path) -> std::io::Result<()> {
        if self.0.is_empty() {
            return disk::remove_file(io, &dir.join(FILE)).await;
        }
        disk::write_file(io, dir, FILE, Bytes::from(self.print())).await
    }

    fn print(&self) -> String {
        let mut text = format!("{VERSION}\n{}\n", self.0.len());
        for Hole { offsets, segment, bytes } in &self.0 {
            let (start, end) = (offsets.start, offsets.end);
            let _ = writeln!(text, "{start} {end} {segment} {} {}", bytes.start, bytes.end);
        }
        text
    }
}

fn parse(content: &[u8]) -> Option<Quarantine> {
    let mut lines = std::str::from_utf8(content).ok()?.lines();
    if lines.next()? != VERSION {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let holes: Vec<Hole> = lines.map(parse_line).collect::<Option<_>>()?;
    (holes.len() == count).then_some(Quarantine(holes))
}

fn parse_line(line: &str) -> Option<Hole> {
    let mut fields = line.split(' ');
    let mut offset = || fields.next()?.parse::<i64>().ok().filter(|n| *n >= 0);
    let (start, end, segment, from, to) = (offset()?, offset()?, offset()?, offset()?, offset()?);
    (start <= end && from <= to && fields.next().is_none()).then_some(Hole {
        offsets: start..end,
        segment,
        bytes: from as u64..to as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(offsets: Range<i64>, segment: i64, bytes: Range<u64>) -> Hole {
        Hole { offsets, segment, bytes }
    }

    #[test]
    fn remembers_what_it_wrote() {
        let mut holes = Quarantine::default();
        holes.add(hole(3..7, 0, 100..300));
        holes.add(hole(7..9, 0, 300..350));
        holes.add(hole(20..25, 20, 0..0));
        assert_eq!(holes.ranges(), vec![3..9, 20..25]);
        assert_eq!(parse(holes.print().as_bytes()), Some(holes));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "1\n0\n", "0\n2\n3 7 0 1 2\n", "0\n1\n7 3 0 1 2\n", "0\n1\n3 7 0 1 2 3\n", "0\nx\n"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn finds_the_way_around() {
        let mut holes = Quarantine::default();
        holes.add(hole(3..7, 0, 100..300));
        assert_eq!(holes.containing(6).map(|h| h.offsets.end), Some(7));
        assert!(holes.containing(7).is_none());
        assert_eq!(holes.next_after(1).map(|h| h.offsets.start), Some(3));
        assert_eq!((holes.resume(0, 7), holes.resume(0, 2)), (300, 0));
    }
}
