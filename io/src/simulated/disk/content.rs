//! What one file holds: what reads see, and what a power cut may leave of it.
//!
//! Reads see every completed write (the page cache). Beside that, each sector written since the last sync keeps what
//! the disk surely has (its *base*) and what it held in between, and each unsynced change of length is remembered. A
//! power cut chooses by seed, for each such sector and for the length on its own: nothing but the base is promised.

use super::super::rng::Rng;
use bytes::Bytes;
use std::collections::BTreeMap;

/// More unsynced versions of one sector, or more unsynced lengths, are not kept: the oldest counts as written back then.
const VERSIONS: usize = 8;
const LENGTHS: usize = 64;

/// A sector's bytes; `None` where nothing was ever written.
type Image = Option<Box<[u8]>>;

struct Dirty {
    /// What the disk surely has, unless something newer got there.
    base: Image,
    /// Superseded, unsynced versions, oldest first, with the number of the write that made each.
    superseded: Vec<(u64, Image)>,
    /// The write that made what reads see.
    latest: u64,
    /// A failed sync marked it clean: no later sync writes it, unless it is written again.
    forsaken: bool,
}

/// One file's bytes.
pub(super) struct Content {
    bytes: Vec<u8>,
    sector: u64,
    dirty: BTreeMap<u64, Dirty>,
    durable_len: u64,
    /// Unsynced lengths, oldest first, with the number of the change.
    lengths: Vec<(u64, u64)>,
    changes: u64,
}

/// Which of several things survive.
pub(super) enum Fate {
    All,
    None,
    First(usize),
    Some(f64),
}

impl Fate {
    /// Independent coins alone would hardly ever leave all, none, or a clean prefix.
    pub(super) fn draw(rng: &mut Rng, of: usize) -> Self {
        match rng.below(6) {
            0 => Fate::All,
            1 => Fate::None,
            2 | 3 => Fate::First(rng.index(of + 1)),
            _ => Fate::Some(rng.within(1..=7) as f64 / 8.0),
        }
    }

    pub(super) fn spares(&self, index: usize, rng: &mut Rng) -> bool {
        match self {
            Fate::All => true,
            Fate::None => false,
            Fate::First(count) => index < *count,
            Fate::Some(probability) => rng.chance(*probability),
        }
    }
}

impl Content {
    pub(super) fn new(sector: usize) -> Self {
        Self {
            bytes: Vec::new(),
            sector: sector.max(1) as u64,
            dirty: BTreeMap::new(),
            durable_len: 0,
            lengths: Vec::new(),
            changes: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn sector(&self) -> u64 {
        self.sector
    }

    /// What reads see.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Up to `len` bytes from `offset`, fewer where the file ends.
    pub(super) fn read(&self, offset: u64, len: u64) -> Bytes {
        let start = offset.min(self.len());
        let end = offset.saturating_add(len).min(self.len());
        Bytes::copy_from_slice(&self.bytes[start as usize..end as usize])
    }

    /// Writes the first `take` bytes of `bufs`.
    pub(super) fn write(&mut self, offset: u64, bufs: &[Bytes], take: u64) {
        if take == 0 {
            return;
        }
        let end = offset + take;
        self.changes += 1;
        self.keep_images(offset / self.sector, end.div_ceil(self.sector));
        if end > self.len() {
            self.bytes.resize(end as usize, 0);
            self.note_length();
        }
        let mut room = &mut self.bytes[offset as usize..end as usize];
        for buf in bufs {
            let (here, rest) = room.split_at_mut(buf.len().min(room.len()));
            here.copy_from_slice(&buf[..here.len()]);
            room = rest;
        }
    }

    pub(super) fn truncate(&mut self, len: u64) {
        if len == self.len() {
            return;
        }
        self.changes += 1;
        if len < self.len() {
            self.keep_images(len / self.sector, self.len().div_ceil(self.sector));
        }
        self.bytes.resize(len as usize, 0);
        self.note_length();
    }

    fn note_length(&mut self) {
        if self.lengths.len() == LENGTHS {
            self.durable_len = self.lengths.remove(0).1;
        }
        self.lengths.push((self.changes, self.len()));
    }

    fn image(&self, sector: u64) -> Image {
        let start = (sector * self.sector) as usize;
        let present = self.bytes.get(start..)?;
        if present.is_empty() {
            return None;
        }
        let mut image = vec![0; self.sector as usize].into_boxed_slice();
        let count = present.len().min(image.len());
        image[..count].copy_from_slice(&present[..count]);
        Some(image)
    }

    /// Remembers what these sectors hold, before they change.
    fn keep_images(&mut self, from: u64, to: u64) {
        for sector in from..to {
            let image = self.image(sector);
            let latest = self.changes;
            let Some(dirty) = self.dirty.get_mut(&sector) else {
                let fresh = Dirty { base: image, superseded: Vec::new(), latest, forsaken: false };
                self.dirty.insert(sector, fresh);
                continue;
            };
            if dirty.superseded.len() == VERSIONS {
                dirty.base = dirty.superseded.remove(0).1;
            }
            // A version that a failed sync gave up is one that no sync under way can make durable.
            if !dirty.forsaken {
                dirty.superseded.push((dirty.latest, image));
            }
            dirty.latest = latest;
            dirty.forsaken = false;
        }
    }

    /// What a sync submitted now covers: changes up to this number.
    pub(super) fn sync_point(&self) -> u64 {
        self.changes
    }

    /// A sync of everything up to `point` has succeeded.
    pub(super) fn synced(&mut self, point: u64) {
        self.dirty.retain(|_, dirty| {
            if dirty.latest <= point || dirty.forsaken {
                return dirty.forsaken;
            }
            if let Some(covered) = dirty.superseded.iter().rposition(|(change, _)| *change <= point) {
                dirty.base = dirty.superseded.drain(..=covered).next_back().and_then(|(_, image)| image);
            }
            true
        });
        if let Some(covered) = self.lengths.iter().rposition(|(change, _)| *change <= point) {
            self.durable_len = self.lengths[covered].1;
            self.lengths.drain(..=covered);
        }
    }

    /// A sync of everything up to `point` has failed: what it covers is clean now, but perhaps not on the disk.
    pub(super) fn sync_failed(&mut self, point: u64, rng: &mut Rng) {
        let fate = Fate::draw(rng, self.dirty.len());
        let mut index = 0;
        self.dirty.retain(|_, dirty| {
            if dirty.latest > point || dirty.forsaken {
                return true;
            }
            index += 1;
            dirty.forsaken = true;
            !fate.spares(index - 1, rng)
        });
    }

    /// The process has ended and the machine has not: the page cache stays. Pages that a failed sync marked clean may
    /// have been dropped from it; what is read then is what the disk has.
    pub(super) fn killed(&mut self, rng: &mut Rng) {
        if !self.dirty.values().any(|dirty| dirty.forsaken) || rng.chance(0.5) {
            return;
        }
        let forsaken: Vec<u64> =
            self.dirty.iter().filter(|(_, dirty)| dirty.forsaken).map(|(sector, _)| *sector).collect();
        for sector in forsaken {
            if let Some(dirty) = self.dirty.remove(&sector) {
                self.put_image(sector, dirty.base.as_deref());
            }
        }
    }

    /// The power was cut: only what is on the disk stays. Unwritten sectors read as garbage with this probability.
    pub(super) fn power_cut(&mut self, rng: &mut Rng, garbage: f64) {
        let len = self.surviving_length(rng);
        self.bytes.resize(len as usize, 0);
        let dirty = std::mem::take(&mut self.dirty);
        let fate = Fate::draw(rng, dirty.len());
        for (index, (sector, dirty)) in dirty.into_iter().enumerate() {
            if fate.spares(index, rng) {
                // Mostly the latest version got there, sometimes one that was superseded before the cut.
                if matches!(fate, Fate::Some(_)) && !dirty.superseded.is_empty() && rng.chance(0.25) {
                    let version = rng.index(dirty.superseded.len());
                    self.put_image(sector, dirty.superseded[version].1.as_deref());
                }
            } else if dirty.base.is_none() && rng.chance(garbage) {
                let mut noise = vec![0; self.sector as usize];
                rng.fill(&mut noise);
                self.put_image(sector, Some(&noise));
            } else {
                self.put_image(sector, dirty.base.as_deref());
            }
        }
        self.lengths.clear();
        self.durable_len = len;
    }

    fn surviving_length(&mut self, rng: &mut Rng) -> u64 {
        let Some(newest) = self.lengths.last().map(|(_, len)| *len) else { return self.durable_len };
        let chosen = match rng.below(4) {
            0 => return self.durable_len,
            1 => return newest,
            _ => rng.index(self.lengths.len()),
        };
        let before = if chosen == 0 { self.durable_len } else { self.lengths[chosen - 1].1 };
        let len = self.lengths[chosen].1;
        // A long write's length may have reached the disk piece by piece.
        if len > before + self.sector && rng.chance(0.5) {
            return (rng.within(before..=len) / self.sector * self.sector).max(before);
        }
        len
    }

    /// Puts a sector's bytes back, as far as the file reaches.
    fn put_image(&mut self, sector: u64, image: Option<&[u8]>) {
        let start = ((sector * self.sector) as usize).min(self.bytes.len());
        let end = (start + self.sector as usize).min(self.bytes.len());
        let room = &mut self.bytes[start..end];
        match image {
            Some(image) => room.copy_from_slice(&image[..room.len()]),
            None => room.fill(0),
        }
    }

    /// Inverts the bits of `mask` in one byte, in the cache and on the disk. False where the file has no such byte.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) -> bool {
        let Some(byte) = self.bytes.get_mut(offset as usize) else { return false };
        *byte ^= mask;
        let within = (offset % self.sector) as usize;
        if let Some(Dirty { base: Some(base), .. }) = self.dirty.get_mut(&(offset / self.sector)) {
            base[within] ^= mask;
        }
        true
    }
}

#[cfg(test)]
#[path = "content_test.rs"]
mod tests;
