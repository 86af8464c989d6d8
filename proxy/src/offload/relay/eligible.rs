//! Whether two established TCP connections can be spliced packet by packet. Pure.
//!
//! The proxy has an end in both: far end `c` (the client) <-> P1, and P2 <-> far end `s` (the
//! server). Once spliced, the far ends talk to one another with what each has agreed on with the
//! proxy. A packet's addresses, numbers and window can be translated; what is too long, or a kind
//! of option that the other end never agreed to, cannot.

use std::fmt;
use std::net::SocketAddr;

use crate::sys::tcp::{ESTABLISHED, Info};

/// What is known of one connection, seen from the proxy's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's record of it.
    pub info: Info,
    /// The proxy's address in it.
    pub local: SocketAddr,
    /// The far end's address.
    pub remote: SocketAddr,
}

/// Why two connections cannot be spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// One of them is not established (any more).
    NotEstablished,
    /// One is IPv4, the other IPv6.
    Family,
    /// Only one of them has timestamps.
    Timestamps,
    /// Only one of them has selective acknowledgements.
    Sack,
    /// One far end may send segments that are too long for the way to the other.
    Mss,
    /// One far end's window is too small to be told in the other connection's units, or this
    /// kernel (older than 6.2) does not say how large it is.
    Window,
}

impl Refusal {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::NotEstablished => "not-established",
            Refusal::Family => "family",
            Refusal::Timestamps => "timestamps",
            Refusal::Sack => "sack",
            Refusal::Mss => "mss",
            Refusal::Window => "window",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the translation of two connections has to do, beyond what it always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Packets are IPv6; else IPv4.
    pub ipv6: bool,
    /// Segments carry timestamps to translate.
    pub timestamps: bool,
    /// Acknowledgements may carry SACK blocks to translate.
    pub sack: bool,
    /// ECN was agreed on in one connection only: its marks are to be taken off, since the other far
    /// end would not understand them.
    pub clear_ecn: bool,
}

/// How many units of the receiver's scale a window must at least have: with fewer, the window that
/// is left after rounding down is far from the true one, or always 0.
const LEAST_WINDOW: u32 = 4;

/// Whether the connection with the client and the one with the server can be spliced, and how. The
/// two may change places.
///
/// # Errors
/// The first reason against it, in the order of [`Refusal`].
pub fn check(client: &Facts, server: &Facts) -> Result<Terms, Refusal> {
    let demand = |holds: bool, refusal| if holds { Ok(()) } else { Err(refusal) };
    let (c, s) = (&client.info, &server.info);
    demand(
        c.state == ESTABLISHED && s.state == ESTABLISHED,
        Refusal::NotEstablished,
    )?;
    let ipv6 = is_ipv6(client.local);
    let addresses = [client.remote, server.local, server.remote];
    demand(
        addresses.iter().all(|address| is_ipv6(*address) == ipv6),
        Refusal::Family,
    )?;
    demand(c.timestamps == s.timestamps, Refusal::Timestamps)?;
    demand(c.sack == s.sack, Refusal::Sack)?;
    demand(fits(c, s) && fits(s, c), Refusal::Mss)?;
    demand(can_tell(c, s) && can_tell(s, c), Refusal::Window)?;
    Ok(Terms {
        ipv6,
        timestamps: c.timestamps,
        sack: c.sack,
        clear_ecn: c.ecn != s.ecn,
    })
}

/// An IPv4-mapped address stands for packets of IPv4.
fn is_ipv6(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv6()
}

/// Whether the longest payload that `from`'s far end may send fits into a segment to `to`'s.
///
/// Both figures are payload: the kernel has taken timestamps off each of them already, and either
/// both connections have them or none. On loopback, whose packets are the largest that there can be,
/// `snd_mss` is kept to half of the window instead, and both ends have the same limit.
fn fits(from: &Info, to: &Info) -> bool {
    from.advmss <= to.snd_mss || to.pmtu >= LOOPBACK_MTU
}

/// The MSS to announce to a server so that its longest segments fit the way to the client. `None`: no
/// limit helps, or so small a one that it would harm the server's connection more than the relay is
/// worth.
#[must_use]
pub fn announce(client: &Info) -> Option<u32> {
    if client.state != ESTABLISHED || client.pmtu >= LOOPBACK_MTU {
        return None;
    }
    // What is announced leaves room for no options.
    let longest = client.snd_mss + if client.timestamps { TIMESTAMPS } else { 0 };
    (LEAST_SEGMENT..=MOST_SEGMENT)
        .contains(&longest)
        .then_some(longest)
}

/// Bytes of the time stamps in a segment, with what aligns them.
const TIMESTAMPS: u32 = 12;
/// What every host takes (RFC 9293): whoever asks for less is not obeyed.
const LEAST_SEGMENT: u32 = 536;
/// More than this cannot be announced.
const MOST_SEGMENT: u32 = 32_767;

/// What only loopback interfaces have.
const LOOPBACK_MTU: u32 = 65_535;

/// Whether the window of `from`'s far end can be told to `to`'s far end, which reads the field in
/// the units that the proxy announced to it.
fn can_tell(from: &Info, to: &Info) -> bool {
    let least = u64::from(LEAST_WINDOW) << scale(to.wscale, to.rcv_wscale);
    from.snd_wnd
        .is_some_and(|window| u64::from(window) >= least)
}

fn scale(agreed: bool, scale: u8) -> u8 {
    if agreed { scale } else { 0 }
}

#[cfg(test)]
mod tests;
