//! What the end of a process, or of the power, does to the tree; and forgetting what nothing can reach any more.

use super::super::super::rng::Rng;
use super::{Change, Ino, Node, ROOT, Tree};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Tree {
    /// Forgets whatever nothing can reach: not by name, not on the disk, not through an open handle.
    pub(super) fn sweep(&mut self) {
        let mut reachable = vec![ROOT];
        let mut kept = BTreeSet::new();
        while let Some(ino) = reachable.pop() {
            if !kept.insert(ino) {
                continue;
            }
            let Ok(dir) = self.dir(ino) else { continue };
            reachable.extend(dir.names.values().chain(dir.durable.values()));
            reachable.extend(dir.pending.iter().filter_map(|(_, change)| match change {
                Change::Link { ino, .. } | Change::Move { ino, .. } | Change::MoveIn { ino, .. } => {
                    Some(*ino)
                }
                Change::Unlink { .. } | Change::MoveOut { .. } => None,
            }));
        }
        self.reclaim();
        self.nodes
            .retain(|ino, node| kept.contains(ino) || matches!(node, Node::File(file) if file.is_leased()));
        self.sweep_at = 64 + 2 * self.nodes.len();
    }

    fn inos(&self) -> Vec<Ino> {
        self.nodes.keys().copied().collect()
    }

    /// The process has ended: its handles are gone, its page cache is not.
    pub(in super::super) fn killed(&mut self, rng: &mut Rng) {
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.lease = Arc::new(());
                file.content.killed(rng);
            }
        }
        self.reclaim();
    }

    /// The power was cut: what is on the disk is all there is.
    pub(in super::super) fn power_cut(&mut self, rng: &mut Rng, garbage: f64) {
        for ino in self.inos() {
            let Ok(pending) = self.dir(ino).map(|dir| dir.pending.len()) else { continue };
            let survive = match rng.below(4) {
                0 => 0,
                1 => pending,
                _ => rng.index(pending + 1),
            };
            // Settling cannot fail: this is a directory.
            let _ = self.settle(ino, survive);
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::Dir(dir) => {
                    dir.names = dir.durable.clone();
                    dir.pending.clear();
                }
                Node::File(file) => {
                    file.lease = Arc::new(());
                    file.linked = true;
                }
            }
        }
        self.orphans.clear();
        self.sweep();
        self.used = 0;
        for node in self.nodes.values_mut() {
            let Node::File(file) = node else { continue };
            file.content.power_cut(rng, garbage);
            if file.reserved && rng.chance(0.5) {
                file.blocks.cut(file.content.len());
            }
            file.blocks.hold(0, file.content.len());
            file.reserved = false;
            self.used += file.blocks.count();
        }
    }
}
