//! TLS's first message, read without taking part in the handshake.
//!
//! Everything here looks at a prefix of what one side sends, from its first byte on, and says the
//! same or more when it is asked again with more bytes. Nothing is kept between two looks: what was
//! seen is read again, which costs a few comparisons per record.
//!
//! Unlike HAProxy, a message that is split over several records is put together, and only
//! handshake records count: a stream that begins with another kind of record is not TLS here.

mod sslv2;
#[cfg(test)]
mod tests;

use bumpalo::Bump;

/// Kind of a ClientHello (RFC 8446 section 4).
pub const CLIENT_HELLO: u8 = 1;

/// Kind of a record with handshake messages.
const HANDSHAKE_RECORD: u8 = 22;
/// Length of a record's header: kind, version, length.
const RECORD_HEADER: usize = 5;
/// Length of a handshake message's header: kind, length.
const MESSAGE_HEADER: usize = 4;
/// Largest payload of a record in any version (SSL 3.0 lets compression add 1024 bytes, and
/// encryption as many).
const MOST_IN_RECORD: usize = (1 << 14) + 2048;
/// Largest message that is worth waiting for: TLS libraries refuse longer ones.
const MOST_IN_MESSAGE: usize = 64 << 10;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const ALPN: u16 = 16;
const SESSION_TICKET: u16 = 35;

/// What a prefix of a stream turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<T> {
    /// Something else, whatever follows.
    NotTls,
    /// It may become it: more bytes will tell.
    Partial,
    /// It is all there.
    Complete(T),
}

impl<T> Seen<T> {
    /// Looks closer at what is complete; `None` from it: it is something else.
    fn and<U>(self, look: impl FnOnce(T) -> Option<U>) -> Seen<U> {
        match self {
            Self::NotTls => Seen::NotTls,
            Self::Partial => Seen::Partial,
            Self::Complete(value) => look(value).map_or(Seen::NotTls, Seen::Complete),
        }
    }
}

/// A handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is: 1 is a ClientHello, 2 a ServerHello.
    pub kind: u8,
    /// What follows its header.
    pub body: &'a [u8],
}

/// A client's first message, since TLS 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version that it names outside of extensions: 0x0303 from TLS 1.2 on.
    pub version: u16,
    /// The session that it would like to resume; empty where there is none.
    pub session_id: &'a [u8],
    /// The cipher suites that it offers, two bytes each.
    pub ciphers: &'a [u8],
    extensions: &'a [u8],
}

/// What a client says about session tickets (RFC 5077).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// It does not know them.
    Unknown,
    /// It would like one.
    Wanted,
    /// It has one.
    Shown,
}

/// The first handshake message of a stream. It is put together in `arena` where it came in several
/// records.
pub fn message<'a>(bytes: &'a [u8], arena: &'a Bump) -> Seen<Message<'a>> {
    let mut header = [0; MESSAGE_HEADER];
    let mut seen = 0;
    for record in (Records { rest: bytes }) {
        let Ok(Record { fragment, whole }) = record else {
            return Seen::NotTls;
        };
        if seen < MESSAGE_HEADER {
            let room = &mut header[seen..];
            let count = room.len().min(fragment.len());
            room[..count].copy_from_slice(&fragment[..count]);
        }
        let first = seen == 0;
        seen += fragment.len();
        if seen >= MESSAGE_HEADER {
            let [kind, a, b, c] = header;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MOST_IN_MESSAGE {
                return Seen::NotTls;
            }
            let end = MESSAGE_HEADER + length;
            if seen >= end {
                let body = if first {
                    &fragment[MESSAGE_HEADER..end]
                } else {
                    &assemble(bytes, end, arena)[MESSAGE_HEADER..]
                };
                return Seen::Complete(Message { kind, body });
            }
        }
        if !whole {
            break;
        }
    }
    Seen::Partial
}

/// The first `length` bytes of the messages in a stream's records.
fn assemble<'a>(bytes: &[u8], length: usize, arena: &'a Bump) -> &'a [u8] {
    let message = arena.alloc_slice_fill_copy(length, 0);
    let mut room = &mut *message;
    for record in (Records { rest: bytes }).flatten() {
        let count = room.len().min(record.fragment.len());
        let (now, later) = room.split_at_mut(count);
        now.copy_from_slice(&record.fragment[..count]);
        room = later;
        if room.is_empty() {
            break;
        }
    }
    message
}

/// A client's first message.
pub fn client_hello<'a>(bytes: &'a [u8], arena: &'a Bump) -> Seen<Hello<'a>> {
    message(bytes, arena).and(Hello::read)
}

/// The version that a client's first message offers, as HAProxy counts: the major version times
/// 65536, and the minor one. The first messages of SSL 2.0 are known, too.
pub fn offered_version<'a>(bytes: &'a [u8], arena: &'a Bump) -> Seen<u32> {
    match bytes.first() {
        None => Seen::Partial,
        Some(&HANDSHAKE_RECORD) => message(bytes, arena).and(|message| {
            let version = message.body.first_chunk::<2>()?;
            (message.kind == CLIENT_HELLO).then(|| version_number(*version))
        }),
        Some(_) => sslv2::offered_version(bytes),
    }
}

fn version_number([major, minor]: [u8; 2]) -> u32 {
    u32::from(major) << 16 | u32::from(minor)
}

impl<'a> Hello<'a> {
    /// `None`: it is another message, or one without the form of a TLS ClientHello.
    fn read(message: Message<'a>) -> Option<Self> {
        if message.kind != CLIENT_HELLO {
            return None;
        }
        let mut reader = Reader(message.body);
        let version = reader.number()?;
        // SSL 3.0 has neither names nor any other extension.
        if version < 0x0301 {
            return None;
        }
        reader.take(32)?;
        let session_id = reader.short_block().filter(|id| id.len() <= 32)?;
        let ciphers = reader.block().filter(|list| list.len() >= 2)?;
        reader.short_block().filter(|methods| !methods.is_empty())?;
        // Before TLS 1.3 there may be none at all.
        let extensions = if reader.0.is_empty() {
            &[]
        } else {
            reader.block()?
        };
        Some(Self {
            version,
            session_id,
            ciphers,
            extensions,
        })
    }

    /// The content of an extension.
    #[must_use]
    pub fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut reader = Reader(self.extensions);
        while let Some(kind) = reader.number() {
            let content = reader.block()?;
            if kind == wanted {
                return Some(content);
            }
        }
        None
    }

    /// The name of the server that the client wants (RFC 6066 section 3).
    #[must_use]
    pub fn sni(&self) -> Option<&'a [u8]> {
        const HOST_NAME: u8 = 0;
        let mut names = Reader(Reader(self.extension(SERVER_NAME)?).block()?);
        while let Some(kind) = names.byte() {
            let name = names.block()?;
            if kind == HOST_NAME {
                return Some(name).filter(|name| !name.is_empty());
            }
        }
        None
    }

    /// The protocols that the client offers, its favourite first (RFC 7301).
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> {
        let list = self
            .extension(ALPN)
            .and_then(|content| Reader(content).block());
        let mut names = Reader(list.unwrap_or_default());
        std::iter::from_fn(move || names.short_block()).take_while(|name| !name.is_empty())
    }

    /// What it says about session tickets.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        match self.extension(SESSION_TICKET) {
            None => Ticket::Unknown,
            Some([]) => Ticket::Wanted,
            Some(_) => Ticket::Shown,
        }
    }

    /// Whether it names groups for the key exchange, which TLS once called elliptic curves.
    #[must_use]
    pub fn names_groups(&self) -> bool {
        self.extension(SUPPORTED_GROUPS).is_some()
    }
}

/// The handshake records of a stream, as far as they have come.
struct Records<'a> {
    rest: &'a [u8],
}

/// What is there of a record.
struct Record<'a> {
    fragment: &'a [u8],
    /// It is all there.
    whole: bool,
}

/// It is no record of a handshake.
struct Foreign;

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Foreign>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rest;
        let foreign = |at: usize, is: fn(u8) -> bool| bytes.get(at).is_some_and(|&byte| is(byte));
        if foreign(0, |kind| kind != HANDSHAKE_RECORD) || foreign(1, |major| major < 3) {
            self.rest = &[];
            return Some(Err(Foreign));
        }
        let (header, payload) = bytes.split_first_chunk::<RECORD_HEADER>()?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // An empty record of a handshake is forbidden (RFC 8446 section 5.1), and would let a
        // client have a long list of them read again and again.
        if length == 0 || length > MOST_IN_RECORD {
            self.rest = &[];
            return Some(Err(Foreign));
        }
        let there = length.min(payload.len());
        let (fragment, rest) = payload.split_at(there);
        self.rest = rest;
        Some(Ok(Record {
            fragment,
            whole: there == length,
        }))
    }
}

/// Reads TLS's numbers and blocks off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A block with its length in one byte.
    fn short_block(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// A block with its length in two bytes.
    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}
