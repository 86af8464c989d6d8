//! The flows' records in the memory that daemon and programs share.

use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};

use underpass_common::relay::{
    self, Address, FIN_SEEN, Flow, Half, Key, Phase, RESET, Terms, join, split,
};

use crate::sys::mmap::MappedArray;

/// All flows.
#[derive(Debug)]
pub struct Records(MappedArray<Flow>);

/// What a socket knows of its end, as sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Next payload that it expects.
    pub expected: u32,
    /// How far it lets its far host send.
    pub edge: u32,
    /// End of what it has sent.
    pub sent: u32,
    /// How far its far host may send as the far host of the other end has told the other socket.
    pub offered: u32,
}

/// What both ends' phases were changed to, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// Both are in the phase that was wanted.
    Done,
    /// Something came between: nothing has changed, and it may be tried again.
    Disturbed,
    /// One end has left the phase for good.
    Over,
}

impl Records {
    /// The records in this memory.
    #[must_use]
    pub fn new(array: MappedArray<Flow>) -> Self {
        Self(array)
    }

    /// How many flows there is room for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is room for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn load(&self, slot: u32, offset: usize) -> u64 {
        self.0.load(slot as usize, offset)
    }

    pub(super) fn store(&self, slot: u32, offset: usize, value: u64) {
        self.0.store(slot as usize, offset, value);
    }

    /// Lays a flow down. Nothing may lead to it yet.
    pub fn write(&self, slot: u32, flow: &Flow) {
        for (at, word) in words_of(flow).enumerate() {
            self.store(slot, at * 8, word);
        }
    }

    /// The terms of an end, anew. Nothing may be translated by them yet.
    pub fn write_terms(&self, slot: u32, end: usize, terms: &Terms) {
        let mut flow = Flow::default();
        flow.terms[end] = *terms;
        let from = offset_of!(Flow, terms) + end * size_of::<Terms>();
        for (at, word) in words_of(&flow).enumerate() {
            if (from..from + size_of::<Terms>()).contains(&(at * 8)) {
                self.store(slot, at * 8, word);
            }
        }
    }

    /// A field of a half, by its offset.
    pub(super) fn half(&self, slot: u32, end: usize, field: usize) -> u64 {
        self.load(slot, half_at(end) + field)
    }

    /// Payload bytes of the end that were relayed, those that the local socket had too included.
    #[must_use]
    pub fn bytes(&self, slot: u32, end: usize) -> u64 {
        self.half(slot, end, offset_of!(Half, bytes))
    }

    /// End of the payload that the end has sent, as far as was seen.
    #[must_use]
    pub fn seen(&self, slot: u32, end: usize) -> u32 {
        split(self.half(slot, end, offset_of!(Half, seen))).1
    }

    /// Packets of the end that were relayed.
    #[must_use]
    pub fn packets(&self, slot: u32, end: usize) -> u64 {
        self.half(slot, end, offset_of!(Half, packets))
    }

    /// `CLOCK_MONOTONIC` of the end's last segment, ns.
    #[must_use]
    pub fn last_ns(&self, slot: u32, end: usize) -> u64 {
        self.half(slot, end, offset_of!(Half, last_ns))
    }

    /// The last time stamp of the end, once one was seen.
    #[must_use]
    pub fn clock(&self, slot: u32, end: usize) -> Option<u32> {
        let (seen, value) = split(self.half(slot, end, offset_of!(Half, clock)));
        (seen != 0).then_some(value)
    }

    /// The phase of the end, and the end of what its local socket was given.
    #[must_use]
    pub fn phase(&self, slot: u32, end: usize) -> (Phase, u32) {
        let (number, given) = split(self.half(slot, end, offset_of!(Half, phase)));
        (Phase::of(number), given)
    }

    /// Whether the end has sent its FIN.
    #[must_use]
    pub fn has_ended(&self, slot: u32, end: usize) -> bool {
        self.flags(slot, end) & FIN_SEEN != 0
    }

    /// Whether the end has reset the flow.
    #[must_use]
    pub fn was_reset(&self, slot: u32, end: usize) -> bool {
        self.flags(slot, end) & RESET != 0
    }

    /// Whether the end knows that its FIN has arrived.
    #[must_use]
    pub fn is_done(&self, slot: u32, end: usize) -> bool {
        self.flags(slot, end) & relay::FIN_ACKED != 0
    }

    /// End of the end's payload, once it knows that its FIN has arrived.
    #[must_use]
    pub fn acked_end(&self, slot: u32, end: usize) -> Option<u32> {
        let (flags, after) = split(self.half(slot, end, offset_of!(Half, fin)));
        (flags & relay::FIN_ACKED != 0).then(|| after.wrapping_sub(1))
    }

    fn flags(&self, slot: u32, end: usize) -> u32 {
        split(self.half(slot, end, offset_of!(Half, fin))).0
    }

    /// Raises how far the far host of an end may send to `edge`.
    pub fn grant(&self, slot: u32, end: usize, edge: u32) {
        self.change(slot, end, offset_of!(Half, told), |word| {
            let (granted, acked) = split(word);
            let granted = if relay::after(edge, granted) {
                edge
            } else {
                granted
            };
            join(granted, acked)
        });
    }

    /// Raises what is known of an end to what its socket says: payload `expected` and `edge` as in
    /// [`Half::told`], the end of what it has `sent`, and how far it may send by what the other end has
    /// `offered`. Nothing is relayed yet.
    pub fn raise(&self, slot: u32, end: usize, known: &Known) {
        let Known {
            expected,
            edge,
            sent,
            offered,
        } = *known;
        let later = |a, b| if relay::after(a, b) { a } else { b };
        self.change(slot, end, offset_of!(Half, phase), |word| {
            let (number, given) = split(word);
            join(number, later(expected, given))
        });
        self.store(slot, offset_of!(Flow, sure) + end * 8, u64::from(expected));
        self.change_at(slot, offset_of!(Flow, offered) + end * 8, |word| {
            u64::from(later(offered, split(word).1))
        });
        self.change(slot, end, offset_of!(Half, told), |word| {
            let (granted, acked) = split(word);
            join(later(edge, granted), later(expected, acked))
        });
        self.change(slot, end, offset_of!(Half, seen), |word| {
            let (known, last) = split(word);
            join(later(sent, known), later(expected, last))
        });
    }

    fn change(&self, slot: u32, end: usize, field: usize, f: impl Fn(u64) -> u64) {
        self.change_at(slot, half_at(end) + field, f);
    }

    fn change_at(&self, slot: u32, at: usize, f: impl Fn(u64) -> u64) {
        let mut word = self.load(slot, at);
        while let Err(now) = self.0.swap(slot as usize, at, word, f(word)) {
            word = now;
        }
    }

    fn swap_phase(&self, slot: u32, end: usize, from: u64, to: Phase) -> Result<(), u64> {
        let at = half_at(end) + offset_of!(Half, phase);
        let to = join(to as u32, split(from).1);
        self.0.swap(slot as usize, at, from, to)
    }

    /// Takes one end from phase to phase, whatever it is given meanwhile.
    fn step(&self, slot: u32, end: usize, from: Phase, to: Phase) -> bool {
        let mut word = self.half(slot, end, offset_of!(Half, phase));
        while Phase::of(split(word).0) == from {
            match self.swap_phase(slot, end, word, to) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// From [`Phase::Track`] to [`Phase::Both`]: from now on both ends' segments are relayed.
    #[must_use]
    pub fn open(&self, slot: u32) -> Switched {
        for end in 0..2 {
            if !self.step(slot, end, Phase::Track, Phase::Armed) {
                self.abandon(slot);
                return Switched::Over;
            }
        }
        // While both are armed, only a reset can come that ends one of them.
        for end in 0..2 {
            if !self.step(slot, end, Phase::Armed, Phase::Both) {
                self.abandon(slot);
                return Switched::Over;
            }
        }
        Switched::Done
    }

    /// From [`Phase::Both`] to [`Phase::Settled`], if the local sockets have been given no more than
    /// up to `given`.
    #[must_use]
    pub fn settle(&self, slot: u32, given: [u32; 2]) -> Switched {
        for end in 0..2 {
            let word = join(Phase::Both as u32, given[end]);
            if let Err(now) = self.swap_phase(slot, end, word, Phase::Settled) {
                if end == 1 {
                    self.step(slot, 0, Phase::Settled, Phase::Both);
                }
                return if Phase::of(split(now).0) == Phase::Both {
                    Switched::Disturbed
                } else {
                    Switched::Over
                };
            }
        }
        Switched::Done
    }

    /// The flow is done; late segments are still relayed.
    pub fn linger(&self, slot: u32) {
        for end in 0..2 {
            self.step(slot, end, Phase::Settled, Phase::Linger);
            self.step(slot, end, Phase::Both, Phase::Linger);
        }
    }

    /// The stack has the flow again.
    pub fn abandon(&self, slot: u32) {
        for end in 0..2 {
            let at = half_at(end) + offset_of!(Half, phase);
            let mut word = self.load(slot, at);
            while let Err(now) = self.swap_phase(slot, end, word, Phase::Over) {
                word = now;
            }
        }
    }
}

fn half_at(end: usize) -> usize {
    offset_of!(Flow, halves) + end * size_of::<Half>()
}

/// A flow word by word, as it is stored.
fn words_of(flow: &Flow) -> impl Iterator<Item = u64> {
    let mut bytes = [0; size_of::<Flow>()];
    let mut at = 0;
    let mut put = |more: &[u8]| {
        bytes[at..at + more.len()].copy_from_slice(more);
        at += more.len();
    };
    for terms in &flow.terms {
        terms
            .remote
            .iter()
            .chain(&terms.local)
            .for_each(|word| put(&word.to_ne_bytes()));
        for word in [
            terms.ports,
            terms.interface,
            terms.shift,
            terms.clock,
            terms.oldest_echo,
        ] {
            put(&word.to_ne_bytes());
        }
        put(&[
            terms.announced_scale,
            terms.granted_scale,
            terms.flags,
            terms.reserved,
        ]);
    }
    for half in &flow.halves {
        for word in [
            half.phase,
            half.told,
            half.seen,
            half.bytes,
            half.last_ns,
            half.clock,
            half.fin,
            half.packets,
        ] {
            put(&word.to_ne_bytes());
        }
    }
    for word in [flow.id, flow.owner, flow.since]
        .into_iter()
        .chain(flow.sure)
        .chain(flow.offered)
    {
        put(&word.to_ne_bytes());
    }
    (0..bytes.len() / 8).map(move |at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
        u64::from_ne_bytes(word)
    })
}

/// An address as the programs compare it.
#[must_use]
pub fn address(of: IpAddr) -> Address {
    let v6 = match of {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    relay::address(v6.octets())
}

/// The key of the segments from `remote` to `local`.
#[must_use]
pub fn key(remote: SocketAddr, local: SocketAddr) -> Key {
    Key {
        remote: address(remote.ip()),
        local: address(local.ip()),
        ports: relay::ports(remote.port(), local.port()),
    }
}
