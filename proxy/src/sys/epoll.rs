//! An epoll instance of our own, for sockets that the runtime must not watch, and an eventfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_len};

bitflags::bitflags! {
    /// What to watch for, and what happened.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Interest: u32 {
        /// Bytes to read.
        const IN = libc::EPOLLIN as u32;
        /// Room to write.
        const OUT = libc::EPOLLOUT as u32;
        /// The peer sent a FIN.
        const RDHUP = libc::EPOLLRDHUP as u32;
        /// Both halves are shut; reported unasked.
        const HUP = libc::EPOLLHUP as u32;
        /// The socket has an error; reported unasked.
        const ERR = libc::EPOLLERR as u32;
        /// Report changes, not levels.
        const EDGE = libc::EPOLLET as u32;
    }
}

/// What happened to one watched descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The token that the descriptor was added with.
    pub token: u64,
    /// What happened.
    pub happened: Interest,
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Makes one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just made this descriptor and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn control(
        &self,
        op: libc::c_int,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.bits(),
            u64: token,
        };
        // SAFETY: `event` lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd.as_raw_fd(), &raw mut event) })
            .map(drop)
    }

    /// Starts to watch `fd`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what `fd` is watched for; what already holds is reported again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Stops watching `fd`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::empty())
    }

    /// Waits without limit and calls `each` for up to 64 events. A signal is no event.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self, mut each: impl FnMut(Event)) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: `events` has room for as many as the call is told.
        let result = check(unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as libc::c_int,
                -1,
            )
        });
        let count = match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other? as usize,
        };
        for event in &events[..count] {
            each(Event {
                token: event.u64,
                happened: Interest::from_bits_truncate(event.events),
            });
        }
        Ok(())
    }
}

/// An eventfd: wakes a thread that waits in an [`Epoll`].
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel just made this descriptor and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn notify(&self) -> io::Result<()> {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes, as an eventfd requires.
        check_len(unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) })
            .map(drop)
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
