//! Members of groups that are whole: each sends a heartbeat and commits what it holds, at even intervals whatever the broker does. Every
//! answer is checked, and that all are there.

use crate::error::{Error, Result};
use crate::measure::latency::Latencies;
use crate::measure::window::{Through, Window};
use crate::wire::gather::Gathering;
use crate::wire::member::{committed, heartbeat_code};
use crate::workload::Groups;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long what is in flight may take once the window is closed.
const DRAIN: Duration = Duration::from_secs(60);
/// A wait ends so often to look whether the window is closed.
const LOOK: Duration = Duration::from_millis(50);

/// What a member sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Heartbeat,
    Commit,
}

/// When each request is to leave, and whose it is. Members take turns, and the commits of a member are half a round behind its heartbeats.
#[derive(Clone, Copy, Debug)]
struct Rounds {
    members: u64,
    every: Duration,
}

impl Rounds {
    fn of(groups: Groups) -> Self {
        Self { members: groups.everybody(), every: groups.every() }
    }

    /// How long after the beginning a request is to leave.
    fn due(self, number: u64) -> Duration {
        let nanos = self.every.as_nanos() * u128::from(number) / u128::from(2 * self.members);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whose request it is, which, and of what round.
    fn turn(self, number: u64) -> (usize, Kind, u64) {
        let place = number / 2;
        let (kind, shift) = match number % 2 {
            0 => (Kind::Heartbeat, 0),
            _ => (Kind::Commit, self.members / 2),
        };
        (((place + shift) % self.members) as usize, kind, place / self.members)
    }
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    kind: Kind,
    correlation_id: i32,
    since: Instant,
    /// Of a commit.
    offset: i64,
}

/// What came of it.
#[derive(Debug)]
pub struct Beaten {
    /// Latencies of heartbeats within the window.
    pub heartbeats: Latencies,
    /// Latencies of commits within the window.
    pub commits: Latencies,
    /// The offset at which each member committed last, in the order of the members; -1 of one that never did.
    pub offsets: Vec<i64>,
}

/// The members at work.
#[derive(Debug)]
pub struct Beats<'a> {
    gathering: &'a mut Gathering,
    window: &'a Window,
    rounds: Rounds,
    start: Instant,
    number: u64,
    in_flight: Vec<VecDeque<Sent>>,
    sent: i32,
    beaten: Beaten,
}

impl<'a> Beats<'a> {
    /// Of these members.
    pub fn of(gathering: &'a mut Gathering, window: &'a Window) -> Self {
        let (members, rounds) = (gathering.seats.len(), Rounds::of(gathering.groups));
        let beaten =
            Beaten { heartbeats: Latencies::new(), commits: Latencies::new(), offsets: vec![-1; members] };
        let in_flight = vec![VecDeque::new(); members];
        Self { gathering, window, rounds, start: Instant::now(), number: 0, in_flight, sent: 0, beaten }
    }

    /// Goes on until the window closes, and waits for the last answer.
    pub fn run(mut self) -> Result<Beaten> {
        self.start = Instant::now();
        while !self.window.is_closed() {
            self.send_what_is_due()?;
            self.turn()?;
        }
        let until = Instant::now() + DRAIN;
        while self.in_flight.iter().any(|sent| !sent.is_empty()) {
            if Instant::now() > until {
                let left: usize = self.in_flight.iter().map(VecDeque::len).sum();
                let what = format!("{left} answers are not there {} s after the end", DRAIN.as_secs());
                return Err(Error::Target(what));
            }
            self.turn()?;
        }
        Ok(self.beaten)
    }

    fn send_what_is_due(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut due = self.start + self.rounds.due(self.number);
        while due <= now {
            self.send(due)?;
            self.number += 1;
            due = self.start + self.rounds.due(self.number);
        }
        self.gathering.poller.wake_at(due)
    }

    fn send(&mut self, since: Instant) -> Result<()> {
        let (number, kind, round) = self.rounds.turn(self.number);
        self.sent = self.sent.wrapping_add(1);
        let (correlation_id, offset) = (self.sent, round as i64);
        let seat = &mut self.gathering.seats[number];
        let frame = match kind {
            Kind::Heartbeat => seat.member.heartbeat(correlation_id)?,
            Kind::Commit => seat.member.commit(correlation_id, offset)?,
        };
        seat.line.push_whole(frame);
        seat.line.flush(&self.gathering.poller)?;
        self.in_flight[number].push_back(Sent { kind, correlation_id, since, offset });
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let ready = self.gathering.poller.wait(LOOK)?.to_vec();
        let mut answered = 0;
        for found in ready {
            let seat = &mut self.gathering.seats[found.number];
            let (member, in_flight) = (&seat.member, &mut self.in_flight[found.number]);
            let (beaten, window, number) = (&mut self.beaten, self.window, found.number);
            if found.readable {
                seat.line.read(|answer| {
                    let sent = in_flight.pop_front();
                    let sent =
                        sent.ok_or_else(|| Error::Wrong(format!("{}: an answer to nothing", member.group)))?;
                    let latencies = match sent.kind {
                        Kind::Heartbeat => {
                            let code = heartbeat_code(answer, sent.correlation_id)?;
                            if code != ErrorCode::None {
                                return Err(Error::code(format_args!("Heartbeat of {}", member.group), code));
                            }
                            &mut beaten.heartbeats
                        }
                        Kind::Commit => {
                            let held = member.holds().map_or(0, |(_, partitions)| partitions.len());
                            let found = committed(answer, sent.correlation_id)?;
                            if found != held {
                                let what = format!("{found} partitions of {held} committed");
                                return Err(Error::Wrong(what));
                            }
                            beaten.offsets[number] = sent.offset;
                            &mut beaten.commits
                        }
                    };
                    if window.covers(sent.since) {
                        latencies.record(sent.since.elapsed());
                    }
                    answered += 1;
                    Ok(())
                })?;
            }
            seat.line.flush(&self.gathering.poller)?;
        }
        if answered > 0 {
            self.window.add(Through { requests: answered, ..Through::default() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn each_member_has_its_turn_at_even_intervals() {
        for members in [1, 2, 7, 3000] {
            let rounds = Rounds { members, every: Duration::from_secs(1) };
            let mut last: HashMap<(usize, bool), (Duration, u64)> = HashMap::new();
            for number in 0..6 * members {
                let (member, kind, round) = rounds.turn(number);
                assert!(member < members as usize);
                let due = rounds.due(number);
                assert!(due >= rounds.due(number.saturating_sub(1)));
                if let Some((before, offset)) = last.insert((member, kind == Kind::Commit), (due, round)) {
                    let apart = (due - before).as_nanos().abs_diff(1_000_000_000);
                    assert!(apart <= 1, "{members}: {member} waits {:?}", due - before);
                    assert_eq!(round, offset + 1, "offsets go on by one");
                }
            }
            assert_eq!(last.len() as u64, 2 * members, "everybody does both");
            assert_eq!(rounds.due(2 * members), Duration::from_secs(1));
        }
    }
}
