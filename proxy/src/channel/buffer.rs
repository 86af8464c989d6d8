//! A buffer: bytes read and not written yet, contiguous.

/// Bytes of one direction in user space. Filled at the end, taken from the front; starts over
/// when it runs empty, so that it never has to move bytes.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// A buffer without memory, which is always empty and full.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(0)
    }

    /// Its size, bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes read and not written yet.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The bytes held, to be changed in place.
    pub fn held_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Moves what it holds to the front, so that all of its room is at the end.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Appends `bytes`, growing if needed.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// The free room at the end.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// `count` bytes of the room were filled.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len());
    }

    /// `count` of the held bytes were written.
    pub fn taken(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets what it holds.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Makes sure that there is room for `count` more bytes, moving what it holds if needed.
    pub fn reserve(&mut self, count: usize) {
        if self.bytes.len() - self.end >= count {
            return;
        }
        let held = self.end - self.start;
        let mut bytes = vec![0; (held + count).next_power_of_two()];
        bytes[..held].copy_from_slice(self.held());
        self.bytes = bytes.into_boxed_slice();
        self.start = 0;
        self.end = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::new(4);
        buffer.room()[..3].copy_from_slice(b"abc");
        buffer.filled(3);
        buffer.taken(1);
        assert_eq!(buffer.held(), b"bc");
        buffer.reserve(4);
        buffer.room()[..4].copy_from_slice(b"defg");
        buffer.filled(4);
        assert_eq!(buffer.held(), b"bcdefg");
        buffer.taken(1);
        buffer.compact();
        buffer.push(b"h");
        assert_eq!(buffer.held(), b"cdefgh");
        buffer.taken(6);
        assert!(buffer.held().is_empty());
        assert_eq!(buffer.room().len(), buffer.capacity());
    }
}
