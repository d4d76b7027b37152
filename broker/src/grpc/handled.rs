//! How far a client has handled what it was sent, where the broker commits for it: it grants anew the credit that records took when it has
//! handled them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// A partition by name.
pub(super) type Name = (Rc<str>, i32);

/// Responses that are told apart at most; a client that grants very much at once, and then nothing, is not to make this grow. What is
/// sent beyond goes with the last of them, and is handled with it.
const UNDER_WAY: usize = 1024;

/// What was sent, and how much of it has been handled.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// Responses whose credit was not granted anew, oldest first: how much had been sent when this one had, and how far it reached.
    under_way: VecDeque<(u64, BTreeMap<Name, i64>)>,
    /// Credit that was used, and that was granted anew, so far.
    sent: u64,
    granted: u64,
    /// Handled, and not committed yet.
    ready: BTreeMap<Name, i64>,
}

impl Handled {
    /// A response has been sent that took so much credit, and behind which these offsets are next.
    pub(super) fn on_sent(&mut self, bytes: usize, reached: Vec<(Name, i64)>) {
        self.sent += bytes as u64;
        let full = self.under_way.len() >= UNDER_WAY;
        match self.under_way.back_mut().filter(|_| full) {
            Some((sent, last)) => {
                *sent = self.sent;
                last.extend(reached);
            }
            None => self.under_way.push_back((self.sent, reached.into_iter().collect())),
        }
    }

    /// Credit has been granted. What is granted on top of what was used says nothing.
    pub(super) fn on_grant(&mut self, bytes: i64) {
        self.granted = self.granted.saturating_add_signed(bytes).min(self.sent);
        while self.under_way.front().is_some_and(|(sent, _)| *sent <= self.granted) {
            let Some((_, reached)) = self.under_way.pop_front() else { return };
            self.ready.extend(reached);
        }
    }

    /// What is to be committed.
    pub(super) fn take_ready(&mut self) -> Vec<(Name, i64)> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// What is to be committed of these when all of them that was sent has been handled; nothing is left of them.
    pub(super) fn take(&mut self, names: &BTreeSet<Name>) -> Vec<(Name, i64)> {
        let mut taken = BTreeMap::new();
        let mut sift = |name: &Name, offset: i64| {
            let wanted = names.contains(name);
            if wanted {
                taken.insert(name.clone(), offset);
            }
            !wanted
        };
        self.ready.retain(|name, offset| sift(name, *offset));
        for (_, reached) in &mut self.under_way {
            reached.retain(|name, offset| sift(name, *offset));
        }
        taken.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(partition: i32) -> Name {
        ("t".into(), partition)
    }

    fn at(offsets: &[(i32, i64)]) -> Vec<(Name, i64)> {
        offsets.iter().map(|(partition, offset)| (name(*partition), *offset)).collect()
    }

    /// Three responses of 10, 20 and 30 bytes.
    fn sent() -> Handled {
        let mut handled = Handled::default();
        handled.on_sent(10, at(&[(0, 5)]));
        handled.on_sent(20, at(&[(0, 7), (1, 3)]));
        handled.on_sent(30, at(&[(1, 9)]));
        handled
    }

    #[test]
    fn what_credit_comes_back_for_is_handled() {
        let mut handled = sent();
        assert_eq!(handled.take_ready(), []);
        handled.on_grant(9);
        assert_eq!(handled.take_ready(), [], "a response is handled as a whole");
        handled.on_grant(1);
        assert_eq!(handled.take_ready(), at(&[(0, 5)]));
        handled.on_grant(25);
        assert_eq!(handled.take_ready(), at(&[(0, 7), (1, 3)]));
        assert_eq!(handled.take_ready(), [], "once");
    }

    #[test]
    fn more_credit_than_was_used_says_nothing_of_what_is_still_to_come() {
        let mut handled = sent();
        handled.on_grant(i64::MAX);
        assert_eq!(handled.take_ready(), at(&[(0, 7), (1, 9)]));
        handled.on_sent(10, at(&[(0, 8)]));
        assert_eq!(handled.take_ready(), []);
        handled.on_grant(10);
        assert_eq!(handled.take_ready(), at(&[(0, 8)]));
    }

    #[test]
    fn one_who_grants_nothing_does_not_make_it_grow() {
        let mut handled = Handled::default();
        for next in 1..=10 * UNDER_WAY as i64 {
            handled.on_sent(1, at(&[((next % 3) as i32, next)]));
        }
        assert_eq!(handled.under_way.len(), UNDER_WAY);
        let all = 10 * UNDER_WAY as i64;
        handled.on_grant(UNDER_WAY as i64 - 1);
        assert_eq!(handled.take_ready().iter().map(|(_, next)| *next).max(), Some(UNDER_WAY as i64 - 1));
        handled.on_grant(all - UNDER_WAY as i64);
        assert_eq!(handled.take_ready(), [], "the last is handled as a whole");
        handled.on_grant(1);
        let last: Vec<_> = (0..3).map(|part| (part, all - (all - i64::from(part)) % 3)).collect();
        assert_eq!(handled.take_ready(), at(&last));
    }

    #[test]
    fn a_partition_that_is_given_up_is_handled_and_forgotten() {
        let mut handled = sent();
        handled.on_grant(10);
        assert_eq!(handled.take(&BTreeSet::from([name(0), name(7)])), at(&[(0, 7)]));
        handled.on_grant(50);
        assert_eq!(handled.take_ready(), at(&[(1, 9)]));
    }
}
