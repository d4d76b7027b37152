//! The network of a world: listeners, connection attempts, connections, and the links that carry them.
//!
//! Every host has one address (10.1.x.y) and its own loopback. A connection holds a bounded number of bytes; room comes
//! back when the reader has taken some and word of that has travelled back.

mod connection;
mod link;
mod sockets;

pub use link::Link;
pub use sockets::{SimListener, SimReader, SimSocket, SimWriter};

use super::kernel::{Inbox, Kernel, Step};
use super::promise::{Promise, Wait, promise};
use super::rng::Rng;
use super::timeline::Event;
use bytes::{Bytes, BytesMut};
use connection::{End, Packet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Poll, Waker};

/// How long a connection attempt that nobody answers goes on, and how often it knocks, in nanoseconds.
const CONNECT_LIMIT: u64 = 60_000_000_000;
const KNOCK_AGAIN: u64 = 1_000_000_000;

/// Connections that may wait to be accepted at one listener. More are refused.
const BACKLOG: usize = 4096;

const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// The address of a host.
pub(super) fn address_of(host: usize) -> IpAddr {
    let [.., high, low] = (host as u32).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 1, high, low))
}

/// The host that has this address, seen from `from`.
fn host_at(address: IpAddr, from: usize) -> Option<usize> {
    match address {
        address if address.is_loopback() || address.is_unspecified() => Some(from),
        IpAddr::V4(address) => match address.octets() {
            [10, 1, high, low] => Some(usize::from(high) << 8 | usize::from(low)),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// What answers at a host's address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// A process that may listen.
    Up,
    /// A machine without the process: refuses.
    Killed,
    /// Nothing.
    Off,
}

struct Bound {
    host: usize,
    address: SocketAddr,
    waiting: VecDeque<(SimSocket, SocketAddr)>,
    acceptor: Option<Waker>,
}

struct Attempt {
    from: usize,
    /// `None` if no host has the address.
    to: Option<usize>,
    local: SocketAddr,
    remote: SocketAddr,
    since: u64,
    outcome: Option<Result<SimSocket>>,
    promise: Promise<Result<SimSocket>>,
}

/// The network.
pub(super) struct Net {
    rng: Rng,
    inbox: Arc<Inbox>,
    default_link: Link,
    links: BTreeMap<(usize, usize), Link>,
    cuts: BTreeSet<(usize, usize)>,
    presence: Vec<Presence>,
    listeners: BTreeMap<u64, Bound>,
    attempts: BTreeMap<u64, Attempt>,
    connections: BTreeMap<u64, [End; 2]>,
    /// Numbers listeners, attempts and connections.
    made: u64,
    ephemeral: BTreeMap<usize, u16>,
}

impl Net {
    pub(super) fn new(seed: u64, inbox: Arc<Inbox>) -> Self {
        Self {
            rng: Rng::part(seed, "net", 0),
            inbox,
            default_link: Link::default(),
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            presence: Vec::new(),
            listeners: BTreeMap::new(),
            attempts: BTreeMap::new(),
            connections: BTreeMap::new(),
            made: 0,
            ephemeral: BTreeMap::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    // Links.

    pub(super) fn set_link(&mut self, from: usize, to: usize, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(super) fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }

    fn link(&self, from: usize, to: usize) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.default_link)
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    pub(super) fn heal(&mut self, kernel: &Kernel, from: usize, to: usize) {
        self.cuts.remove(&(from, to));
        let now = kernel.now();
        for (connection, ends) in &mut self.connections {
            for end in 0..2 {
                let sender = ends[1 - end].host;
                let receiver = &mut ends[end];
                if (sender, receiver.host) == (from, to) && !receiver.expected && !receiver.wire.is_empty() {
                    receiver.expected = true;
                    kernel.schedule(now, Event::Arrival { connection: *connection, end });
                }
            }
        }
    }

    /// Fails all connections between two hosts, on both sides, with nothing travelling.
    pub(super) fn reset_between(&mut self, one: usize, other: usize) {
        for ends in self.connections.values_mut() {
            let hosts = (ends[0].host, ends[1].host);
            if hosts == (one, other) || hosts == (other, one) {
                for end in ends {
                    end.wire.clear();
                    end.fail(ErrorKind::ConnectionReset);
                }
            }
        }
    }

    // Hosts.

    pub(super) fn host_up(&mut self, host: usize) {
        if host >= self.presence.len() {
            self.presence.resize(host + 1, Presence::Off);
        }
        self.presence[host] = Presence::Up;
    }

    /// The host's process is gone: so are its listeners and attempts, and its connections are reset.
    pub(super) fn host_down(&mut self, kernel: &Kernel, host: usize, power_cut: bool) {
        self.presence[host] = if power_cut { Presence::Off } else { Presence::Killed };
        self.listeners.retain(|_, bound| bound.host != host);
        self.attempts.retain(|_, attempt| attempt.from != host);
        let numbers: Vec<u64> = self.connections.keys().copied().collect();
        for number in numbers {
            for end in 0..2 {
                let Some(ends) = self.connections.get_mut(&number) else { break };
                if ends[end].host == host && !ends[end].closed {
                    ends[end].closed = true;
                    ends[end].fail(ErrorKind::ConnectionAborted);
                    self.send(kernel, number, end, Packet::Reset);
                }
            }
            self.forget_if_over(number);
        }
    }

    // Listeners.

    pub(super) fn listen(&mut self, host: usize, address: SocketAddr) -> Result<(u64, SocketAddr)> {
        if host_at(address.ip(), host) != Some(host) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let port = match address.port() {
            0 => self.free_port(host)?,
            port => port,
        };
        let address = SocketAddr::new(address.ip(), port);
        if self.listeners.values().any(|bound| bound.host == host && overlap(bound.address, address)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let number = self.number();
        let bound = Bound { host, address, waiting: VecDeque::new(), acceptor: None };
        self.listeners.insert(number, bound);
        Ok((number, address))
    }

    fn free_port(&mut self, host: usize) -> Result<u16> {
        for _ in FIRST_EPHEMERAL_PORT..u16::MAX {
            let next = self.ephemeral.entry(host).or_insert(FIRST_EPHEMERAL_PORT);
            let port = *next;
            *next = next.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if !self.listeners.values().any(|bound| bound.host == host && bound.address.port() == port) {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    /// Ends a listener. Connections that wait at it are dropped, and so closed.
    pub(super) fn unlisten(&mut self, number: u64) {
        self.listeners.remove(&number);
    }

    pub(super) fn poll_accept(
        &mut self,
        number: u64,
        waker: &Waker,
    ) -> Poll<Result<(SimSocket, SocketAddr)>> {
        let Some(bound) = self.listeners.get_mut(&number) else {
            return Poll::Ready(Err(super::disk::crashed()));
        };
        match bound.waiting.pop_front() {
            Some(accepted) => Poll::Ready(Ok(accepted)),
            None => {
                bound.acceptor = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    // Connection attempts.

    pub(super) fn connect(
        &mut self,
        kernel: &Kernel,
        from: usize,
        remote: SocketAddr,
    ) -> Result<Wait<Result<SimSocket>>> {
        let to = host_at(remote.ip(), from).filter(|to| *to < self.presence.len());
        let ip = if remote.ip().is_loopback() { remote.ip() } else { address_of(from) };
        let local = SocketAddr::new(ip, self.free_port(from)?);
        let (promise, wait) = promise();
        let number = self.number();
        let attempt = Attempt { from, to, local, remote, since: kernel.now(), outcome: None, promise };
        self.attempts.insert(number, attempt);
        let delay = self.delay(from, to.unwrap_or(from));
        kernel.schedule(kernel.now() + delay, Event::Knock { attempt: number });
        kernel.note(Step::Connect, from as u64, u64::from(remote.port()));
        Ok(wait)
    }

    fn delay(&mut self, from: usize, to: usize) -> u64 {
        self.link(from, to).delay.draw(&mut self.rng)
    }

    /// An attempt reaches the host it is meant for, if it does.
    pub(super) fn knock(&mut self, kernel: &Kernel, number: u64) {
        let Some(attempt) = self.attempts.get(&number) else { return };
        let (from, since) = (attempt.from, attempt.since);
        let reached = attempt.to.filter(|to| {
            let heard = !self.cuts.contains(&(from, *to)) && !self.cuts.contains(&(*to, from));
            heard && self.presence[*to] != Presence::Off
        });
        let outcome = match reached {
            Some(to) => self.answer(number, from, to),
            None if kernel.now() - since < CONNECT_LIMIT => {
                kernel.schedule(kernel.now() + KNOCK_AGAIN, Event::Knock { attempt: number });
                return;
            }
            None => Err(ErrorKind::TimedOut.into()),
        };
        let delay = self.delay(reached.unwrap_or(from), from);
        if let Some(attempt) = self.attempts.get_mut(&number) {
            attempt.outcome = Some(outcome);
        }
        kernel.schedule(kernel.now() + delay, Event::Answered { attempt: number });
    }

    /// What a host that was reached says: a new connection, or a refusal.
    fn answer(&mut self, number: u64, from: usize, to: usize) -> Result<SimSocket> {
        let attempt = &self.attempts[&number];
        let (local, remote) = (attempt.local, attempt.remote);
        let remote =
            if remote.ip().is_unspecified() { SocketAddr::new(local.ip(), remote.port()) } else { remote };
        let bound = self
            .listeners
            .values_mut()
            .find(|bound| bound.host == to && overlap(bound.address, remote) && bound.waiting.len() < BACKLOG)
            .ok_or(ErrorKind::ConnectionRefused)?;
        self.made += 1;
        let number = self.made;
        let socket = |end| SimSocket::new(number, end, self.inbox.clone());
        bound.waiting.push_back((socket(1), local));
        bound.acceptor.take().into_iter().for_each(Waker::wake);
        let ours = socket(0);
        let (forth, back) = (self.link(from, to).buffer.max(1), self.link(to, from).buffer.max(1));
        self.connections.insert(number, [End::new(from, forth), End::new(to, back)]);
        Ok(ours)
    }

    /// The answer to an attempt is back.
    pub(super) fn answered(&mut self, number: u64) {
        if let Some(Attempt { outcome: Some(outcome), promise, .. }) = self.attempts.remove(&number) {
            promise.keep(outcome);
        }
    }

    // Connections.

    /// Puts a packet on its way from one end to the other.
    fn send(&mut self, kernel: &Kernel, number: u64, from: usize, packet: Packet) {
        let Some(ends) = self.connections.get(&number) else { return };
        let link = self.link(ends[from].host, ends[1 - from].host);
        let delay = link.delay.draw(&mut self.rng);
        let size = if let Packet::Data(data) = &packet { data.len() as u64 } else { 0 };
        let Some(ends) = self.connections.get_mut(&number) else { return };
        let target = &mut ends[1 - from];
        target.line_free = target.line_free.max(kernel.now()).saturating_add(link.occupied(size));
        let earliest = target.wire.back().map_or(0, |(time, _)| *time);
        let time = target.line_free.saturating_add(delay).max(earliest);
        target.wire.push_back((time, packet));
        if !target.expected {
            target.expected = true;
            kernel.schedule(time, Event::Arrival { connection: number, end: 1 - from });
        }
        kernel.note(Step::Send, number, size);
    }

    /// Sends data, which must fit the room there is, in seeded pieces.
    fn send_data(&mut self, kernel: &Kernel, number: u64, from: usize, mut data: Bytes) {
        let Some(ends) = self.connections.get_mut(&number) else { return };
        ends[from].room -= data.len() as u64;
        let link = self.link_of(number, from);
        while !data.is_empty() {
            let piece = link.piece(data.len() as u64, &mut self.rng);
            let piece = data.split_to(piece as usize);
            self.send(kernel, number, from, Packet::Data(piece));
        }
    }

    fn link_of(&self, number: u64, from: usize) -> Link {
        let ends = &self.connections[&number];
        self.link(ends[from].host, ends[1 - from].host)
    }

    /// Delivers what has reached this end. On a cut link it stays on the wire until the link heals.
    pub(super) fn arrive(&mut self, kernel: &Kernel, number: u64, end: usize) {
        let Some(ends) = self.connections.get_mut(&number) else { return };
        let sender = ends[1 - end].host;
        let target = &mut ends[end];
        target.expected = false;
        if self.cuts.contains(&(sender, target.host)) {
            return;
        }
        let mut unwanted = false;
        while let Some((time, _)) = target.wire.front() {
            if *time > kernel.now() {
                target.expected = true;
                kernel.schedule(*time, Event::Arrival { connection: number, end });
                break;
            }
            let Some((_, packet)) = target.wire.pop_front() else { break };
            unwanted |= target.closed && matches!(packet, Packet::Data(_));
            if !target.closed {
                target.deliver(packet);
            }
        }
        kernel.note(Step::Deliver, number, end as u64);
        if unwanted {
            self.send(kernel, number, end, Packet::Reset);
        }
        self.forget_if_over(number);
    }

    /// Nobody holds this end any more. Data under way still arrives; data that was never read is a reset.
    pub(super) fn close(&mut self, kernel: &Kernel, number: u64, end: usize) {
        let Some(ends) = self.connections.get_mut(&number) else { return };
        let ours = &mut ends[end];
        if !ours.closed {
            ours.closed = true;
            if ours.has_unread() {
                self.send(kernel, number, end, Packet::Reset);
            } else if !ours.shut {
                self.send(kernel, number, end, Packet::Finish);
            }
        }
        self.forget_if_over(number);
    }

    fn forget_if_over(&mut self, number: u64) {
        if self.connections.get(&number).is_some_and(|[a, b]| a.closed && b.closed) {
            self.connections.remove(&number);
        }
    }

    /// Says that no more will be sent from this end.
    pub(super) fn shutdown(&mut self, kernel: &Kernel, number: u64, end: usize) {
        let Some(ends) = self.connections.get_mut(&number) else { return };
        let ours = &mut ends[end];
        if !ours.shut && !ours.closed {
            ours.shut = true;
            ours.wake_reader();
            self.send(kernel, number, end, Packet::Finish);
        }
    }

    pub(super) fn poll_read(
        &mut self,
        kernel: &Kernel,
        (number, end): (u64, usize),
        waker: &Waker,
        into: &mut BytesMut,
        max: usize,
    ) -> Poll<Result<usize>> {
        let Some(ends) = self.connections.get_mut(&number) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let polled = ends[end].poll_read(waker, into, max);
        if let Poll::Ready(Ok(taken @ 1..)) = polled {
            self.send(kernel, number, end, Packet::Taken(taken as u64));
        }
        polled
    }

    pub(super) fn poll_room(&mut self, (number, end): (u64, usize), waker: &Waker) -> Poll<Result<u64>> {
        match self.connections.get_mut(&number) {
            Some(ends) => ends[end].poll_room(waker),
            None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

/// Whether two addresses cannot both be listened on, or whether one reaches the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && same_ip
}
