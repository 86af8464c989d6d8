//! A router says that a relayed packet was too big: ICMP "fragmentation needed", ICMPv6 "packet too
//! big".
//!
//! The router has seen the packet as it left the proxy, and tells the proxy. What it says is for the far host
//! that sent the packet, which knows it by other addresses, ports and sequence numbers. Header lengths
//! are the same in both connections, so that the MTU means the same to both.

use super::segment::set;
use super::translate::adjust;
use super::{Address, Half, Key, Phase, Terms, after, split};

/// Words of an IPv4 header without options.
pub const IPV4: usize = 5;
/// Words of an IPv6 header without extensions.
pub const IPV6: usize = 10;

/// The start of such a message: words in the order of memory.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<const N: usize> {
    /// The IP header.
    pub network: [u32; N],
    /// Type, code and checksum, then the MTU.
    pub head: [u32; 2],
    /// The IP header of the packet that was too big.
    pub quoted: [u32; N],
    /// Its ports and its sequence number, which is all that every router quotes of TCP.
    pub transport: [u32; 2],
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The key of the end that the packet went to.
    pub key: Key,
    /// The packet's sequence number, as it left the proxy.
    pub seq: u32,
}

/// What a message of either family can be asked and made.
pub trait TooBig {
    /// Where the IP header says what it carries, bytes.
    const PROTOCOL_AT: usize;
    /// What it says of such messages.
    const PROTOCOL: u8;

    /// What it is about, if it says what such messages say, to the host that sent the packet.
    fn about(&self) -> Option<About>;

    /// Makes it the message that the far host of the end with the terms `to` would have got from the
    /// proxy, one hop further. All checksums are changed by differences: wrong ones stay wrong. False:
    /// it has no hops left.
    fn translate(&mut self, to: &Terms) -> bool;
}

impl<const N: usize> Message<N> {
    /// Bytes of a message.
    pub const LENGTH: u32 = size_of::<Self>() as u32;

    /// One that says nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            network: [0; N],
            head: [0; 2],
            quoted: [0; N],
            transport: [0; 2],
        }
    }

    fn describe(&self, local: Address, remote: Address) -> About {
        About {
            key: Key {
                remote,
                local,
                ports: self.transport[0].rotate_left(16),
            },
            seq: u32::from_be(self.transport[1]),
        }
    }

    /// Changes what is quoted of TCP; what the sum changes by.
    #[inline(always)]
    fn translate_transport(&mut self, to: &Terms) -> u64 {
        let seq = u32::from_be(self.transport[1]).wrapping_sub(to.shift);
        set(&mut self.transport[0], to.ports.rotate_left(16))
            + set(&mut self.transport[1], seq.to_be())
    }

    #[inline(always)]
    fn seal(&mut self, by: u64) {
        self.head[0] = adjusted(self.head[0], by);
    }
}

/// A word whose second half is a checksum, after a change of the sum by `by`.
#[inline(always)]
fn adjusted(word: u32, by: u64) -> u32 {
    let [a, b, c, d] = word.to_ne_bytes();
    let [c, d] = adjust(u16::from_ne_bytes([c, d]), by).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// The most of a message that is looked at, bytes behind its IP header: its own 8, the packet's IP header
/// and 8 more.
const fn rest(words: usize) -> u32 {
    16 + 4 * words as u32
}

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Type and code.
const FRAGMENTATION_NEEDED: u32 = 0x0304;
const PACKET_TOO_BIG: u32 = 0x0200;

/// What stands before an IPv4 address in IPv6's form.
const MAPPED: u32 = 0xffff_u32.to_be();

impl TooBig for Message<IPV4> {
    const PROTOCOL_AT: usize = 9;
    const PROTOCOL: u8 = ICMP;

    #[inline(always)]
    fn about(&self) -> Option<About> {
        let [version, fragment, protocol] = [0, 1, 2].map(|at| u32::from_be(self.network[at]));
        if version >> 24 != 0x45 || fragment & 0x3fff != 0 || (protocol >> 16) as u8 != ICMP {
            return None;
        }
        if (version & 0xffff) < 4 * IPV4 as u32 + rest(IPV4) {
            return None;
        }
        if u32::from_be(self.head[0]) >> 16 != FRAGMENTATION_NEEDED {
            return None;
        }
        let [version, fragment, protocol] = [0, 1, 2].map(|at| u32::from_be(self.quoted[at]));
        // Relayed packets are whole, and may be fragmented on the way only where they allow it.
        if version >> 24 != 0x45 || fragment & 0x3fff != 0 || (protocol >> 16) as u8 != TCP {
            return None;
        }
        if self.network[4] != self.quoted[3] {
            return None;
        }
        let address = |word| [0, 0, MAPPED, word];
        Some(self.describe(address(self.quoted[3]), address(self.quoted[4])))
    }

    #[inline(always)]
    fn translate(&mut self, to: &Terms) -> bool {
        let hops = u32::from_be(self.network[2]);
        if hops >> 24 <= 1 {
            return false;
        }
        let outer = set(&mut self.network[3], to.local[3])
            + set(&mut self.network[4], to.remote[3])
            // The checksum stands in the same word and is as before.
            + set(&mut self.network[2], (hops - (1 << 24)).to_be());
        self.network[2] = adjusted(self.network[2], outer);
        let inner = set(&mut self.quoted[3], to.remote[3]) + set(&mut self.quoted[4], to.local[3]);
        let sealed = adjusted(self.quoted[2], inner);
        let by = inner + set(&mut self.quoted[2], sealed) + self.translate_transport(to);
        self.seal(by);
        true
    }
}

impl TooBig for Message<IPV6> {
    const PROTOCOL_AT: usize = 6;
    const PROTOCOL: u8 = ICMPV6;

    #[inline(always)]
    fn about(&self) -> Option<About> {
        let [version, length] = [0, 1].map(|at| u32::from_be(self.network[at]));
        if version >> 28 != 6 || (length >> 8) as u8 != ICMPV6 || length >> 16 < rest(IPV6) {
            return None;
        }
        if u32::from_be(self.head[0]) >> 16 != PACKET_TOO_BIG {
            return None;
        }
        let [version, length] = [0, 1].map(|at| u32::from_be(self.quoted[at]));
        if version >> 28 != 6 || (length >> 8) as u8 != TCP {
            return None;
        }
        let address = |words: &[u32; IPV6], at: usize| -> Address {
            [words[at], words[at + 1], words[at + 2], words[at + 3]]
        };
        if address(&self.network, 6) != address(&self.quoted, 2) {
            return None;
        }
        Some(self.describe(address(&self.quoted, 2), address(&self.quoted, 6)))
    }

    #[inline(always)]
    fn translate(&mut self, to: &Terms) -> bool {
        let hops = u32::from_be(self.network[1]);
        if hops & 0xff <= 1 {
            return false;
        }
        self.network[1] = (hops - 1).to_be();
        let mut by = self.translate_transport(to);
        // The addresses of the message itself are part of its checksum.
        for at in 0..4 {
            by += set(&mut self.network[2 + at], to.local[at])
                + set(&mut self.network[6 + at], to.remote[at])
                + set(&mut self.quoted[2 + at], to.remote[at])
                + set(&mut self.quoted[6 + at], to.local[at]);
        }
        self.seal(by);
        true
    }
}

/// Whether the far host whose half is `sender` has to be told that its segment `seq`, in its own numbers,
/// was too big: it is relayed, was sent, and is not acknowledged. Who does not see the flow cannot
/// know such a number.
#[inline(always)]
#[must_use]
pub fn is_to_be_told(phase: u64, told: u64, seen: u64, seq: u32) -> bool {
    let (number, given) = split(phase);
    let is_relayed = match Phase::of(number) {
        // What comes before was sent by the local socket.
        Phase::Both => !after(given, seq),
        Phase::Settled | Phase::Linger => true,
        Phase::Track | Phase::Armed | Phase::Over => false,
    };
    is_relayed && !after(split(told).1, seq) && after(split(seen).1, seq)
}

impl Half {
    /// Whether the far host has to be told that its segment `seq` was too big.
    #[must_use]
    pub fn is_to_be_told(&self, seq: u32) -> bool {
        is_to_be_told(self.phase, self.told, self.seen, seq)
    }
}

const _: () = assert!(size_of::<Message<IPV4>>() == 56);
const _: () = assert!(size_of::<Message<IPV6>>() == 96);

#[cfg(test)]
mod tests;
