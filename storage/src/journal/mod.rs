//! One file for what the logs of a shard want durable at one time: written once for all of them, where each would sync a file
//! of its own.
//!
//! A log hands over what it writes ([`Journal::add`]) and is told when that is in the journal ([`Member::journaled`]): then it
//! survives a power cut, for a start reads the journal and appends what the log has lost ([`found`]). The file has two
//! halves. When one is full the other is written, and meanwhile each log that is in the full one makes its own file durable;
//! after the last of them the half is free. While neither has room, logs sync their own files, as they do without a journal.
//!
//! The blocks of the file were written before, and a frame is written past the page cache: that takes one operation, where a
//! sync of a log that grew takes a commit of the file system's journal besides.
//!
//! What comes while a frame is on its way need not wait for it: the next one leaves at once. A start reads frames up to the first that
//! is not whole, so a frame counts only when those before it are there, too.

pub(crate) mod found;

use bytes::Bytes;
use millrace_io::{BLOCK, Io, Open};
use millrace_proto::files::{
    JOURNAL_BLOCK, JournalEntry, JournalPlace, encode_journal_frame, journal_file_name, journal_frame_len,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;
use uuid::Uuid;

const _: () = assert!(BLOCK == JOURNAL_BLOCK, "frames begin where blocks do");

/// At most so many bytes and entries in a frame: the next one should not have to wait for long.
const MAX_FRAME: usize = 1 << 20;
const MAX_ENTRIES: usize = 1024;
/// Entries from this size on are not worth being written twice.
const LARGEST_ENTRY: usize = 512 << 10;
/// Bytes that wait for the journal at most: what more comes is synced by its log. Requests are answered and their memory given
/// back when a log is written, so nothing else bounds what a slow disk lets gather here.
const MAX_PENDING: usize = 4 * MAX_FRAME;
/// Frames on their way to the disk at most. A frame takes a quarter of a half: they do not come round to one that is still on its way.
const AT_ONCE: usize = 4;
const _: () = assert!(AT_ONCE <= 4, "three behind the last frame of a half do not fill the other one");
/// How many logs make their files durable at once when a half is full.
const SETTLE_AT_ONCE: usize = 8;
/// How long a journal that could not be made for want of room is done without.
const RETRY: Duration = Duration::from_secs(60);
/// It takes at most this part of the room that is left: records need it more.
const SHARE_OF_ROOM: u64 = 8;
/// Zeros that a new file is filled with at once.
const FILL: usize = 1 << 20;

/// A log as its journal knows it.
pub(crate) trait Member {
    /// What was handed over from the first offset to the second survives a power cut.
    fn journaled(&self, offsets: (i64, i64));
    /// What was handed over last is not in the journal.
    fn not_journaled(self: Rc<Self>);
    /// Makes the log's own file durable below `end`; whether nothing of the journal is needed for that any more.
    fn settle(self: Rc<Self>, end: i64) -> Pin<Box<dyn Future<Output = bool>>>;
}

/// A log, by what does not change when its directory does.
pub(crate) type LogKey = (Uuid, i32);

/// A shard's journal in one data directory. A clone is another handle on the same.
pub struct Journal<I: Io>(Rc<Inner<I>>);

impl<I: Io> Clone for Journal<I> {
    fn clone(&self) -> Self {
        Journal(self.0.clone())
    }
}

/// A journal as its logs know it: it knows them, and goes with its owner.
pub(crate) struct WeakJournal<I: Io>(Weak<Inner<I>>);

impl<I: Io> WeakJournal<I> {
    pub(crate) fn upgrade(&self) -> Option<Journal<I>> {
        self.0.upgrade().map(Journal)
    }
}

struct Inner<I: Io> {
    io: I,
    dir: PathBuf,
    name: String,
    /// Bytes of a half.
    half: u64,
    run: u128,
    state: RefCell<State<I::File>>,
    /// Handed over and not written yet.
    pending: RefCell<VecDeque<Pending>>,
    /// Their bytes.
    pending_bytes: Cell<usize>,
    /// A task that will write was started, and has not looked at what there is yet.
    starting: Cell<bool>,
    flight: RefCell<Flight>,
}

/// Frames that were handed to the disk, and of which their logs do not know yet what became of them.
#[derive(Default)]
struct Flight {
    frames: VecDeque<Frame>,
    /// The number of the first of them.
    first: u64,
    /// A frame is not there: those behind it are worth nothing.
    torn: bool,
}

/// Whose an entry is, and from where to where it goes.
type Entered = (Rc<dyn Member>, (i64, i64));

struct Frame {
    entries: Vec<Entered>,
    /// Whether it is there, once that is known.
    written: Option<bool>,
}

struct Pending {
    member: Rc<dyn Member>,
    entry: JournalEntry,
    bytes: usize,
}

enum State<F> {
    /// There is no file, and before this time none is tried.
    Absent(Duration),
    /// The file is being made.
    Coming,
    Ready(Ready<F>),
    /// Done without until the next start.
    Broken,
}

struct Ready<F> {
    file: F,
    halves: [Half; 2],
    /// Which of them is written.
    current: usize,
    place: JournalPlace,
}

#[derive(Default)]
struct Half {
    /// Bytes that are taken from its beginning on.
    used: u64,
    /// Whom it holds something of, each with its end in here.
    members: BTreeMap<LogKey, (Rc<dyn Member>, i64)>,
    /// It is full, and logs make themselves independent of it.
    leaving: bool,
}

impl<F> Ready<F> {
    /// Where a frame of `len` bytes goes. `None` if there is no room for it; the half that is to be left, if one is.
    fn room(&mut self, half: u64, len: u64) -> (Option<u64>, Option<usize>) {
        let mut left = None;
        let current = &self.halves[self.current];
        if current.leaving || current.used + len > half {
            let other = 1 - self.current;
            let full = &mut self.halves[self.current];
            if !full.leaving {
                full.leaving = true;
                left = Some(self.current);
            }
            if self.halves[other].leaving || len > half {
                return (None, left);
            }
            self.current = other;
            self.halves[other] = Half::default();
            self.place = JournalPlace { generation: self.place.generation + 1, sequence: 0, ..self.place };
        }
        (Some(self.current as u64 * half + self.halves[self.current].used), left)
    }
}

impl Flight {
    fn is_full(&self) -> bool {
        self.frames.len() >= AT_ONCE
    }

    /// A frame leaves. Its number.
    fn depart(&mut self, members: Vec<Rc<dyn Member>>, entries: &[JournalEntry]) -> u64 {
        let offsets = entries.iter().map(|entry| (entry.base, entry.end));
        self.frames.push_back(Frame { entries: members.into_iter().zip(offsets).collect(), written: None });
        self.first + self.frames.len() as u64 - 1
    }

    /// It is there, or is not. The entries of which the fate is known now, each with whether its log can rely on it.
    fn arrive(&mut self, number: u64, written: bool) -> Vec<(Entered, bool)> {
        self.frames[(number - self.first) as usize].written = Some(written);
        let mut known = Vec::new();
        while let Some(there) = self.frames.front().and_then(|frame| frame.written)
            && let Some(frame) = self.frames.pop_front()
        {
            self.first += 1;
            self.torn |= !there;
            known.extend(frame.entries.into_iter().map(|entered| (entered, !self.torn)));
        }
        known
    }
}

impl<I: Io> Journal<I> {
    /// The journal of `shard` in the data directory `dir`, of about `bytes` bytes; `number` is one that no journal there has. Nothing is
    /// made before a log hands something over.
    pub fn new(io: I, dir: &Path, (number, shard): (u64, usize), bytes: u64) -> Self {
        let run = (u128::from(io.random()) << 64) | u128::from(io.random());
        Journal(Rc::new(Inner {
            dir: dir.to_path_buf(),
            name: journal_file_name(number, shard),
            half: bytes / 2 / BLOCK * BLOCK,
            run,
            state: RefCell::new(State::Absent(io.now())),
            pending: RefCell::default(),
            pending_bytes: Cell::new(0),
            starting: Cell::new(false),
            flight: RefCell::default(),
            io,
        }))
    }

    /// Takes nothing any more. `clean` says that every log was closed without an error: then nobody needs the file.
    /// # Errors
    /// The file could not be removed; the next start finds nothing new in it.
    pub async fn close(&self, clean: bool) -> std::io::Result<()> {
        let was = self.0.state.replace(State::Broken);
        match was {
            State::Ready(_) if clean => self.0.io.remove_file(&self.0.dir.join(&self.0.name)).await,
            _ => Ok(()),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakJournal<I> {
        WeakJournal(Rc::downgrade(&self.0))
    }

    /// Hands over what a log writes: `bytes`, from offset `offsets.0` to `offsets.1`. `false` if the journal does not take it.
    pub(crate) fn add(
        &self,
        member: &Rc<dyn Member>,
        (topic_id, partition): LogKey,
        (base, end): (i64, i64),
        bytes: &[Bytes],
    ) -> bool {
        let inner = &self.0;
        let len: usize = bytes.iter().map(Bytes::len).sum();
        let waiting = inner.pending_bytes.get() + len;
        if len > LARGEST_ENTRY.min(inner.half as usize / 4) || waiting > MAX_PENDING || !inner.takes() {
            return false;
        }
        inner.pending_bytes.set(waiting);
        let entry = JournalEntry { topic_id, partition, base, end, bytes: bytes.to_vec() };
        inner.pending.borrow_mut().push_back(Pending { member: member.clone(), entry, bytes: len });
        if !inner.flight.borrow().is_full() && !inner.starting.replace(true) {
            inner.io.spawn(inner.clone().write_pending());
        }
        true
    }
}

impl<I: Io> Inner<I> {
    /// Whether there is a file with room, as far as is known; sees to it that there will be one.
    fn takes(self: &Rc<Self>) -> bool {
        let mut state = self.state.borrow_mut();
        match &*state {
            State::Ready(ready) => !(ready.halves[0].leaving && ready.halves[1].leaving),
            State::Absent(until) if self.half > 0 && self.io.now() >= *until => {
                *state = State::Coming;
                self.io.spawn(self.clone().make());
                false
            }
            State::Absent(_) | State::Coming | State::Broken => false,
        }
    }

    async fn make(self: Rc<Self>) {
        let made = self.make_file().await;
        if !matches!(*self.state.borrow(), State::Coming) {
            // Closed meanwhile: the next start finds it empty.
            return;
        }
        *self.state.borrow_mut() = match made {
            Ok(file) => State::Ready(Ready {
                file,
                halves: Default::default(),
                current: 0,
                place: JournalPlace { run: self.run, generation: 0, sequence: 0 },
            }),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "no journal: each log is synced by itself");
                State::Absent(self.io.now() + RETRY)
            }
        };
    }

    /// A file of which every block was written.
    async fn make_file(&self) -> std::io::Result<I::File> {
        let (path, usable) = (self.dir.join(&self.name), self.io.space(&self.dir).await?.usable);
        if usable / SHARE_OF_ROOM < self.half * 2 {
            let message = format!("{usable} bytes are left on the disk, and it would take {}", self.half * 2);
            return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, message));
        }
        let file = self.io.open(&path, Open::Create).await?;
        let filled = self.fill(&file).await;
        if let Err(error) = filled {
            // What the disk lacks room for should not take any.
            self.io.remove_file(&path).await?;
            return Err(error);
        }
        self.io.open(&path, Open::Through).await
    }

    async fn fill(&self, file: &I::File) -> std::io::Result<()> {
        let (zeros, len) = (Bytes::from(vec![0; FILL]), self.half * 2);
        self.io.allocate(file, 0, len).await?;
        let mut at = 0;
        while at < len {
            let piece = zeros.slice(..FILL.min((len - at) as usize));
            at += piece.len() as u64;
            self.io.write_at(file, at - piece.len() as u64, vec![piece]).await?;
        }
        self.io.sync(file).await?;
        self.io.sync_dir(&self.dir).await
    }

    async fn write_pending(self: Rc<Self>) {
        loop {
            self.starting.set(false);
            if self.flight.borrow().is_full() {
                // Whoever writes the first of them goes on.
                break;
            }
            let (members, entries) = self.take();
            if entries.is_empty() {
                break;
            }
            let Some((file, at, place)) = self.place(&members, &entries) else {
                members.into_iter().for_each(|member| member.not_journaled());
                continue;
            };
            let number = self.flight.borrow_mut().depart(members, &entries);
            let written = self.io.write_through(&file, at, encode_journal_frame(place, &entries)).await;
            if let Err(error) = &written {
                tracing::error!(dir = %self.dir.display(), %error, "the journal cannot be written: each log is synced by itself until the restart");
                *self.state.borrow_mut() = State::Broken;
            }
            let known = self.flight.borrow_mut().arrive(number, written.is_ok());
            for ((member, offsets), there) in known {
                if there { member.journaled(offsets) } else { member.not_journaled() }
            }
        }
    }

    fn take(&self) -> (Vec<Rc<dyn Member>>, Vec<JournalEntry>) {
        let most = MAX_FRAME.min(self.half as usize / 4);
        let mut pending = self.pending.borrow_mut();
        let (mut bytes, mut members, mut entries) = (0, Vec::new(), Vec::new());
        let fits = |next: &Pending, bytes| bytes == 0 || bytes + next.bytes <= most;
        while entries.len() < MAX_ENTRIES
            && pending.front().is_some_and(|next| fits(next, bytes))
            && let Some(next) = pending.pop_front()
        {
            bytes += next.bytes;
            members.push(next.member);
            entries.push(next.entry);
        }
        self.pending_bytes.set(self.pending_bytes.get() - bytes);
        (members, entries)
    }

    /// Where a frame of these goes, which its half knows from now on. `None` if it goes nowhere.
    fn place(
        self: &Rc<Self>,
        members: &[Rc<dyn Member>],
        entries: &[JournalEntry],
    ) -> Option<(I::File, u64, JournalPlace)> {
        let bytes = entries.iter().flat_map(|entry| &entry.bytes).map(Bytes::len).sum();
        let len = journal_frame_len(entries.len(), bytes).next_multiple_of(BLOCK);
        let mut state = self.state.borrow_mut();
        let State::Ready(ready) = &mut *state else { return None };
        let (at, left) = ready.room(self.half, len);
        if let Some(left) = left {
            self.io.spawn(self.clone().leave(left));
        }
        let at = at?;
        let half = &mut ready.halves[ready.current];
        half.used += len;
        // Before it is written: a half is left for all that may be in it.
        for (member, entry) in members.iter().zip(entries) {
            half.members.insert((entry.topic_id, entry.partition), (member.clone(), entry.end));
        }
        let place = ready.place;
        ready.place.sequence += 1;
        Some((ready.file.clone(), at, place))
    }

    /// Makes every log that is in the half independent of it; then it may be written again.
    async fn leave(self: Rc<Self>, which: usize) {
        let members = match &mut *self.state.borrow_mut() {
            State::Ready(ready) => std::mem::take(&mut ready.halves[which].members),
            _ => return,
        };
        let left: Rc<Cell<usize>> = Rc::new(Cell::new(SETTLE_AT_ONCE));
        let queue = Rc::new(RefCell::new(members.into_values()));
        let whole = Rc::new(Cell::new(true));
        for _ in 0..SETTLE_AT_ONCE {
            let (journal, queue, whole, left) = (self.clone(), queue.clone(), whole.clone(), left.clone());
            self.io.spawn(async move {
                loop {
                    let next = queue.borrow_mut().next();
                    let Some((member, end)) = next else { break };
                    let settled = member.settle(end).await;
                    whole.set(whole.get() && settled);
                }
                left.set(left.get() - 1);
                if left.get() == 0 {
                    journal.left(which, whole.get());
                }
            });
        }
    }

    fn left(&self, which: usize, whole: bool) {
        let mut state = self.state.borrow_mut();
        if !whole {
            // What a log failed to make durable is nowhere else: the next start needs it.
            tracing::error!(dir = %self.dir.display(), "a log that the journal holds records of failed: the journal is kept for the next start");
            *state = State::Broken;
        } else if let State::Ready(ready) = &mut *state {
            ready.halves[which].leaving = false;
            if ready.current == which {
                // The other one was not free when this one was full.
                ready.halves[which] = Half::default();
                ready.place =
                    JournalPlace { generation: ready.place.generation + 1, sequence: 0, ..ready.place };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Member for Nobody {
        fn journaled(&self, _: (i64, i64)) {}
        fn not_journaled(self: Rc<Self>) {}
        fn settle(self: Rc<Self>, _: i64) -> Pin<Box<dyn Future<Output = bool>>> {
            Box::pin(std::future::ready(true))
        }
    }

    /// A frame of one entry that begins at `base` leaves.
    fn depart(flight: &mut Flight, base: i64) -> u64 {
        let entry =
            JournalEntry { topic_id: Uuid::nil(), partition: 0, base, end: base + 1, bytes: Vec::new() };
        flight.depart(vec![Rc::new(Nobody)], &[entry])
    }

    /// It arrives: of what the fate is known then, by its base.
    fn arrive(flight: &mut Flight, number: u64, written: bool) -> Vec<(i64, bool)> {
        flight.arrive(number, written).into_iter().map(|((_, (base, _)), there)| (base, there)).collect()
    }

    #[test]
    fn a_frame_counts_when_those_before_it_are_there() {
        let mut flight = Flight::default();
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|base| depart(&mut flight, base));
        assert!(flight.is_full());
        assert_eq!(arrive(&mut flight, second, true), []);
        assert_eq!(arrive(&mut flight, fourth, true), []);
        assert!(flight.is_full(), "what is behind a frame may be read only if that is there");
        assert_eq!(arrive(&mut flight, first, true), [(1, true), (2, true)]);
        assert_eq!(arrive(&mut flight, third, true), [(3, true), (4, true)]);
        let fifth = depart(&mut flight, 5);
        assert_eq!(arrive(&mut flight, fifth, true), [(5, true)]);
    }

    #[test]
    fn nothing_counts_behind_a_frame_that_is_not_there() {
        let mut flight = Flight::default();
        let (first, second) = (depart(&mut flight, 1), depart(&mut flight, 2));
        assert_eq!(arrive(&mut flight, second, true), []);
        assert_eq!(arrive(&mut flight, first, false), [(1, false), (2, false)]);
        let third = depart(&mut flight, 3);
        assert_eq!(arrive(&mut flight, third, true), [(3, false)]);
    }
}
