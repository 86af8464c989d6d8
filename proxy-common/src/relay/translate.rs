//! The translation itself: the segment of one end as the proxy's other socket would have sent it.

use super::segment::{ACK, CWR, ECE, Found, Header, Segment, set};
use super::{TERMS_NO_ECN, Terms};

/// What a translation did besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translated {
    /// What the header's ones' complement sum changed by, unfolded; its checksum field is as before.
    pub by: u64,
    /// The far host echoes the other end's time stamps.
    pub echoes: bool,
}

/// Rewrites `header`, of a segment of the end with the terms `from`, into one to the other end,
/// whose terms are `to`. `floor`: the far host of `from` may still echo the proxy's own clock.
#[inline(always)]
pub fn translate(
    header: &mut Header,
    segment: &Segment,
    found: &Found,
    from: &Terms,
    to: &Terms,
    floor: bool,
) -> Translated {
    let base = &mut header.base;
    let mut by = set(&mut base[0], to.ports);
    by += set(&mut base[1], segment.seq.wrapping_add(from.shift).to_be());
    if segment.flags & ACK != 0 {
        by += set(&mut base[2], segment.ack.wrapping_sub(to.shift).to_be());
    }
    let field = window_field(segment.window, from.announced_scale, to.granted_scale);
    let mut control = u32::from_be(base[3]) & 0xffff_0000 | u32::from(field);
    if from.flags & TERMS_NO_ECN != 0 {
        control &= !(u32::from(ECE | CWR) << 16);
    }
    by += set(&mut base[3], control.to_be());
    let mut echoes = false;
    if found.timestamps != 0 {
        let value = header.value(found.timestamps);
        by += header.put(found.timestamps, value.wrapping_add(from.clock));
        let echo = header.value(found.timestamps + 4).wrapping_sub(to.clock);
        let is_own = (echo.wrapping_sub(to.oldest_echo) as i32) < 0;
        echoes = !is_own;
        let echo = if floor && is_own {
            to.oldest_echo
        } else {
            echo
        };
        by += header.put(found.timestamps + 4, echo);
    }
    if found.blocks > 0 {
        // Four fit. Their edges are the other end's sequence numbers, as acknowledgements are.
        for edge in 0..8 {
            if edge < found.blocks * 2 {
                let at = found.sack + edge * 4;
                let value = header.value(at).wrapping_sub(to.shift);
                by += header.put(at, value);
            }
        }
    }
    Translated { by, echoes }
}

/// A window in bytes.
#[inline(always)]
#[must_use]
pub const fn window(field: u16, scale: u8) -> u32 {
    (field as u32) << (scale & 15)
}

/// The window `field` with the scale `from`, said with the scale `to`: rounded down, since a sender
/// that overruns a window loses what it sent; at most what the field holds.
#[inline(always)]
#[must_use]
pub const fn window_field(field: u16, from: u8, to: u8) -> u16 {
    let scaled = window(field, from) >> (to & 15);
    if scaled > u16::MAX as u32 {
        u16::MAX
    } else {
        scaled as u16
    }
}

/// A ones' complement sum in 32 bits, as the kernel's helpers take differences.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u32 {
    let once = (sum >> 32) + (sum & 0xffff_ffff);
    ((once >> 32) + (once & 0xffff_ffff)) as u32
}

/// `checksum` (as it stands in memory) after a change of the sum by `by`.
#[inline(always)]
#[must_use]
pub const fn adjust(checksum: u16, by: u64) -> u16 {
    let sum = (!checksum) as u64 + fold(by) as u64;
    let sum = (sum >> 32) + ((sum >> 16) & 0xffff) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(((sum >> 16) + (sum & 0xffff)) as u16)
}
