//! The answer to a refused SYN: what the stack would say if nobody listened.

use super::frame::Syn;

/// Bytes of the answer's IPv4 and TCP headers.
pub const LENGTH_V4: usize = 40;
/// Bytes of the answer's IPv6 and TCP headers.
pub const LENGTH_V6: usize = 60;

const TTL: u8 = 64;
const PROTOCOL_TCP: u8 = 6;
const RST_ACK: u8 = 0x14;
const DO_NOT_FRAGMENT: u8 = 0x40;

/// The answer to an IPv4 SYN, from its IP header on.
#[inline(always)]
#[must_use]
pub fn ipv4(syn: &Syn) -> [u8; LENGTH_V4] {
    let mut out = [0; LENGTH_V4];
    out[0] = 0x45;
    out[3] = LENGTH_V4 as u8;
    out[6] = DO_NOT_FRAGMENT;
    out[8] = TTL;
    out[9] = PROTOCOL_TCP;
    out[12..16].copy_from_slice(&syn.destination[12..]);
    out[16..20].copy_from_slice(&syn.source[12..]);
    write_tcp(syn, &mut out, 20);
    let header = checksum(sum(&out, 0, 20));
    put(&mut out, 10, header);
    // The addresses of the pseudo header stand right before the TCP header.
    let pseudo = u32::from(PROTOCOL_TCP) + 20;
    let segment = checksum(sum(&out, 12, 40) + pseudo);
    put(&mut out, 36, segment);
    out
}

/// The answer to an IPv6 SYN, from its IP header on; extension headers are not answered in kind.
#[inline(always)]
#[must_use]
pub fn ipv6(syn: &Syn) -> [u8; LENGTH_V6] {
    let mut out = [0; LENGTH_V6];
    out[0] = 0x60;
    out[5] = 20;
    out[6] = PROTOCOL_TCP;
    out[7] = TTL;
    out[8..24].copy_from_slice(&syn.destination);
    out[24..40].copy_from_slice(&syn.source);
    write_tcp(syn, &mut out, 40);
    let pseudo = u32::from(PROTOCOL_TCP) + 20;
    let segment = checksum(sum(&out, 8, 60) + pseudo);
    put(&mut out, 56, segment);
    out
}

/// A reset that acknowledges the SYN and its payload, without a checksum yet.
#[inline(always)]
fn write_tcp(syn: &Syn, out: &mut [u8], at: usize) {
    let acknowledged = syn.sequence.wrapping_add(1).wrapping_add(syn.payload);
    put(out, at, syn.destination_port);
    put(out, at + 2, syn.source_port);
    put(out, at + 8, (acknowledged >> 16) as u16);
    put(out, at + 10, acknowledged as u16);
    out[at + 12] = 5 << 4;
    out[at + 13] = RST_ACK;
}

#[inline(always)]
fn put(out: &mut [u8], at: usize, value: u16) {
    let [high, low] = value.to_be_bytes();
    out[at] = high;
    out[at + 1] = low;
}

/// Sum of the 16-bit words from `from` to `to`.
#[inline(always)]
fn sum(bytes: &[u8], from: usize, to: usize) -> u32 {
    let mut sum = 0;
    let mut at = from;
    while at < to {
        sum += u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        at += 2;
    }
    sum
}

/// The Internet checksum of a sum of less than 2^16 words.
#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    !(twice as u16)
}
