//! A pipe: bytes of one direction that user space never sees.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;

/// A kernel pipe and the count of what is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
    capacity: usize,
}

impl Pipe {
    /// A pipe of about `capacity` bytes, or of the system's default size where that is refused.
    ///
    /// # Errors
    /// When no pipe can be made, as when the process is out of descriptors.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let (read, write) = sys::pipe::pipe()?;
        let capacity = sys::pipe::set_capacity(write.as_fd(), capacity)
            .or_else(|_| sys::pipe::capacity(write.as_fd()))?;
        Ok(Self {
            read,
            write,
            held: 0,
            capacity,
        })
    }

    /// The end that is read.
    #[must_use]
    pub fn read_end(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// The end that is written.
    #[must_use]
    pub fn write_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Its size, bytes. Segments that fill their pages badly use it up sooner.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in it.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// `count` bytes went in.
    pub fn filled(&mut self, count: usize) {
        self.held += count;
    }

    /// `count` bytes came out.
    pub fn taken(&mut self, count: usize) {
        assert!(count <= self.held);
        self.held -= count;
    }
}
