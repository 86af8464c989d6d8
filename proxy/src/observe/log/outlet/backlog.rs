//! Lines that wait to go out.

use std::collections::VecDeque;

/// Bytes that may wait for one target. Some 5000 lines.
const LIMIT: usize = 1 << 20;

/// Lines that wait to go out, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: VecDeque<u8>,
    lengths: VecDeque<usize>,
    /// Bytes of the first line that are out.
    sent: usize,
}

impl Backlog {
    /// Adds a line of these parts; `false`: there is no room.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> bool {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.bytes.len() + length > LIMIT {
            return false;
        }
        for part in parts {
            self.bytes.extend(*part);
        }
        self.lengths.push_back(length);
        true
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// The first line, as far as it is not out.
    pub(super) fn first(&mut self) -> Option<&[u8]> {
        self.chunk(0)
    }

    /// As many whole lines as fit into `most` bytes, one at least; without what is out of the first.
    pub(super) fn chunk(&mut self, most: usize) -> Option<&[u8]> {
        let mut end = *self.lengths.front()?;
        for length in self.lengths.iter().skip(1) {
            if end + length > most {
                break;
            }
            end += length;
        }
        if self.bytes.as_slices().0.len() < end {
            self.bytes.make_contiguous();
        }
        self.bytes.as_slices().0.get(self.sent..end)
    }

    /// That many bytes more are out.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        while let Some(&length) = self.lengths.front()
            && length <= self.sent
        {
            self.drop_first();
            self.sent -= length;
        }
    }

    /// The first line has to go out from its beginning again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Gives the first line up.
    pub(super) fn skip(&mut self) {
        self.drop_first();
        self.sent = 0;
    }

    /// Gives all lines up; says how many.
    pub(super) fn clear(&mut self) -> u64 {
        let lines = self.lengths.len() as u64;
        self.bytes.clear();
        self.lengths.clear();
        self.sent = 0;
        lines
    }

    fn drop_first(&mut self) {
        if let Some(length) = self.lengths.pop_front() {
            self.bytes.drain(..length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(lines: &[&str]) -> Backlog {
        let mut backlog = Backlog::default();
        for line in lines {
            assert!(backlog.push(&[line.as_bytes()]));
        }
        backlog
    }

    #[test]
    fn chunks_are_whole_lines() {
        let mut backlog = backlog(&["aaa", "bb", "cccc"]);
        assert_eq!(backlog.first(), Some(&b"aaa"[..]));
        assert_eq!(backlog.chunk(5), Some(&b"aaabb"[..]));
        assert_eq!(backlog.chunk(8), Some(&b"aaabb"[..]));
        assert_eq!(backlog.chunk(9), Some(&b"aaabbcccc"[..]));
    }

    #[test]
    fn a_line_that_is_partly_out_can_go_again() {
        let mut backlog = backlog(&["aaa", "bb"]);
        backlog.advance(4);
        assert_eq!((backlog.len(), backlog.chunk(9)), (1, Some(&b"b"[..])));
        backlog.rewind();
        assert_eq!(backlog.chunk(9), Some(&b"bb"[..]));
        backlog.advance(2);
        assert_eq!((backlog.len(), backlog.first()), (0, None));
    }

    #[test]
    fn it_is_bounded_and_counts_what_it_gives_up() {
        let mut backlog = Backlog::default();
        let line = [b'x'; 1000];
        let taken = (0..2000).filter(|_| backlog.push(&[&line])).count();
        assert_eq!(taken, LIMIT / 1000);
        backlog.advance(1500);
        assert!(backlog.push(&[&line]));
        assert!(!backlog.push(&[&line]));
        assert_eq!(backlog.clear(), taken as u64);
        assert_eq!(backlog.len(), 0);
    }

    #[test]
    fn it_goes_around_its_ring() {
        let mut backlog = Backlog::default();
        for round in 0..1000 {
            let line = format!("{round:04}{}", "y".repeat(round % 97));
            assert!(backlog.push(&[b"<", line.as_bytes(), b">"]));
            if round % 3 == 2 {
                let first = backlog.first().map(<[u8]>::len).unwrap();
                assert!(backlog.first().unwrap().starts_with(b"<"));
                backlog.advance(first);
            }
        }
        assert!(backlog.chunk(4096).unwrap().ends_with(b">"));
    }
}
