//! A worker's buffers and pipes that are not in use. An idle direction holds neither.

use std::cell::RefCell;
use std::io;

use super::buffer::Buffer;
use super::pipe::Pipe;

/// Buffers kept per worker, bytes in all: enough for the flows that are busy at one moment, since
/// a direction holds one only while its target is behind.
const KEPT_BUFFER_BYTES: usize = 8 << 20;
/// Pipes kept per worker.
const KEPT_PIPES: usize = 64;

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Buffer>,
    buffer_bytes: usize,
    pipes: Vec<Pipe>,
}

/// The spare buffers and pipes of one worker.
#[derive(Debug)]
pub struct Pool {
    kept: RefCell<Kept>,
    pipe_size: usize,
}

impl Pool {
    /// An empty pool whose pipes have about `pipe_size` bytes.
    #[must_use]
    pub fn new(pipe_size: usize) -> Self {
        Self {
            kept: RefCell::default(),
            pipe_size,
        }
    }

    /// A buffer of exactly `capacity` bytes.
    #[must_use]
    pub fn get_buffer(&self, capacity: usize) -> Buffer {
        let mut kept = self.kept.borrow_mut();
        // The last one given back is the one whose memory is still in the cache.
        if let Some(found) = kept.buffers.iter().rposition(|b| b.capacity() == capacity) {
            kept.buffer_bytes -= capacity;
            return kept.buffers.swap_remove(found);
        }
        Buffer::new(capacity)
    }

    /// Takes an empty buffer back.
    pub fn put_buffer(&self, buffer: Buffer) {
        debug_assert!(buffer.held().is_empty());
        let mut kept = self.kept.borrow_mut();
        // A buffer that grew beyond what directions ask for would never be taken out again.
        let useful = (1..=super::sizing::LARGEST).contains(&buffer.capacity());
        if useful && kept.buffer_bytes + buffer.capacity() <= KEPT_BUFFER_BYTES {
            kept.buffer_bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }

    /// An empty pipe.
    ///
    /// # Errors
    /// When none is kept and none can be made.
    pub fn get_pipe(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.kept.borrow_mut().pipes.pop() {
            return Ok(pipe);
        }
        Pipe::new(self.pipe_size)
    }

    /// Takes a pipe back; one that still holds bytes is closed.
    pub fn put_pipe(&self, pipe: Pipe) {
        let mut kept = self.kept.borrow_mut();
        if pipe.is_empty() && kept.pipes.len() < KEPT_PIPES {
            kept.pipes.push(pipe);
        }
    }
}
