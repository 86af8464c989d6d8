//! Where the proxies' log lines go in runs with `log` lines: a syslog receiver that counts them.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::SockRef;
use underpass_tests::{netns::Netns, sys};

/// Room for lines that have come and are not yet counted, in bytes: some 10,000 lines.
const BUFFER: usize = 16 << 20;

/// Priority of a stream's line: facility local0, level info. What servers' health is worth is logged at others.
const STREAM: &[u8] = b"<134>";

/// How long the sink looks for the end of the run at most.
const LOOK: Duration = Duration::from_millis(200);

/// For how long nothing must come until all lines are there, and how long that may take.
const QUIET: Duration = Duration::from_millis(50);
const BOUND: Duration = Duration::from_secs(5);

/// The receiver. It ends when this is dropped.
pub(crate) struct LogSink {
    socket: Arc<UdpSocket>,
    ns: Netns,
    lines: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What came so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Lines of streams.
    pub(crate) lines: u64,
    /// Datagrams that the kernel dropped because the sink did not keep up.
    pub(crate) dropped: u64,
}

impl LogSink {
    /// Starts it in `ns`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(crate) fn start(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let socket = ns
            .run(|| UdpSocket::bind(address))
            .with_context(|| format!("log sink at {address}"))?;
        // More than what is allowed by default is given where the system lets it.
        let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
        socket.set_read_timeout(Some(LOOK))?;
        let socket = Arc::new(socket);
        let (lines, over) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let thread = {
            let (socket, lines, over) =
                (Arc::clone(&socket), Arc::clone(&lines), Arc::clone(&over));
            thread::spawn(move || {
                // Only the priority is looked at.
                let mut head = [0; STREAM.len()];
                while !over.load(Ordering::Relaxed) {
                    if socket.recv(&mut head).is_ok_and(|n| head[..n] == *STREAM) {
                        lines.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        Ok(Self {
            socket,
            ns: ns.clone(),
            lines,
            over,
            thread: Some(thread),
        })
    }

    /// What came, once no more comes.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn settled(&self) -> Result<Counts> {
        let end = Instant::now() + BOUND;
        let mut before = None;
        loop {
            let now = (
                self.lines.load(Ordering::Relaxed),
                sys::unread(self.socket.as_fd())?,
            );
            if before == Some(now) && now.1 == 0 || Instant::now() > end {
                return Ok(Counts {
                    lines: now.0,
                    dropped: self.dropped()?,
                });
            }
            before = Some(now);
            thread::sleep(QUIET);
        }
    }

    fn dropped(&self) -> Result<u64> {
        let table = self
            .ns
            .run(|| fs::read_to_string("/proc/thread-self/net/udp"))?;
        let port = self.socket.local_addr()?.port();
        drops(&table, port).with_context(|| format!("no UDP port {port} in /proc/net/udp"))
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The last column of the line of the local port.
fn drops(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        columns.nth(1).filter(|local| local.ends_with(&suffix))?;
        columns.last()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
         \x20 99: 0100007F:252A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7777 2 0000000000000000 12\n";

    #[test]
    fn drops_are_those_of_the_port() {
        assert_eq!(drops(TABLE, 9514), Some(12));
        assert_eq!(drops(TABLE, 9515), None);
    }
}
