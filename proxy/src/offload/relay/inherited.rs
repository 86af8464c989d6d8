//! What a daemon reads from the records of flows that it did not enter itself.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use underpass_common::relay::{self, Flow, Half, Key, Phase, TERMS_MORTAL, Terms, split};

use super::engine::Addresses;
use super::records::Records;

/// Words of [`Terms`].
const TERMS: usize = size_of::<Terms>() / 8;

impl Records {
    /// The flow's unique number; 0: the slot is free.
    #[must_use]
    pub fn id(&self, slot: u32) -> u64 {
        self.load(slot, offset_of!(Flow, id))
    }

    /// The daemon that looks after the flow; 0: none.
    #[must_use]
    pub fn owner(&self, slot: u32) -> u64 {
        self.load(slot, offset_of!(Flow, owner))
    }

    /// Says who looks after the flow.
    pub fn set_owner(&self, slot: u32, owner: u64) {
        self.store(slot, offset_of!(Flow, owner), owner);
    }

    /// The flow goes on when its sockets die: nothing that they send from now on leaves.
    pub fn outlive(&self, slot: u32) {
        // Of both ends by what end 0 says.
        let at = offset_of!(Flow, terms) + offset_of!(Terms, flags);
        let (word, byte) = (at / 8 * 8, at % 8);
        let mut bytes = self.load(slot, word).to_ne_bytes();
        bytes[byte] &= !TERMS_MORTAL;
        self.store(slot, word, u64::from_ne_bytes(bytes));
    }

    /// Whether the flow needs no process: its sockets sleep, or it is done.
    #[must_use]
    pub fn goes_on(&self, slot: u32) -> bool {
        let phases = [0, 1].map(|end| self.phase(slot, end).0);
        phases == [Phase::Settled; 2] || phases.contains(&Phase::Linger)
    }

    /// The slot is free.
    pub fn forget(&self, slot: u32) {
        self.store(slot, offset_of!(Flow, id), 0);
        self.set_owner(slot, 0);
    }

    fn terms(&self, slot: u32, end: usize) -> [u8; size_of::<Terms>()] {
        let from = offset_of!(Flow, terms) + end * size_of::<Terms>();
        let mut bytes = [0; size_of::<Terms>()];
        for at in 0..TERMS {
            let word = self.load(slot, from + at * 8).to_ne_bytes();
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word);
        }
        bytes
    }

    /// The addresses of an end.
    #[must_use]
    pub fn addresses(&self, slot: u32, end: usize) -> Addresses {
        let terms = self.terms(slot, end);
        let port = |at: usize| u16::from_be_bytes([terms[at], terms[at + 1]]);
        let ip = |from: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&terms[from..from + 16]);
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        };
        let ports = offset_of!(Terms, ports);
        Addresses {
            local: SocketAddr::new(ip(offset_of!(Terms, local)), port(ports)),
            remote: SocketAddr::new(ip(offset_of!(Terms, remote)), port(ports + 2)),
        }
    }

    /// The key of the end's segments.
    #[must_use]
    pub fn key(&self, slot: u32, end: usize) -> Key {
        let Addresses { local, remote } = self.addresses(slot, end);
        super::records::key(remote, local)
    }

    /// The sequence numbers of the connection with the far host of an end: of what it is sent next,
    /// and of what it sends next.
    #[must_use]
    pub fn sequences(&self, slot: u32, end: usize) -> (u32, u32) {
        let last = |end| {
            let (_, last) = split(self.half(slot, end, offset_of!(Half, seen)));
            let (flags, after) = split(self.half(slot, end, offset_of!(Half, fin)));
            if flags & relay::FIN_SEEN != 0 {
                after
            } else {
                last
            }
        };
        let terms = self.terms(slot, 1 - end);
        let at = offset_of!(Terms, shift);
        let shift = u32::from_ne_bytes([terms[at], terms[at + 1], terms[at + 2], terms[at + 3]]);
        (last(1 - end).wrapping_add(shift), last(end))
    }
}
