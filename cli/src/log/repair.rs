//! Makes a damaged partition whole again, as its operator decides: skip what is damaged, or cut the log off there. What is removed is kept
//! beside the segment. Needs the broker stopped.
//!
//! Skipping puts batches without records in the place of the offsets that are gone, as compaction does: readers go on behind them.

use super::{at, directory, names, segments};
use crate::exit::{Failure, Outcome};
use crate::output;
use millrace_io::uring::Lock;
use millrace_proto::batch::{Header, placeholder, verify};
use millrace_proto::files::{
    CLEANER_OFFSETS, HIGH_WATERMARKS, INDEX_SUFFIX, LOCK, LOG_SUFFIX, PartitionOffset, RECENT_BATCHES_SUFFIX,
    RECOVERY_POINTS, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, encode_offsets, offset_file_name,
    parse_offset_file_name, parse_offsets, parse_partition_dir_name,
};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a start writes about damage that it knows of.
const QUARANTINE: &str = "quarantine-checkpoint";
/// Bytes looked through at once for the next batch.
const WINDOW: usize = 1 << 20;
/// Where a batch's magic is, which spares nearly all positions a closer look.
const MAGIC_AT: usize = 16;

/// What to do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Only say what there is.
    None,
    /// Readers go on behind it.
    Skip,
    /// The log ends before it.
    Truncate,
}

/// Repairs one partition.
pub fn run(dir: &Path, remedy: Remedy) -> Outcome {
    let data_dir = dir.join("..");
    let _lock = lock(&data_dir)?;
    let partition = Partition::survey(dir, &data_dir)?;
    let mut out = output::out();
    for damage in &partition.damage {
        writeln!(out, "{damage}")?;
    }
    let count = partition.damage.len();
    let ranges = if count == 1 { "range".to_owned() } else { format!("{count} ranges") };
    match (count, remedy) {
        (0, _) => writeln!(out, "{}: nothing to repair", dir.display())?,
        (_, Remedy::None) => {
            let from = partition.damage[0].from;
            writeln!(out, "--skip: readers go on behind the damaged {ranges}")?;
            writeln!(out, "--truncate: the log ends at offset {from}, and what lies behind it goes")?;
            out.flush()?;
            return Err(Failure::new("nothing was changed: choose --skip or --truncate".to_owned()));
        }
        (_, Remedy::Skip) => {
            partition.skip(&mut out)?;
            writeln!(out, "{}: readers go on behind the damaged {ranges}", dir.display())?;
        }
        (_, Remedy::Truncate) => {
            let from = partition.damage[0].from;
            partition.truncate(&mut out)?;
            writeln!(out, "{}: the log ends at offset {from}", dir.display())?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The data directory's lock, which a broker holds for as long as it runs. A directory that was copied somewhere else has none.
fn lock(data_dir: &Path) -> Result<Option<Lock>, Failure> {
    let path = data_dir.join(LOCK);
    if !path.exists() {
        return Ok(None);
    }
    Lock::take(&path).map(Some).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => {
            Failure::usage(format!("a broker is running on {}: stop it first", data_dir.display()))
        }
        _ => at(&path, error),
    })
}

/// A range of a segment that is not sound.
#[derive(Debug)]
struct Damage {
    base: i64,
    /// Bytes of the segment; may be none where only offsets are missing.
    begin: u64,
    end: u64,
    /// Offsets that cannot be read; may be none.
    from: i64,
    upto: i64,
    /// The epoch of what lies before, or else behind.
    leader_epoch: i32,
    why: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, begin, end, from, upto, why, .. } = self;
        write!(f, "{}: ", offset_file_name(*base, LOG_SUFFIX))?;
        match upto - from {
            0 => write!(f, "no offset")?,
            1 => write!(f, "offset {from}")?,
            _ => write!(f, "offsets {from} to {}", upto - 1)?,
        }
        write!(f, ", bytes {begin} to {end}: {why}")
    }
}

struct Partition {
    dir: PathBuf,
    data_dir: PathBuf,
    bases: Vec<i64>,
    damage: Vec<Damage>,
}

/// A sound batch, or why there is none.
type Look = Result<Header, String>;

impl Partition {
    fn survey(dir: &Path, data_dir: &Path) -> Result<Self, Failure> {
        let bases = segments(dir)?;
        if bases.is_empty() {
            return Err(Failure::usage(format!(
                "{} holds no segment: name a partition's directory",
                dir.display()
            )));
        }
        let mut partition = Self {
            dir: dir.to_owned(),
            data_dir: data_dir.to_owned(),
            bases: bases.clone(),
            damage: Vec::new(),
        };
        let durable = partition.checkpoint(RECOVERY_POINTS)?.unwrap_or(0);
        for (nth, base) in bases.iter().enumerate() {
            let path = partition.file(*base, LOG_SUFFIX);
            // The last one must hold what was durable; what lies behind that, a start cuts by itself.
            let end = bases.get(nth + 1).copied();
            partition.survey_segment(*base, end, durable).map_err(|error| at(&path, error))?;
        }
        Ok(partition)
    }

    fn survey_segment(&mut self, base: i64, end: Option<i64>, durable: i64) -> io::Result<()> {
        let file = File::open(self.file(base, LOG_SUFFIX))?;
        let len = file.metadata()?.len();
        let (mut position, mut due, mut epoch) = (0, base, 0);
        let limit = end.unwrap_or(i64::MAX);
        while position < len {
            let why = match look(&file, position, len)? {
                Ok(header) if header.base_offset == due && header.next_offset() <= limit => {
                    (position, due, epoch) =
                        (position + header.size() as u64, header.next_offset(), header.leader_epoch);
                    continue;
                }
                Ok(header) => format!("offset {} where {due} is due", header.base_offset),
                Err(why) => why,
            };
            let (begin, from) = (position, due);
            match next_sound(&file, position, len, due..limit)? {
                Some((at, header)) => {
                    (position, due) = (at, header.base_offset);
                    if begin == 0 {
                        epoch = header.leader_epoch;
                    }
                }
                None => {
                    (position, due) = (len, end.unwrap_or(due.max(durable)));
                    if end.is_none() && due == from {
                        // Nothing that was durable: an unfinished tail, which the next start cuts.
                        return Ok(());
                    }
                }
            }
            self.damage.push(Damage {
                base,
                begin,
                end: position,
                from,
                upto: due,
                leader_epoch: epoch,
                why,
            });
        }
        let upto = end.unwrap_or(due.max(durable));
        if due < upto {
            let why = "they are missing".to_owned();
            self.damage.push(Damage {
                base,
                begin: len,
                end: len,
                from: due,
                upto,
                leader_epoch: epoch,
                why,
            });
        }
        Ok(())
    }

    fn skip(&self, out: &mut impl Write) -> Outcome {
        for base in &self.bases {
            let damaged: Vec<&Damage> = self.damage.iter().filter(|damage| damage.base == *base).collect();
            if !damaged.is_empty() {
                let path = self.file(*base, LOG_SUFFIX);
                self.rewrite(*base, &damaged, out).map_err(|error| at(&path, error))?;
            }
        }
        self.forget_quarantine()
    }

    /// Puts a segment with placeholders in the place of one with damage. A crash leaves the old one or the new one.
    fn rewrite(&self, base: i64, damaged: &[&Damage], out: &mut impl Write) -> io::Result<()> {
        let path = self.file(base, LOG_SUFFIX);
        let old = File::open(&path)?;
        // A name that a start removes.
        let temporary = path.with_extension("log.tmp");
        let mut new = File::create(&temporary)?;
        let mut position = 0;
        for damage in damaged {
            copy(&old, position..damage.begin, &mut new)?;
            if damage.begin < damage.end {
                let kept = self.keep(&old, damage, damage.end)?;
                writeln!(out, "kept: {}", kept.display())?;
            }
            if damage.from < damage.upto {
                new.write_all(&placeholder(damage.from, damage.upto - 1, damage.leader_epoch))?;
            }
            position = damage.end;
        }
        copy(&old, position..old.metadata()?.len(), &mut new)?;
        new.sync_all()?;
        // Before the new bytes are there: an index that is missing is made anew, one that is wrong is believed.
        self.remove_indexes(base)?;
        fs::rename(&temporary, &path)?;
        sync(&self.dir)
    }

    fn truncate(&self, out: &mut impl Write) -> Outcome {
        let Some(first) = self.damage.first() else { return Ok(()) };
        // What may be claimed comes first: a log that is shorter than its checkpoint has lost something.
        for name in [RECOVERY_POINTS, HIGH_WATERMARKS, CLEANER_OFFSETS] {
            self.lower_checkpoint(name, first.from)?;
        }
        let failed = |error| at(&self.dir, error);
        for base in self.bases.iter().rev().filter(|base| **base > first.base) {
            self.remove_indexes(*base).map_err(failed)?;
            let (path, kept) =
                (self.file(*base, LOG_SUFFIX), self.free_name(*base, first.from).map_err(failed)?);
            fs::rename(&path, &kept).map_err(failed)?;
            writeln!(out, "kept: {}", kept.display())?;
        }
        let path = self.file(first.base, LOG_SUFFIX);
        let cut = || -> io::Result<Option<PathBuf>> {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let len = file.metadata()?.len();
            let kept = (first.begin < len).then(|| self.keep(&file, first, len)).transpose()?;
            self.remove_indexes(first.base)?;
            file.set_len(first.begin)?;
            file.sync_all()?;
            Ok(kept)
        };
        if let Some(kept) = cut().map_err(|error| at(&path, error))? {
            writeln!(out, "kept: {}", kept.display())?;
        }
        for name in names(&self.dir)? {
            let offset = [SNAPSHOT_SUFFIX, RECENT_BATCHES_SUFFIX]
                .iter()
                .find_map(|suffix| parse_offset_file_name(&name, suffix));
            if offset.is_some_and(|offset| offset > first.from) {
                fs::remove_file(self.dir.join(name)).map_err(failed)?;
            }
        }
        self.forget_quarantine()
    }

    /// Copies what is removed into a file of its own, durably.
    fn keep(&self, file: &File, damage: &Damage, end: u64) -> io::Result<PathBuf> {
        let kept = self.free_name(damage.base, damage.from)?;
        let mut copied = File::create_new(&kept)?;
        copy(file, damage.begin..end, &mut copied)?;
        copied.sync_all()?;
        sync(&self.dir)?;
        Ok(kept)
    }

    /// A name as recovery uses it for what it cuts, under which nothing was kept before.
    fn free_name(&self, base: i64, offset: i64) -> io::Result<PathBuf> {
        let first = format!("{}.cut-{offset}", offset_file_name(base, LOG_SUFFIX));
        let others = (1..).map(|attempt| format!("{first}-{attempt}"));
        let mut names = std::iter::once(first.clone()).chain(others).map(|name| self.dir.join(name));
        names.find(|path| !path.exists()).ok_or_else(|| ErrorKind::AlreadyExists.into())
    }

    fn remove_indexes(&self, base: i64) -> io::Result<()> {
        for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            remove(&self.file(base, suffix))?;
        }
        sync(&self.dir)
    }

    fn forget_quarantine(&self) -> Outcome {
        let path = self.dir.join(QUARANTINE);
        remove(&path).and_then(|()| sync(&self.dir)).map_err(|error| at(&path, error))
    }

    fn file(&self, base: i64, suffix: &str) -> PathBuf {
        self.dir.join(offset_file_name(base, suffix))
    }

    fn name(&self) -> Option<(String, i32)> {
        let dir = fs::canonicalize(&self.dir).ok()?;
        let name = dir.file_name()?.to_string_lossy().into_owned();
        parse_partition_dir_name(&name).map(|(topic, partition)| (topic.to_owned(), partition))
    }

    /// What a checkpoint says about the partition.
    fn checkpoint(&self, name: &str) -> Result<Option<i64>, Failure> {
        let entries = self.checkpoints(name)?;
        let Some((topic, partition)) = self.name() else { return Ok(None) };
        let mine = |entry: &&PartitionOffset| entry.topic == topic && entry.partition == partition;
        Ok(entries.iter().find(mine).map(|entry| entry.offset))
    }

    fn checkpoints(&self, name: &str) -> Result<Vec<PartitionOffset>, Failure> {
        let path = self.data_dir.join(name);
        match fs::read(&path) {
            Ok(content) => parse_offsets(&content).map_err(|error| at(&path, error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at(&path, error)),
        }
    }

    fn lower_checkpoint(&self, name: &str, offset: i64) -> Outcome {
        let mut entries = self.checkpoints(name)?;
        let Some((topic, partition)) = self.name() else { return Ok(()) };
        let mine = |entry: &&mut PartitionOffset| entry.topic == topic && entry.partition == partition;
        let Some(entry) = entries.iter_mut().find(mine).filter(|entry| entry.offset > offset) else {
            return Ok(());
        };
        entry.offset = offset;
        let path = self.data_dir.join(name);
        let write = || -> io::Result<()> {
            let temporary = path.with_extension("tmp");
            let mut file = File::create(&temporary)?;
            file.write_all(encode_offsets(&entries).as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync(directory(&path))
        };
        write().map_err(|error| at(&path, error))
    }
}

/// The batch at this position, if it is whole and sound.
fn look(file: &File, position: u64, len: u64) -> io::Result<Look> {
    let mut head = vec![0; (Header::SIZE as u64).min(len - position) as usize];
    file.read_exact_at(&mut head, position)?;
    let header = match Header::parse(&head) {
        Ok(header) if header.size() as u64 <= len - position => header,
        Ok(header) => {
            return Ok(Err(format!(
                "a batch of {} bytes, of which {} are there",
                header.size(),
                len - position
            )));
        }
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut batch = vec![0; header.size()];
    file.read_exact_at(&mut batch, position)?;
    Ok(verify(&batch).map_err(|error| error.to_string()))
}

/// The next sound batch behind this position with offsets within these.
fn next_sound(
    file: &File,
    position: u64,
    len: u64,
    offsets: std::ops::Range<i64>,
) -> io::Result<Option<(u64, Header)>> {
    let mut begin = position + 1;
    while begin < len {
        let mut window = vec![0; (WINDOW as u64).min(len - begin) as usize];
        file.read_exact_at(&mut window, begin)?;
        for (nth, _) in
            window.iter().enumerate().skip(MAGIC_AT).filter(|(_, byte)| **byte == Header::MAGIC as u8)
        {
            let at = begin + (nth - MAGIC_AT) as u64;
            if let Ok(header) = look(file, at, len)?
                && offsets.contains(&header.base_offset)
                && header.next_offset() <= offsets.end
            {
                return Ok(Some((at, header)));
            }
        }
        let looked = window.len().saturating_sub(MAGIC_AT);
        if looked == 0 {
            break;
        }
        begin += looked as u64;
    }
    Ok(None)
}

fn copy(from: &File, bytes: std::ops::Range<u64>, to: &mut File) -> io::Result<()> {
    let mut at = bytes.start;
    let mut window = vec![0; WINDOW.min((bytes.end - bytes.start) as usize)];
    while at < bytes.end {
        let len = window.len().min((bytes.end - at) as usize);
        from.read_exact_at(&mut window[..len], at)?;
        to.write_all(&window[..len])?;
        at += len as u64;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a directory survive a power cut.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
#[path = "repair_test.rs"]
mod tests;
