//! A call as a member of a group: tells the coordinator what [`Member`] says, when it says so, and hands on what the client is to hear. However
//! the call ends, the member leaves.

use super::call::Surroundings;
use super::commits::Mark;
use super::group_backend::{Beat, GroupPartition, MemberBackend, Who};
use super::member::{Change, Member};
use super::status::{Error, Status};
use futures_channel::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use futures_util::stream::StreamExt;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// See above.
pub(super) struct Membership<B: MemberBackend> {
    backend: B,
    who: Rc<Who>,
    surroundings: Rc<Surroundings>,
    member: RefCell<Member>,
    changes: UnboundedSender<Change>,
    /// Rung when the coordinator is to hear something at once.
    bell: RefCell<Sender<()>>,
    has_left: Cell<bool>,
}

/// Tells the coordinator, for as long as it is polled.
pub(super) struct Keeper<B: MemberBackend> {
    membership: Rc<Membership<B>>,
    bell: Receiver<()>,
}

impl<B: MemberBackend + Clone + 'static> Membership<B> {
    /// A member that is to join, who keeps it one, and what the client is to hear.
    pub(super) fn new(
        backend: B,
        who: Who,
        surroundings: Rc<Surroundings>,
    ) -> (Rc<Self>, Keeper<B>, UnboundedReceiver<Change>) {
        // What waits here is at most what one assignment holds.
        let (changes, heard) = mpsc::unbounded();
        let (ring, bell) = mpsc::channel(1);
        let (who, member, ring) = (Rc::new(who), RefCell::new(Member::new()), RefCell::new(ring));
        let has_left = Cell::new(false);
        let membership = Rc::new(Self { backend, who, surroundings, member, changes, bell: ring, has_left });
        (membership.clone(), Keeper { membership, bell }, heard)
    }

    pub(super) fn who(&self) -> &Who {
        &self.who
    }

    pub(super) async fn sleep(&self, time: Duration) {
        self.surroundings.sleep(time).await;
    }

    /// What the member has of this name.
    pub(super) fn has(&self, topic: &str, partition: i32) -> Option<GroupPartition> {
        self.member.borrow().has(topic, partition).cloned()
    }

    /// What the client was asked to give up of this name.
    pub(super) fn revoking(&self, topic: &str, partition: i32) -> Option<GroupPartition> {
        self.member.borrow().revoking(topic, partition).cloned()
    }

    /// The client has given these up; the coordinator hears of it.
    pub(super) fn release(&self, parts: &[GroupPartition]) {
        if self.member.borrow_mut().release(parts) {
            // Full: it has been rung already. Closed: the call ends.
            let _ = self.bell.borrow_mut().try_send(());
        }
    }

    /// Commits; what became of each.
    pub(super) async fn commit(&self, marks: &[Mark]) -> Result<Vec<Result<(), Error>>, Error> {
        let epoch = self.member.borrow().epoch();
        let offsets =
            marks.iter().map(|mark| (mark.partition.clone(), mark.next_offset, mark.metadata.clone()));
        self.backend.commit_as(&self.who, epoch, offsets.collect()).await
    }

    /// Leaves, and waits until that is known.
    pub(super) async fn leave(&self) {
        self.has_left.set(true);
        self.backend.leave_group(&self.who).await;
    }
}

impl<B: MemberBackend> Drop for Membership<B> {
    fn drop(&mut self) {
        // Not twice: it may have come again by now, by another call.
        if !self.has_left.get() {
            // It begins at once, whether or not anybody waits.
            drop(self.backend.leave_group(&self.who));
        }
    }
}

impl<B: MemberBackend + Clone + 'static> Keeper<B> {
    /// Why the call cannot be a member any more.
    pub(super) async fn keep(mut self) -> Status {
        loop {
            match self.membership.say().await {
                Ok(wait) => drop(self.membership.surroundings.clone().within(wait, self.bell.next()).await),
                Err(error) => return error.into(),
            }
        }
    }
}

impl<B: MemberBackend + Clone + 'static> Membership<B> {
    /// One word to the coordinator; how long to wait before the next.
    async fn say(&self) -> Result<Duration, Error> {
        let word = self.member.borrow_mut().speak();
        let beat = Beat { who: self.who.clone(), epoch: word.epoch, full: word.full, owned: word.owned };
        let answer = self.backend.beat(beat).await;
        let mut member = self.member.borrow_mut();
        let (changes, wait) = match answer {
            Ok(answer) => member.on_answer(answer),
            Err(error) => member.on_refusal(error)?,
        };
        for change in changes {
            // Closed: the call ends.
            let _ = self.changes.unbounded_send(change);
        }
        Ok(wait)
    }
}
