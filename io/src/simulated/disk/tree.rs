//! Names: directories, the files under them, and which names a power cut may take back.
//!
//! Each directory has the names that lookups see, the names that are surely on the disk, and the changes in between,
//! in order. Syncing a directory settles the changes that were made before the sync was submitted. A power cut lets a
//! seeded number of the oldest changes of each directory survive, on its own for each directory. A rename is one
//! change: never half. A rename into another directory belongs to the one it went to.

mod crash;

use super::content::Content;
use super::space::Blocks;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path};
use std::sync::Arc;

/// Names a file or directory for as long as it exists.
pub(super) type Ino = u64;

const ROOT: Ino = 1;

/// A file: its bytes, its space, and who keeps it although it may have no name any more.
pub(super) struct FileNode {
    pub(super) content: Content,
    pub(super) blocks: Blocks,
    /// Whether space was reserved since the last sync.
    pub(super) reserved: bool,
    /// Open handles hold clones.
    pub(super) lease: Arc<()>,
    linked: bool,
}

impl FileNode {
    fn is_leased(&self) -> bool {
        Arc::strong_count(&self.lease) > 1
    }
}

#[derive(Default)]
struct DirNode {
    names: BTreeMap<String, Ino>,
    durable: BTreeMap<String, Ino>,
    pending: Vec<(u64, Change)>,
    changes: u64,
}

#[derive(Clone)]
enum Change {
    Link {
        name: String,
        ino: Ino,
    },
    Unlink {
        name: String,
    },
    /// A rename within the directory.
    Move {
        from: String,
        to: String,
        ino: Ino,
    },
    /// A rename into this directory from another one.
    MoveIn {
        from_dir: Ino,
        from: String,
        to: String,
        ino: Ino,
    },
    /// The other side of a `MoveIn`: takes effect when that one does.
    MoveOut {
        name: String,
        ino: Ino,
    },
}

enum Node {
    File(Box<FileNode>),
    Dir(DirNode),
}

/// All names and what they stand for.
pub(super) struct Tree {
    nodes: BTreeMap<Ino, Node>,
    made: Ino,
    /// Files without a name that were open when they lost it, and whose space is still held.
    orphans: Vec<Ino>,
    /// Blocks that the files hold.
    used: u64,
    /// Sweep when there are more nodes than this.
    sweep_at: usize,
}

fn not_found() -> Error {
    ErrorKind::NotFound.into()
}

/// The names that lead from the root to `path`.
fn components(path: &Path) -> Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or(ErrorKind::InvalidInput)?),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

impl DirNode {
    fn change(&mut self, change: Change) {
        self.changes += 1;
        self.pending.push((self.changes, change));
    }

    fn unlink(&mut self, name: &str) -> Option<Ino> {
        let ino = self.names.remove(name)?;
        self.change(Change::Unlink { name: name.to_owned() });
        Some(ino)
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]);
        Self { nodes, made: ROOT, orphans: Vec::new(), used: 0, sweep_at: 64 }
    }

    fn dir(&self, ino: Ino) -> Result<&DirNode> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> Result<&mut DirNode> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    pub(super) fn file(&self, ino: Ino) -> Result<&FileNode> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> Result<&mut FileNode> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn is_dir(&self, ino: Ino) -> bool {
        matches!(self.nodes.get(&ino), Some(Node::Dir(_)))
    }

    fn walk(&self, names: &[&str]) -> Result<Ino> {
        names
            .iter()
            .try_fold(ROOT, |ino, name| self.dir(ino)?.names.get(*name).copied().ok_or_else(not_found))
    }

    pub(super) fn find(&self, path: &Path) -> Result<Ino> {
        self.walk(&components(path)?)
    }

    /// The directory that holds `path`, the last name of it, and what it stands for, if anything.
    fn place<'p>(&self, path: &'p Path) -> Result<(Ino, &'p str, Option<Ino>)> {
        let names = components(path)?;
        let (name, parents) = names.split_last().ok_or(ErrorKind::InvalidInput)?;
        let parent = self.walk(parents)?;
        Ok((parent, name, self.dir(parent)?.names.get(*name).copied()))
    }

    fn add(&mut self, parent: Ino, name: &str, node: Node) -> Result<Ino> {
        if self.nodes.len() > self.sweep_at {
            self.sweep();
        }
        self.made += 1;
        let ino = self.made;
        self.nodes.insert(ino, node);
        let dir = self.dir_mut(parent)?;
        dir.names.insert(name.to_owned(), ino);
        dir.change(Change::Link { name: name.to_owned(), ino });
        Ok(ino)
    }

    /// The file at `path`, and whether it was there before. Makes it if it may.
    pub(super) fn open(&mut self, path: &Path, create: bool, sector: usize) -> Result<(Ino, bool)> {
        let (parent, name, present) = self.place(path)?;
        if let Some(ino) = present {
            return self.file(ino).map(|_| (ino, true));
        }
        if !create {
            return Err(not_found());
        }
        let file = FileNode {
            content: Content::new(sector),
            blocks: Blocks::default(),
            reserved: false,
            lease: Arc::new(()),
            linked: true,
        };
        Ok((self.add(parent, name, Node::File(Box::new(file)))?, false))
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> Result<()> {
        let mut at = ROOT;
        for name in components(path)? {
            at = match self.dir(at)?.names.get(name) {
                Some(ino) if self.is_dir(*ino) => *ino,
                Some(_) => return Err(ErrorKind::AlreadyExists.into()),
                None => self.add(at, name, Node::Dir(DirNode::default()))?,
            };
        }
        Ok(())
    }

    /// The names in a directory, sorted, and whether each is a directory.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<(String, bool)>> {
        let dir = self.dir(self.find(path)?)?;
        Ok(dir.names.iter().map(|(name, ino)| (name.clone(), self.is_dir(*ino))).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (from_dir, from_name, moved) = self.place(from)?;
        let ino = moved.ok_or_else(not_found)?;
        let (to_dir, to_name, replaced) = self.place(to)?;
        if replaced == Some(ino) {
            return Ok(());
        }
        if components(to)?.starts_with(&components(from)?) {
            return Err(ErrorKind::InvalidInput.into());
        }
        if let Some(replaced) = replaced {
            self.check_replaceable(ino, replaced)?;
        }
        self.dir_mut(from_dir)?.names.remove(from_name);
        self.dir_mut(to_dir)?.names.insert(to_name.to_owned(), ino);
        let (from, to) = (from_name.to_owned(), to_name.to_owned());
        if from_dir == to_dir {
            self.dir_mut(to_dir)?.change(Change::Move { from, to, ino });
        } else {
            self.dir_mut(from_dir)?.change(Change::MoveOut { name: from.clone(), ino });
            self.dir_mut(to_dir)?.change(Change::MoveIn { from_dir, from, to, ino });
        }
        replaced.into_iter().for_each(|replaced| self.unlinked(replaced));
        Ok(())
    }

    fn check_replaceable(&self, moved: Ino, replaced: Ino) -> Result<()> {
        match (self.is_dir(moved), self.dir(replaced)) {
            (false, Err(_)) => Ok(()),
            (false, Ok(_)) => Err(ErrorKind::IsADirectory.into()),
            (true, Err(_)) => Err(ErrorKind::NotADirectory.into()),
            (true, Ok(dir)) if dir.names.is_empty() => Ok(()),
            (true, Ok(_)) => Err(ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<()> {
        let (parent, name, present) = self.place(path)?;
        let ino = present.ok_or_else(not_found)?;
        self.file(ino)?;
        self.dir_mut(parent)?.unlink(name);
        self.unlinked(ino);
        Ok(())
    }

    /// Removes a directory and all in it, deepest first; only the first `at_most` names (a crash came in between).
    pub(super) fn remove_dir_all(&mut self, path: &Path, at_most: usize) -> Result<()> {
        let (parent, name, present) = self.place(path)?;
        let ino = present.ok_or_else(not_found)?;
        self.dir(ino)?;
        let mut doomed = Vec::new();
        self.names_under(ino, &mut doomed);
        doomed.push((parent, name.to_owned()));
        for (parent, name) in doomed.into_iter().take(at_most) {
            if let Some(ino) = self.dir_mut(parent)?.unlink(&name) {
                self.unlinked(ino);
            }
        }
        Ok(())
    }

    /// How many names `remove_dir_all` would remove.
    pub(super) fn size_of(&self, path: &Path) -> usize {
        let mut names = Vec::new();
        if let Ok(ino) = self.find(path) {
            self.names_under(ino, &mut names);
        }
        names.len() + 1
    }

    fn names_under(&self, ino: Ino, into: &mut Vec<(Ino, String)>) {
        let Ok(dir) = self.dir(ino) else { return };
        for (name, child) in &dir.names {
            self.names_under(*child, into);
            into.push((ino, name.clone()));
        }
    }

    fn unlinked(&mut self, ino: Ino) {
        if let Ok(file) = self.file_mut(ino) {
            file.linked = false;
            self.orphans.push(ino);
        }
    }

    /// Gives back the space of files that nobody can reach any more.
    fn reclaim(&mut self) {
        let mut freed = 0;
        let mut orphans = std::mem::take(&mut self.orphans);
        orphans.retain(|ino| match self.file(*ino) {
            Ok(file) if !file.linked && file.is_leased() => true,
            Ok(file) if !file.linked => {
                freed += file.blocks.count();
                false
            }
            _ => false,
        });
        self.orphans = orphans;
        self.used = self.used.saturating_sub(freed);
    }

    /// How many blocks are free on a disk of this many bytes.
    pub(super) fn spare(&mut self, capacity: Option<u64>) -> u64 {
        let Some(capacity) = capacity else { return u64::MAX };
        self.reclaim();
        (capacity / super::space::BLOCK).saturating_sub(self.used)
    }

    /// Gives the file these blocks.
    pub(super) fn hold(&mut self, ino: Ino, offset: u64, len: u64) -> Result<()> {
        let blocks = &mut self.file_mut(ino)?.blocks;
        let before = blocks.count();
        blocks.hold(offset, len);
        self.used += blocks.count() - before;
        Ok(())
    }

    /// Takes the blocks behind `len` bytes from the file.
    pub(super) fn cut(&mut self, ino: Ino, len: u64) -> Result<()> {
        let blocks = &mut self.file_mut(ino)?.blocks;
        let before = blocks.count();
        blocks.cut(len);
        let freed = before - blocks.count();
        self.used = self.used.saturating_sub(freed);
        Ok(())
    }

    /// What a sync of this directory, submitted now, covers.
    pub(super) fn sync_point(&self, ino: Ino) -> Result<u64> {
        Ok(self.dir(ino)?.changes)
    }

    /// A sync of the directory has succeeded: settles its changes up to `point`.
    pub(super) fn synced(&mut self, ino: Ino, point: u64) -> Result<()> {
        let dir = self.dir_mut(ino)?;
        let covered = dir.pending.partition_point(|(number, _)| *number <= point);
        self.settle(ino, covered)
    }

    /// Makes the oldest `count` changes of a directory durable.
    fn settle(&mut self, ino: Ino, count: usize) -> Result<()> {
        let dir = self.dir_mut(ino)?;
        let mut moved_in = Vec::new();
        let mut waiting = Vec::new();
        for (number, change) in dir.pending.drain(..count) {
            match change {
                Change::Link { name, ino } => drop(dir.durable.insert(name, ino)),
                Change::Unlink { name } => drop(dir.durable.remove(&name)),
                Change::Move { from, to, ino } => {
                    if dir.durable.get(&from) == Some(&ino) {
                        dir.durable.remove(&from);
                    }
                    dir.durable.insert(to, ino);
                }
                Change::MoveIn { from_dir, from, to, ino } => {
                    dir.durable.insert(to, ino);
                    moved_in.push((from_dir, from, ino));
                }
                Change::MoveOut { .. } => waiting.push((number, change)),
            }
        }
        dir.pending.splice(..0, waiting);
        for (from_dir, from, ino) in moved_in {
            self.settle_move_out(from_dir, &from, ino);
        }
        Ok(())
    }

    /// The name has durably gone to another directory: this one can never show it again.
    fn settle_move_out(&mut self, dir: Ino, name: &str, moved: Ino) {
        let Ok(dir) = self.dir_mut(dir) else { return };
        if dir.durable.get(name) == Some(&moved) {
            dir.durable.remove(name);
        }
        let Some(out) = dir.pending.iter().position(
            |(_, change)| matches!(change, Change::MoveOut { name: n, ino } if n == name && *ino == moved),
        ) else {
            return;
        };
        // Whatever brought it here before it left is as undone as the leaving.
        let mut index = 0;
        dir.pending.retain(|(_, change)| {
            index += 1;
            let brought = match change {
                Change::Link { ino, .. } | Change::Move { ino, .. } => *ino == moved,
                _ => false,
            };
            index - 1 > out || !(brought || index - 1 == out)
        });
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
