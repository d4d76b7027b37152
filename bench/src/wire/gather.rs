//! Members that come to their groups, each over a connection of its own, until every group is whole: all of its members hold what one
//! generation gave them, and that is every partition once.

use crate::error::{Error, Result};
use crate::measure::window::Window;
use crate::os::poller::Poller;
use crate::wire::line::Line;
use crate::wire::member::Member;
use crate::workload::Groups;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it may take until all groups are whole. There is no result after that.
const PATIENCE: Duration = Duration::from_secs(180);
/// A wait ends so often to look whose heartbeat is due.
const LOOK: Duration = Duration::from_millis(20);

/// A member and its connection.
#[derive(Debug)]
pub struct Seat {
    /// The connection.
    pub line: Line,
    /// The member.
    pub member: Member,
    /// When it is to ask whether there is a rebalance, if it joins no more.
    look: Instant,
}

/// All members of all groups: those of a group follow each other.
#[derive(Debug)]
pub struct Gathering {
    /// What waits for all connections.
    pub poller: Poller,
    /// The members.
    pub seats: Vec<Seat>,
    /// What they are to be.
    pub groups: Groups,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gathered {
    /// From the first request to the moment at which the last member knew what it got.
    pub took: Duration,
    /// The highest generation of a group: how often it had to begin anew.
    pub generations: i32,
}

impl Gathering {
    /// Connects; nobody joins yet.
    pub fn connect(address: &str, groups: Groups, names: &[Arc<str>], topic: &Arc<str>) -> Result<Self> {
        let poller = Poller::new()?;
        let mut seats = Vec::new();
        for name in names {
            for _ in 0..groups.members {
                let line = Line::open(address, seats.len(), &poller)?;
                let member = Member::new(name.clone(), topic.clone(), groups.partitions);
                seats.push(Seat { line, member, look: Instant::now() });
            }
        }
        Ok(Self { poller, seats, groups })
    }

    /// Everybody joins at once.
    pub fn gather(&mut self, window: &Window) -> Result<Gathered> {
        let begun = Instant::now();
        for seat in &mut self.seats {
            let join = seat.member.join()?;
            seat.line.push_whole(join);
            seat.line.flush(&self.poller)?;
        }
        loop {
            self.turn(true)?;
            // Looked at first: looking at all groups takes a moment, which is not the broker's.
            let took = begun.elapsed();
            if let Some(generations) = self.whole()? {
                self.settle()?;
                let generations = generations.into_iter().max().unwrap_or(0);
                return Ok(Gathered { took, generations });
            }
            if window.failed() {
                return Err(Error::Target("the run failed".to_owned()));
            }
            if took > PATIENCE {
                let held = self.seats.iter().filter(|seat| seat.member.holds().is_some()).count();
                let (all, seconds) = (self.seats.len(), PATIENCE.as_secs());
                let what = format!(
                    "after {seconds} s {held} of {all} members hold partitions, and not all groups are whole"
                );
                return Err(Error::Target(what));
            }
        }
    }

    /// Members go on asking whether there is a rebalance until the window is closed. That there is one is an error.
    pub fn stay(&mut self, window: &Window) -> Result<()> {
        let before = self.whole()?;
        while !window.is_closed() {
            self.turn(true)?;
        }
        self.settle()?;
        match before.is_some() && self.whole()? == before {
            true => Ok(()),
            false => Err(Error::Wrong("a group that was whole began anew".to_owned())),
        }
    }

    /// Waits for the answers to the last heartbeats.
    fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.seats.iter().any(|seat| !seat.member.is_idle()) {
            if Instant::now() > until {
                return Err(Error::Target("heartbeats without an answer".to_owned()));
            }
            self.turn(false)?;
        }
        Ok(())
    }

    /// Takes what there is to read, and sends what follows from it; heartbeats that are due as well, if they are wanted.
    fn turn(&mut self, heartbeats: bool) -> Result<()> {
        let now = Instant::now();
        let every = self.groups.every();
        for seat in &mut self.seats {
            let due = heartbeats && seat.look <= now;
            if due && seat.member.is_idle() && seat.member.holds().is_some() {
                let frame = seat.member.look()?;
                seat.line.push_whole(frame);
                seat.line.flush(&self.poller)?;
            }
        }
        let ready = self.poller.wait(LOOK)?.to_vec();
        for found in ready {
            let Seat { line, member, look } = &mut self.seats[found.number];
            if found.readable {
                let mut asked = Vec::new();
                line.read(|answer| {
                    asked.extend(member.answered(answer)?);
                    Ok(())
                })?;
                if asked.is_empty() {
                    *look = Instant::now() + every;
                }
                asked.into_iter().for_each(|frame| line.push_whole(frame));
            }
            line.flush(&self.poller)?;
        }
        Ok(())
    }

    /// The generation of each group, if all are whole.
    fn whole(&self) -> Result<Option<Vec<i32>>> {
        let mut generations = Vec::new();
        for seats in self.seats.chunks(self.groups.members as usize) {
            let held: Option<Vec<_>> = seats.iter().map(|seat| seat.member.holds()).collect();
            let Some(held) = held else { return Ok(None) };
            match generation_of(&held, self.groups.partitions)? {
                Some(generation) => generations.push(generation),
                None => return Ok(None),
            }
        }
        Ok(Some(generations))
    }
}

/// The one generation of what the members of a group hold; `None` if they are of several. Within one, every partition is held once.
fn generation_of(held: &[(i32, &[i32])], partitions: u32) -> Result<Option<i32>> {
    let generation = held.first().map_or(0, |(generation, _)| *generation);
    if held.iter().any(|(other, _)| *other != generation) {
        return Ok(None);
    }
    let mut all: Vec<i32> = held.iter().flat_map(|(_, partitions)| *partitions).copied().collect();
    all.sort_unstable();
    match all.iter().copied().eq(0..i32::try_from(partitions).unwrap_or(i32::MAX)) {
        true => Ok(Some(generation)),
        false => {
            let what =
                format!("a generation that holds {} partitions of {partitions}, or one twice", all.len());
            Err(Error::Wrong(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_whole_when_one_generation_holds_everything_once() {
        let whole = |held: &[(i32, &[i32])]| generation_of(held, 4);
        assert_eq!(whole(&[(3, &[2, 3]), (3, &[0, 1])]).unwrap(), Some(3));
        assert_eq!(whole(&[(3, &[2, 3]), (2, &[0, 1, 2, 3])]).unwrap(), None, "one has yet to come back");
        assert!(whole(&[(3, &[2, 3]), (3, &[1])]).is_err(), "nobody has partition 0");
        assert!(whole(&[(3, &[2, 3]), (3, &[0, 1, 2])]).is_err(), "two have partition 2");
        assert!(whole(&[(3, &[2, 3]), (3, &[0, 1, 4])]).is_err(), "there is no partition 4");
    }
}
