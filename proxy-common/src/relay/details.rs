//! What a daemon that takes over a flow from another has to know for its log line, and cannot see in
//! the flow's segments.

/// Bytes of a name; longer ones are cut.
pub const NAME: usize = 56;

/// A name, filled up with zeros, as words in the order of memory.
pub type Name = [u64; NAME / 8];

/// No such moment.
pub const NEVER: u64 = u64::MAX;

/// The value of a memory-mapped array beside the flow's record. Only daemons read and write it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Details {
    /// The frontend's name.
    pub frontend: Name,
    /// The backend's.
    pub backend: Name,
    /// The server's.
    pub server: Name,
    /// The flow's number in the daemon that accepted it.
    pub number: u64,
    /// Process id of that daemon.
    pub process: u64,
    /// Wall clock of the accept, ns since 1970.
    pub accepted: u64,
    /// From the accept to the end of the client's handshakes, ns.
    pub ready: u64,
    /// From the accept to the first attempt to connect, ns, or [`NEVER`].
    pub connecting: u64,
    /// From the accept to the server connection, ns, or [`NEVER`].
    pub connected: u64,
    /// Payload bytes of each end that user space has moved.
    pub user: [u64; 2],
    /// Connection attempts beyond the first.
    pub retries: u64,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            frontend: Name::default(),
            backend: Name::default(),
            server: Name::default(),
            number: 0,
            process: 0,
            accepted: 0,
            ready: 0,
            connecting: NEVER,
            connected: NEVER,
            user: [0; 2],
            retries: 0,
        }
    }
}

/// Words of [`Details`].
pub const WORDS: usize = size_of::<Details>() / 8;

impl Details {
    /// Word by word, as it is stored.
    #[must_use]
    pub fn words(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        let rest = [
            self.number,
            self.process,
            self.accepted,
            self.ready,
            self.connecting,
            self.connected,
            self.user[0],
            self.user[1],
            self.retries,
        ];
        let all = [&self.frontend[..], &self.backend, &self.server, &rest];
        for (word, value) in words.iter_mut().zip(all.into_iter().flatten()) {
            *word = *value;
        }
        words
    }

    /// From its words.
    #[must_use]
    pub fn of(words: &[u64; WORDS]) -> Self {
        const NAMES: usize = NAME / 8;
        let name = |at: usize| {
            let mut name = Name::default();
            name.copy_from_slice(&words[at * NAMES..(at + 1) * NAMES]);
            name
        };
        let rest = &words[3 * NAMES..];
        Self {
            frontend: name(0),
            backend: name(1),
            server: name(2),
            number: rest[0],
            process: rest[1],
            accepted: rest[2],
            ready: rest[3],
            connecting: rest[4],
            connected: rest[5],
            user: [rest[6], rest[7]],
            retries: rest[8],
        }
    }
}

/// A name as it is stored, cut at a character where it is too long.
#[must_use]
pub fn name(text: &str) -> Name {
    let mut end = text.len().min(NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = [0; NAME];
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    let mut name = Name::default();
    for (word, bytes) in name.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_everything() {
        let mut words = [0; WORDS];
        for (at, word) in words.iter_mut().enumerate() {
            *word = at as u64 + 1;
        }
        assert_eq!(Details::of(&words).words(), words);
    }

    #[test]
    fn names_are_cut_at_a_character() {
        assert_eq!(name("ab")[0].to_ne_bytes(), *b"ab\0\0\0\0\0\0");
        let long = "x".repeat(NAME - 1) + "é";
        assert_eq!(name(&long)[6].to_ne_bytes(), *b"xxxxxxx\0");
    }
}
