//! A channel: one direction between two connections. Flags, counters, and its bytes in a buffer,
//! in a pipe, or (while it is promoted) in the kernel's hands.

pub mod buffer;
pub mod pipe;
pub mod pool;
pub mod pump;
pub mod sizing;

use std::rc::Rc;

use crate::observe::record::{DirectionRecord, Path};
use buffer::Buffer;
use pipe::Pipe;
use pool::Pool;
use sizing::Sizing;

bitflags::bitflags! {
    /// What has happened to a channel. "The source ended" and "the target was told" are two
    /// facts: between them lie the bytes still held.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Flags: u8 {
        /// The source sent its FIN and everything before it was read.
        const SHUT_IN = 0x01;
        /// The FIN was passed on to the target.
        const SHUT_OUT = 0x02;
        /// The source failed.
        const ERR_IN = 0x04;
        /// The target failed: what the source still sends has nowhere to go.
        const ERR_OUT = 0x08;
        /// The source failed while it was being written to: what it sent before is still worth
        /// reading, but its end is no end and must not be passed on as one.
        const CUT = 0x10;
    }
}

/// Which user-space path a channel may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserPath {
    /// Buffers only.
    Buffer,
    /// Pipes only.
    Pipe,
    /// Buffers while it is chatty, pipes while it is bulk.
    Adaptive,
}

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Store {
    Nothing,
    Buffer(Buffer),
    Pipe(Pipe),
}

/// One direction of a flow.
#[derive(Debug)]
pub struct Channel {
    pub(crate) flags: Flags,
    pub(crate) store: Store,
    pub(crate) sizing: Sizing,
    pub(crate) path: UserPath,
    pub(crate) record: Rc<DirectionRecord>,
}

impl Channel {
    /// An empty channel that accounts into `record`.
    #[must_use]
    pub fn new(path: UserPath, sizing: Sizing, record: Rc<DirectionRecord>) -> Self {
        Self {
            flags: Flags::empty(),
            store: Store::Nothing,
            sizing,
            path,
            record,
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Its source failed while it was being written to.
    pub fn cut(&mut self) {
        self.flags |= Flags::CUT;
    }

    /// Nothing more is read of its source: what is held is the last.
    pub fn end(&mut self) {
        self.flags |= Flags::SHUT_IN;
    }

    /// Bytes read and not written yet.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.store {
            Store::Nothing => 0,
            Store::Buffer(buffer) => buffer.held().len(),
            Store::Pipe(pipe) => pipe.held(),
        }
    }

    /// Gives buffer or pipe back to the pool. Only an empty store may be given back.
    pub(crate) fn release(&mut self, pool: &Pool) {
        debug_assert_eq!(self.held(), 0);
        match std::mem::replace(&mut self.store, Store::Nothing) {
            Store::Nothing => {}
            Store::Buffer(buffer) => pool.put_buffer(buffer),
            Store::Pipe(pipe) => pool.put_pipe(pipe),
        }
    }

    /// Drops what is held: its target is gone.
    pub(crate) fn discard(&mut self, pool: &Pool) {
        if let Store::Buffer(mut buffer) = std::mem::replace(&mut self.store, Store::Nothing) {
            buffer.clear();
            pool.put_buffer(buffer);
        }
        // A pipe that still holds bytes is closed, not reused.
    }

    /// Takes what is held out as a buffer, for the engine that takes over; `None` if it is in a
    /// pipe, which cannot be handed over.
    pub(crate) fn take_held(&mut self, pool: &Pool) -> Option<Buffer> {
        match std::mem::replace(&mut self.store, Store::Nothing) {
            Store::Nothing => Some(Buffer::empty()),
            Store::Buffer(buffer) => Some(buffer),
            Store::Pipe(pipe) if pipe.is_empty() => {
                pool.put_pipe(pipe);
                Some(Buffer::empty())
            }
            Store::Pipe(pipe) => {
                self.store = Store::Pipe(pipe);
                None
            }
        }
    }

    /// Puts bytes in that were read elsewhere: before the DATA phase, or for an engine that did not
    /// take them after all.
    pub(crate) fn put_held(&mut self, buffer: Buffer) {
        debug_assert!(matches!(self.store, Store::Nothing));
        if !buffer.held().is_empty() {
            self.record.path.set(Path::Buffer);
            self.store = Store::Buffer(buffer);
        }
    }

    /// Puts a buffer of the right size in place before a read from a source that can fill nothing
    /// else.
    pub(crate) fn provide_buffer(&mut self, pool: &Pool) -> &mut Buffer {
        self.path = UserPath::Buffer;
        self.provide(pool);
        if !matches!(self.store, Store::Buffer(_)) {
            self.store = Store::Buffer(pool.get_buffer(self.sizing.size()));
        }
        match &mut self.store {
            Store::Buffer(buffer) => buffer,
            _ => unreachable!("a buffer was just put in place"),
        }
    }

    /// Puts a store of the right kind and size in place before a read.
    pub(crate) fn provide(&mut self, pool: &Pool) {
        let want_pipe = match self.path {
            UserPath::Buffer => false,
            UserPath::Pipe => true,
            UserPath::Adaptive => self.sizing.is_bulk(),
        };
        match &self.store {
            Store::Buffer(buffer) if !want_pipe && buffer.capacity() == self.sizing.size() => {
                return;
            }
            Store::Pipe(_) if want_pipe => return,
            _ => {}
        }
        self.release(pool);
        if want_pipe {
            match pool.get_pipe() {
                Ok(pipe) => {
                    self.record.path.set(Path::Pipe);
                    self.store = Store::Pipe(pipe);
                    return;
                }
                Err(error) => {
                    // Out of descriptors: a buffer needs none.
                    tracing::debug!(%error, "no pipe to be had; using a buffer");
                    self.path = UserPath::Buffer;
                }
            }
        }
        self.record.path.set(Path::Buffer);
        self.store = Store::Buffer(pool.get_buffer(self.sizing.size()));
    }
}
