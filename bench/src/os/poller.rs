//! Waiting for many sockets and one point in time, in one call.

use crate::error::{Doing, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ALARM: u64 = u64::MAX;

/// A set of sockets, each with a number, and an alarm that is finer than the milliseconds of epoll itself.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    alarm: TimerFd,
    found: Vec<EpollEvent>,
    ready: Vec<Ready>,
}

/// A socket for which something can be done.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Its number.
    pub number: usize,
    /// There is something to read, or an end or error to see.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Poller {
    /// An empty set.
    pub fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("epoll")?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let alarm = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).doing("timerfd")?;
        epoll.add(&alarm, EpollEvent::new(EpollFlags::EPOLLIN, ALARM)).doing("epoll")?;
        Ok(Self { epoll, alarm, found: vec![EpollEvent::empty(); 256], ready: Vec::new() })
    }

    /// Adds a socket, to be told when it is readable.
    pub fn add(&self, stream: &TcpStream, number: usize) -> Result<()> {
        self.epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64)).doing("epoll")
    }

    /// Whether to be told as well when the socket is writable.
    pub fn watch_room(&self, stream: &TcpStream, number: usize, watch: bool) -> Result<()> {
        let room = if watch { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, number as u64);
        self.epoll.modify(stream, &mut event).doing("epoll")
    }

    /// Ends a wait at this time at the latest.
    pub fn wake_at(&self, time: Instant) -> Result<()> {
        // Zero would turn the alarm off.
        let left = time.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
        self.alarm.set(expiration, TimerSetTimeFlags::empty()).doing("timerfd")
    }

    /// Waits until a socket is ready, the alarm rings, or `most` has passed.
    pub fn wait(&mut self, most: Duration) -> Result<&[Ready]> {
        let most = EpollTimeout::try_from(most).unwrap_or(EpollTimeout::MAX);
        let count = match self.epoll.wait(&mut self.found, most) {
            Err(Errno::EINTR) => 0,
            waited => waited.doing("epoll")?,
        };
        self.ready.clear();
        for event in &self.found[..count] {
            if event.data() == ALARM {
                // It rang; what it says is that it did. Without this it would go on ringing.
                let _ = self.alarm.wait();
                continue;
            }
            let events = event.events();
            self.ready.push(Ready {
                number: event.data() as usize,
                readable: events
                    .intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
                writable: events.contains(EpollFlags::EPOLLOUT),
            });
        }
        Ok(&self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn an_alarm_ends_the_wait_in_time_and_once() {
        let mut poller = Poller::new().unwrap();
        let started = Instant::now();
        poller.wake_at(started + Duration::from_millis(5)).unwrap();
        assert!(poller.wait(Duration::from_secs(20)).unwrap().is_empty());
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(5) && waited < Duration::from_secs(10), "{waited:?}");
        let again = Instant::now();
        assert!(poller.wait(Duration::from_millis(20)).unwrap().is_empty());
        assert!(again.elapsed() >= Duration::from_millis(19), "the alarm rings once");
    }

    #[test]
    fn a_socket_is_told_by_its_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (to, _) = listener.accept().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&to, 42).unwrap();
        assert!(poller.wait(Duration::from_millis(1)).unwrap().is_empty());
        poller.watch_room(&to, 42, true).unwrap();
        let [room] = poller.wait(Duration::from_secs(10)).unwrap() else { panic!("one socket has room") };
        assert!((room.number, room.readable, room.writable) == (42, false, true));
        poller.watch_room(&to, 42, false).unwrap();
        from.write_all(b"x").unwrap();
        let [data] = poller.wait(Duration::from_secs(10)).unwrap() else { panic!("one socket has data") };
        assert!((data.number, data.readable, data.writable) == (42, true, false));
    }
}
