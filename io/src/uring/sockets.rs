//! Sockets: listening, accepting, connecting, and what both halves of a connection share.

use super::core::Core;
use super::inlet::{End, Inlet};
use super::time;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, accept4, bind, connect,
    getsockname, getsockopt, listen, setsockopt, socket, sockopt,
};
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

/// Connections that the kernel keeps for us until they are accepted (it caps this at `net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// How long a listener waits when the process or the system has run out of something.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// A peer that vanished without a word is noticed after 60 s + 6 * 10 s of silence.
const KEEPALIVE_IDLE_S: u32 = 60;
const KEEPALIVE_INTERVAL_S: u32 = 10;
const KEEPALIVE_PROBES: u32 = 6;
/// Congestion control that paces nothing; Linux always has it and lets everybody choose it.
const UNPACED: &str = "reno";

/// A connected socket that no core has adopted yet.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// What both halves of an adopted connection share. The socket closes with the last of them, and not before the kernel
/// is done with it.
pub(super) struct Conn {
    fd: OwnedFd,
    pub(super) inlet: RefCell<Inlet>,
}

impl Conn {
    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn borrow_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Tells the peer that no more will come, and ends the reader.
    pub(super) fn shutdown(&self, core: &Core) {
        // Not connected any more is as good.
        let _ = nix::sys::socket::shutdown(self.raw(), nix::sys::socket::Shutdown::Write);
        let waker = {
            let mut inlet = self.inlet.borrow_mut();
            inlet.end.get_or_insert(End::Finished);
            inlet.stop(core);
            inlet.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets partial packets wait for what follows, or sends them.
    pub(super) fn cork(&self, corked: bool) {
        let (corked, size) = (libc::c_int::from(corked), size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the option reads one int at the address given. On a connection that is broken the next send says so.
        unsafe {
            libc::setsockopt(self.raw(), libc::IPPROTO_TCP, libc::TCP_CORK, (&raw const corked).cast(), size)
        };
    }

    /// Bytes that the peer has not acknowledged yet.
    pub(super) fn unacknowledged(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int to the address given.
        let done = unsafe { libc::ioctl(self.raw(), libc::TIOCOUTQ, &raw mut count) };
        if done < 0 { 0 } else { count.max(0) as usize }
    }
}

/// Makes a socket non-blocking, without Nagle's delay, and checked for life.
pub(super) fn adopt(socket: Socket) -> Result<Rc<Conn>> {
    let fd = socket.0;
    set_nonblocking(&fd)?;
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    setsockopt(&fd, sockopt::KeepAlive, &true)?;
    setsockopt(&fd, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S)?;
    setsockopt(&fd, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S)?;
    setsockopt(&fd, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    Ok(Rc::new(Conn { fd, inlet: RefCell::default() }))
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

fn new_socket(addr: &SocketAddr) -> Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?)
}

/// A bound, listening socket.
pub struct Listener {
    core: Rc<Core>,
    fd: Rc<OwnedFd>,
    /// The congestion control of connections from other machines.
    congestion: Option<OsString>,
    local: SocketAddr,
}

impl Listener {
    /// Binds `addr` exclusively and listens.
    pub(super) fn bind(core: &Rc<Core>, addr: SocketAddr) -> Result<Self> {
        let fd = new_socket(&addr)?;
        // Lets a restarted broker bind while old connections linger; two listeners still exclude each other.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
        // For the listener, because a connection that BBR has begun goes on pacing whatever is chosen afterwards.
        let congestion = getsockopt(&fd, sockopt::TcpCongestion).ok().map(without_zeros);
        choose_congestion(&fd, OsStr::new(UNPACED));
        listen(&fd, Backlog::new(BACKLOG)?)?;
        let local = to_std(&getsockname::<SockaddrStorage>(fd.as_raw_fd())?)?;
        Ok(Self { core: core.clone(), fd: Rc::new(fd), congestion, local })
    }
}

impl crate::Listener for Listener {
    type Socket = Socket;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    // Accepting inline and waiting on the ring: a future that is dropped never loses a connection.
    async fn accept(&mut self) -> Result<(Socket, SocketAddr)> {
        loop {
            match accept4(self.fd.as_raw_fd(), SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => {
                    // SAFETY: accept4 has just given us this descriptor; nobody else has it.
                    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                    // A peer that is gone again has no address.
                    if let Some(peer) = peer_of(&fd) {
                        if !is_here(&fd, peer) {
                            self.congestion.iter().for_each(|usual| choose_congestion(&fd, usual));
                        }
                        return Ok((Socket(fd), peer));
                    }
                }
                Err(nix::Error::EAGAIN) => {
                    self.core.poll_socket(self.fd.clone(), libc::POLLIN).await.0?;
                }
                Err(error) if is_exhaustion(error) => {
                    tracing::warn!(%error, "connections cannot be accepted for the moment; raise the limit on open files");
                    time::sleep(&self.core, EXHAUSTED_PAUSE).await;
                }
                Err(error) if is_peers_fault(error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn peer_of(fd: &OwnedFd) -> Option<SocketAddr> {
    to_std(&nix::sys::socket::getpeername::<SockaddrStorage>(fd.as_raw_fd()).ok()?).ok()
}

/// Where it cannot be chosen, the machine's own is as correct.
fn choose_congestion(fd: &OwnedFd, name: &OsStr) {
    if let Err(error) = setsockopt(fd, sockopt::TcpCongestion, &name.to_owned()) {
        tracing::debug!(%error, ?name, "the congestion control cannot be chosen");
    }
}

/// The kernel fills the name up with zeros.
fn without_zeros(name: OsString) -> OsString {
    let bytes = name.as_bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    OsStr::from_bytes(&bytes[..end]).to_owned()
}

/// Whether a peer is on this machine. On the way to it nothing can be congested, and where the machine's congestion control paces (BBR does), every
/// few segments would wait for a timer: a third of what it costs to send a large answer.
fn is_here(fd: &OwnedFd, peer: SocketAddr) -> bool {
    let local = || getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok().and_then(|local| to_std(&local).ok());
    peer.ip().to_canonical().is_loopback() || local().is_some_and(|local| local.ip() == peer.ip())
}

fn is_exhaustion(error: nix::Error) -> bool {
    use nix::Error as E;
    matches!(error, E::EMFILE | E::ENFILE | E::ENOBUFS | E::ENOMEM)
}

/// What Linux reports from the new connection rather than from the listener (accept(2)).
fn is_peers_fault(error: nix::Error) -> bool {
    use nix::Error as E;
    matches!(
        error,
        E::EINTR
            | E::ECONNABORTED
            | E::EPROTO
            | E::EPERM
            | E::ENETDOWN
            | E::ENETUNREACH
            | E::EHOSTDOWN
            | E::EHOSTUNREACH
            | E::ENOPROTOOPT
            | E::ENONET
            | E::EOPNOTSUPP
            | E::ETIMEDOUT
    )
}

/// Connects to `addr`.
pub(super) async fn connect_to(core: &Rc<Core>, addr: SocketAddr) -> Result<Socket> {
    let fd = Rc::new(new_socket(&addr)?);
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(addr)) {
        Ok(()) => {}
        Err(nix::Error::EINPROGRESS | nix::Error::EINTR) => {
            core.poll_socket(fd.clone(), libc::POLLOUT).await.0?;
            match nix::sys::socket::getsockopt(&*fd, sockopt::SocketError)? {
                0 => {}
                error => return Err(Error::from_raw_os_error(error)),
            }
        }
        Err(error) => return Err(error.into()),
    }
    // The poll is over and its slot gone, so this is the only owner left.
    let fd = Rc::try_unwrap(fd).or_else(|shared| shared.try_clone())?;
    Ok(Socket(fd))
}

fn to_std(addr: &SockaddrStorage) -> Result<SocketAddr> {
    match addr.family() {
        Some(AddressFamily::Inet) => addr.as_sockaddr_in().map(|&a| SocketAddr::V4(a.into())),
        Some(AddressFamily::Inet6) => addr.as_sockaddr_in6().map(|&a| SocketAddr::V6(a.into())),
        _ => None,
    }
    .ok_or_else(|| Error::other("a socket address that is neither IPv4 nor IPv6"))
}
