//! `TCP_INFO`, as far as the daemon reads it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// The head of the kernel's `struct tcp_info` (uapi `linux/tcp.h`), up to `tcpi_bytes_retrans`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RawInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
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
}

/// Index of `tcpi_unacked` in `RawInfo::words`, which start at `tcpi_rto`.
const UNACKED: usize = 4;
/// Index of `tcpi_rtt`; `tcpi_rttvar` follows.
const RTT: usize = 15;

/// One reading of a socket's `TCP_INFO`; the kernel takes the socket's lock for it, so that it
/// also waits for any segment that is just being processed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Info {
    /// Payload bytes that the application (or the kernel on its behalf) has ever queued for
    /// sending on this connection: sent once, or not sent yet.
    pub written: u64,
    /// Bytes that the peer acknowledged; may be off by one around SYN and FIN.
    pub acked: u64,
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
    if (len as usize) < size_of::<RawInfo>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Info {
        written: raw.bytes_sent - raw.bytes_retrans + u64::from(raw.notsent_bytes),
        acked: raw.bytes_acked,
        not_sent: raw.notsent_bytes,
        unacked: raw.words[UNACKED],
        state: raw.state,
        rtt: raw.words[RTT],
        rtt_var: raw.words[RTT + 1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn written_counts_payload_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
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
}
