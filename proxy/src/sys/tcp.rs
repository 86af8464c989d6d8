//! `TCP_INFO`, as far as the daemon reads it.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// The head of the kernel's `struct tcp_info` (uapi `linux/tcp.h`), up to `tcpi_rehash`.
///
/// The kernel's own struct has grown over time, only ever at its end. A kernel that knows less
/// says so by the length that it returns, one that knows more cuts what it writes to ours.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RawInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    // Two fields of four bits, see `nibbles`.
    wscale: u8,
    app_limited: u8,
    words: [u32; 24],
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    delivered: u32,
    delivered_ce: u32,
    bytes_sent: u64,
    bytes_retrans: u64,
    // Here ends what is asked of every kernel, see `REQUIRED`.
    dsack_dups: u32,
    reord_seen: u32,
    rcv_ooopack: u32,
    snd_wnd: u32,
    rcv_wnd: u32,
    rehash: u32,
}

/// What a kernel must at least return, bytes: up to `tcpi_bytes_retrans`.
const REQUIRED: usize = offset_of!(RawInfo, dsack_dups);
/// What a kernel returns that knows `tcpi_rcv_ooopack` (5.4), bytes.
const WITH_OUT_OF_ORDER: usize = offset_of!(RawInfo, snd_wnd);
/// What a kernel returns that knows `tcpi_rcv_wnd` (6.2), bytes. The length does not tell a kernel
/// that knows `tcpi_snd_wnd` (5.11) from an older one, which has a gap in its place and leaves it
/// zero; so that field is believed only together with the next one.
const WITH_WINDOWS: usize = offset_of!(RawInfo, rehash);

const _: () = assert!(REQUIRED == 216 && WITH_OUT_OF_ORDER == 228 && WITH_WINDOWS == 236);

// Indices into `RawInfo::words`, which start at `tcpi_rto`; `tcpi_rttvar` follows `tcpi_rtt`.
const SND_MSS: usize = 2;
const RCV_MSS: usize = 3;
const UNACKED: usize = 4;
const PMTU: usize = 13;
const RTT: usize = 15;
const ADVMSS: usize = 19;

// Bits of `tcpi_options`.
const OPT_TIMESTAMPS: u8 = 1;
const OPT_SACK: u8 = 2;
const OPT_WSCALE: u8 = 4;
const OPT_ECN: u8 = 8;

/// The two C bit fields of four bits that share `byte`, the first declared one first: which half
/// that is follows the byte order.
const fn nibbles(byte: u8) -> (u8, u8) {
    if cfg!(target_endian = "little") {
        (byte & 0xf, byte >> 4)
    } else {
        (byte >> 4, byte & 0xf)
    }
}

/// One reading of a socket's `TCP_INFO`; the kernel takes the socket's lock for it, so that it
/// also waits for any segment that is just being processed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Info {
    /// Payload bytes that the application (or the kernel on its behalf) has ever queued for
    /// sending on this connection: sent once, or not sent yet.
    pub written: u64,
    /// Bytes that the peer acknowledged; may be off by one around SYN and FIN.
    pub acked: u64,
    /// Payload bytes that came in order; may be off by one around SYN and FIN.
    pub received: u64,
    /// Bytes queued and not sent yet.
    pub not_sent: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// TCP state, `TCP_ESTABLISHED` = 1.
    pub state: u8,
    /// Smoothed round trip time, microseconds.
    pub rtt: u32,
    /// Its mean deviation, microseconds.
    pub rtt_var: u32,
    /// Whether both ends agreed on timestamps.
    pub timestamps: bool,
    /// Whether both ends agreed on selective acknowledgements.
    pub sack: bool,
    /// Whether both ends agreed on window scaling. If not, both scales are 0.
    pub wscale: bool,
    /// Whether both ends agreed on ECN, of whatever kind.
    pub ecn: bool,
    /// The peer's window field counts units of `1 << snd_wscale` bytes.
    pub snd_wscale: u8,
    /// Our window field counts units of `1 << rcv_wscale` bytes.
    pub rcv_wscale: u8,
    /// The payload of the largest segment that we send now, bytes: options are already taken off.
    pub snd_mss: u32,
    /// The kernel's guess at the payload of the peer's segments, bytes.
    pub rcv_mss: u32,
    /// The MSS that we announce for this route, bytes: timestamps are not taken off. What the SYN
    /// carried may have been less (`TCP_MAXSEG`), never more.
    pub advmss: u32,
    /// The path MTU, bytes.
    pub pmtu: u32,
    /// Segments that came out of order so far; `None` from a kernel older than 5.4.
    pub rcv_ooopack: Option<u32>,
    /// The window that the peer offered last, bytes, scaled; `None` from a kernel older than 6.2.
    pub snd_wnd: Option<u32>,
    /// The window that we offer, bytes, scaled; `None` from a kernel older than 6.2.
    pub rcv_wnd: Option<u32>,
}

impl Info {
    /// Whether the peer has acknowledged our FIN (`TCP_FIN_WAIT2`), or everything is over
    /// (`TCP_TIME_WAIT`, `TCP_CLOSE`).
    #[must_use]
    pub fn has_fin_acknowledged(&self) -> bool {
        matches!(self.state, 5..=7)
    }
}

/// `TCP_ESTABLISHED` of `linux/tcp_states.h`.
pub const ESTABLISHED: u8 = 1;

/// Reads `TCP_INFO`.
///
/// # Errors
/// What the kernel says; `Unsupported` from a kernel older than 4.19, which lacks `bytes_sent`.
pub fn info(fd: BorrowedFd<'_>) -> io::Result<Info> {
    let mut raw = RawInfo::default();
    let mut len = size_of::<RawInfo>() as libc::socklen_t;
    // SAFETY: `raw` is writable for `len` bytes, the kernel writes at most that many, and every
    // bit pattern is a valid `RawInfo`.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut raw).cast(),
            &raw mut len,
        )
    })?;
    read(&raw, len as usize).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// What the first `len` bytes of `raw` say, if they are enough.
fn read(raw: &RawInfo, len: usize) -> Option<Info> {
    if len < REQUIRED {
        return None;
    }
    let (snd_wscale, rcv_wscale) = nibbles(raw.wscale);
    let has = |option| raw.options & option != 0;
    Some(Info {
        written: raw.bytes_sent - raw.bytes_retrans + u64::from(raw.notsent_bytes),
        acked: raw.bytes_acked,
        received: raw.bytes_received,
        not_sent: raw.notsent_bytes,
        unacked: raw.words[UNACKED],
        state: raw.state,
        rtt: raw.words[RTT],
        rtt_var: raw.words[RTT + 1],
        timestamps: has(OPT_TIMESTAMPS),
        sack: has(OPT_SACK),
        wscale: has(OPT_WSCALE),
        ecn: has(OPT_ECN),
        snd_wscale,
        rcv_wscale,
        snd_mss: raw.words[SND_MSS],
        rcv_mss: raw.words[RCV_MSS],
        advmss: raw.words[ADVMSS],
        pmtu: raw.words[PMTU],
        rcv_ooopack: (len >= WITH_OUT_OF_ORDER).then_some(raw.rcv_ooopack),
        snd_wnd: (len >= WITH_WINDOWS).then_some(raw.snd_wnd),
        rcv_wnd: (len >= WITH_WINDOWS).then_some(raw.rcv_wnd),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::super::testing::{in_namespace, pair, wait};

    #[test]
    fn written_counts_payload_and_nothing_else() {
        let (mut client, mut server) = pair();
        assert_eq!(info(client.as_fd()).unwrap().written, 0);
        client.write_all(&[7; 12_345]).unwrap();
        let mut got = vec![0; 12_345];
        server.read_exact(&mut got).unwrap();
        let info = info(client.as_fd()).unwrap();
        assert_eq!(info.written, 12_345);
        assert_eq!(info.state, ESTABLISHED);
        drop(client);
        assert_eq!(super::info(server.as_fd()).unwrap().written, 0);
    }

    /// What one end offers is what the other end sees, with each option and without it.
    #[test]
    fn two_ends_agree_on_options_and_scales() {
        in_namespace(|| {
            for on in [true, false] {
                for name in [
                    "tcp_timestamps",
                    "tcp_sack",
                    "tcp_window_scaling",
                    "tcp_ecn",
                ] {
                    let path = format!("/proc/sys/net/ipv4/{name}");
                    std::fs::write(path, if on { "1" } else { "0" }).unwrap();
                }
                let (client, server) = pair();
                let client = info(client.as_fd()).unwrap();
                let server = info(server.as_fd()).unwrap();
                for side in [client, server] {
                    let options = [side.timestamps, side.sack, side.wscale, side.ecn];
                    assert_eq!(options, [on; 4]);
                    assert_eq!(side.rcv_wscale > 0, on);
                    assert_eq!(side.pmtu, 65_535, "the most that IP knows");
                    // An MTU of 64 KiB, of which a header without options takes 40 bytes, and
                    // timestamps 12.
                    assert_eq!(side.advmss, if on { 65_483 } else { 65_495 });
                }
                assert_eq!(client.snd_wscale, server.rcv_wscale);
                assert_eq!(client.rcv_wscale, server.snd_wscale);
            }
        });
    }

    #[test]
    fn a_clamped_segment_size_is_seen_by_the_other_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        client.set_tcp_mss(1000).unwrap();
        client
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        let (server, _) = listener.accept().unwrap();
        let info = info(server.as_fd()).unwrap();
        assert_eq!(info.snd_mss, 1000 - 12 * u32::from(info.timestamps));
    }

    #[test]
    fn received_bytes_and_the_window_that_they_fill() {
        let (mut client, server) = pair();
        let before = info(client.as_fd()).unwrap().snd_wnd.unwrap();
        client.write_all(&[7; 50_000]).unwrap();
        wait("acknowledged", || {
            info(client.as_fd()).unwrap().unacked == 0
        });
        assert_eq!(info(server.as_fd()).unwrap().received, 50_000);
        let after = info(client.as_fd()).unwrap().snd_wnd.unwrap();
        assert!(before > 0 && after > 0, "{before}, {after}");
    }

    #[test]
    fn what_a_kernel_does_not_know_is_absent_and_not_zero() {
        let raw = RawInfo {
            snd_wnd: 1,
            rcv_wnd: 2,
            rcv_ooopack: 3,
            ..RawInfo::default()
        };
        let seen = |len| read(&raw, len).map(|info| (info.rcv_ooopack, info.snd_wnd, info.rcv_wnd));
        assert_eq!(seen(215), None);
        assert_eq!(seen(216), Some((None, None, None)), "4.19");
        assert_eq!(seen(224), Some((None, None, None)), "5.0");
        assert_eq!(seen(232), Some((Some(3), None, None)), "5.4 to 6.1");
        assert_eq!(seen(240), Some((Some(3), Some(1), Some(2))), "6.2");
    }
}
