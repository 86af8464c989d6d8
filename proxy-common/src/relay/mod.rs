//! The packet relay: the packets of two TCP connections, client to proxy and proxy to server,
//! translated into one another.
//!
//! A flow has two *ends*: 0 is the client with the proxy's socket that faces it, 1 the server with
//! its own. Everything here is said of one end: its *remote* is the far host, its *local* the proxy's
//! socket. A segment *of* an end was sent by its remote.
//!
//! Sequence numbers are compared as TCP does, modulo 2^32. A [`Flow`] is a value of a memory-mapped
//! array: [`Terms`] are written by the daemon, [`Half`]s by the programs and, where it is said, by
//! the daemon too, always by compare-and-swap.

pub mod details;
pub mod icmp;
pub mod phase;
pub mod segment;
pub mod told;
pub mod translate;

pub use phase::Phase;

/// Version of the records' layout and of what the programs do with them. A daemon leaves pinned
/// flows of another version alone.
pub const LAYOUT: u64 = 2;

/// `skb->mark` of the copy of a packet that is only to be translated and sent on: what it says is in
/// the records already, and the original goes to the local socket.
pub const COPY_MARK: u32 = 0x7570_6379;

/// An address in IPv6's form (IPv4 mapped), as words in the order of memory.
pub type Address = [u32; 4];

/// The segments of one end, as they arrive. Everything as it stands in a packet.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Key {
    /// The far host.
    pub remote: Address,
    /// The proxy's own address.
    pub local: Address,
    /// The far host's port, then the proxy's.
    pub ports: u32,
}

/// The word of two ports, the first of them first in memory.
#[must_use]
pub const fn ports(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// An IPv6 address as words; an IPv4 address has to be mapped before.
#[must_use]
pub const fn address(bytes: [u8; 16]) -> Address {
    let mut words = [0; 4];
    let mut at = 0;
    while at < 4 {
        let from = at * 4;
        words[at] = u32::from_ne_bytes([
            bytes[from],
            bytes[from + 1],
            bytes[from + 2],
            bytes[from + 3],
        ]);
        at += 1;
    }
    words
}

/// Where a [`Key`] leads: the flow's slot times two, plus the end.
pub type Place = u32;

/// What the daemon lays down about one end before the first segment is translated.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// The far host's address.
    pub remote: Address,
    /// The proxy's address towards it.
    pub local: Address,
    /// The proxy's port, then the far host's.
    pub ports: u32,
    /// Interface that leads to the far host.
    pub interface: u32,
    /// Added to the sequence numbers of this end's segments; taken off what the other end
    /// acknowledges.
    pub shift: u32,
    /// Added to the time stamps of this end's segments; taken off what the other end echoes.
    pub clock: u32,
    /// Last time stamp of this end before the relay started: the least that the other end's echoes
    /// are translated to, since before they echoed the proxy's own clock.
    pub oldest_echo: u32,
    /// Shift of the windows that the far host announces.
    pub announced_scale: u8,
    /// Shift of the windows that the proxy's socket announced to it.
    pub granted_scale: u8,
    /// [`TERMS_V6`], [`TERMS_TIMESTAMPS`], [`TERMS_NO_ECN`], [`TERMS_MORTAL`].
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
}

/// The segments are IPv6.
pub const TERMS_V6: u8 = 1;
/// Both connections use time stamps.
pub const TERMS_TIMESTAMPS: u8 = 2;
/// Marks of congestion mean nothing to the other connection: they are taken off.
pub const TERMS_NO_ECN: u8 = 4;
/// The flow ends with the process that has its sockets. Said of both ends by the flags of end 0, so that
/// one store takes it off.
pub const TERMS_MORTAL: u8 = 8;

/// What is known of the segments of one end. Pairs of 32-bit values share a word, so that they
/// change together.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Half {
    /// High: the [`Phase`]. Low: end of the payload that the local socket was given; what lies
    /// before it is the local socket's to deliver. Daemon and programs.
    pub phase: u64,
    /// What the far host has been told, in its own sequence numbers. High: how far it may send.
    /// Low: up to where its payload is acknowledged.
    pub told: u64,
    /// High: end of what the local socket has sent to the far host. Low: end of the payload that the
    /// far host has sent.
    pub seen: u64,
    /// Payload bytes by which the low part of [`Half::seen`] has moved since the relay started.
    pub bytes: u64,
    /// `CLOCK_MONOTONIC` of the last segment, ns, to the kernel's tick; of relayed ones, of the last that
    /// brought something new, or took something.
    pub last_ns: u64,
    /// High: 1 once a time stamp has been seen. Low: the last one.
    pub clock: u64,
    /// High: [`FIN_SEEN`] and the other flags. Low: the sequence number after the FIN.
    pub fin: u64,
    /// Packets relayed.
    pub packets: u64,
}

/// The far host has sent a FIN.
pub const FIN_SEEN: u32 = 1;
/// It has been told that it arrived.
pub const FIN_ACKED: u32 = 2;
/// The far host has reset the connection.
pub const RESET: u32 = 4;
/// The FIN's checksum was right: it is where it says.
pub const FIN_SURE: u32 = 16;
/// It echoes time stamps of the other end: echoes need no floor any more.
pub const ECHOES: u32 = 8;

/// One flow.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// What the daemon laid down, by end.
    pub terms: [Terms; 2],
    /// What is known of the segments, by end.
    pub halves: [Half; 2],
    /// Unique number of the flow among those of all daemons that used the records; 0: free.
    pub id: u64,
    /// The daemon that looks after it, by its number; 0: none.
    pub owner: u64,
    /// Wall clock of its promotion, ns since 1970.
    pub since: u64,
    /// By end: up to where its payload is acknowledged by segments whose checksum was right. Only as
    /// long as local sockets still speak.
    pub sure: [u64; 2],
    /// By end: how far it may send as far as the far host of the other end has said so itself.
    pub offered: [u64; 2],
    /// Zero.
    pub reserved: [u64; 3],
}

/// What the programs tell the daemon.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The flow's slot.
    pub slot: u32,
    /// One of [`EVENT_ENDED`], [`EVENT_RESET`].
    pub what: u32,
}

/// Both directions have ended in order, and both ends know.
pub const EVENT_ENDED: u32 = 1;
/// One end has reset the flow.
pub const EVENT_RESET: u32 = 2;

/// Whether `a` comes after `b`.
#[inline(always)]
#[must_use]
pub const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// The two halves of a word.
#[inline(always)]
#[must_use]
pub const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// A word of two halves.
#[inline(always)]
#[must_use]
pub const fn join(high: u32, low: u32) -> u64 {
    ((high as u64) << 32) | low as u64
}

const _: () = assert!(size_of::<Key>() == 36);
const _: () = assert!(size_of::<Terms>() == 56);
const _: () = assert!(size_of::<Half>() == 64);
const _: () = assert!(size_of::<Flow>() == 320);
