//! Traffic endpoints: blocking sockets in plain threads, with bounds on every wait.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::pattern::{Dice, Mismatch, Pattern};
use crate::sys;

/// How long one read, write, accept or connect may take before the test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a flow.
pub struct Peer {
    socket: Socket,
    finished: AtomicBool,
    /// Reset before `connect` returned, which is what was told of it.
    stillborn: bool,
}

/// What a peer asks of its socket before it connects or listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buffers {
    /// SO_SNDBUF in bytes; the kernel's own choice when absent.
    pub send: Option<usize>,
    /// SO_RCVBUF in bytes; the kernel's own choice when absent.
    pub receive: Option<usize>,
}

impl Buffers {
    /// Both buffers of this many bytes.
    #[must_use]
    pub fn both(bytes: usize) -> Self {
        Self {
            send: Some(bytes),
            receive: Some(bytes),
        }
    }

    /// Applies them to `socket`.
    ///
    /// # Errors
    /// When the socket refuses.
    pub fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        if let Some(bytes) = self.send {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }
}

/// How a sender cuts its stream into writes.
#[derive(Clone, Copy, Debug)]
pub enum Segments {
    /// Every write has this many bytes.
    Fixed(usize),
    /// Lengths from one byte up to this many, short ones as likely as long ones.
    Random(usize),
}

/// How a sender ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// FIN.
    Fin,
    /// Nothing: the direction stays open.
    Stay,
}

/// How a stream ended for its receiver.
#[derive(Debug)]
pub enum End {
    /// A FIN.
    Eof,
    /// A reset.
    Reset,
    /// The bytes that were asked for came; the stream is still open.
    Enough,
    /// Bytes that are not those sent.
    Corrupt(Mismatch),
    /// Nothing for as long as a peer waits.
    Silence,
    /// Any other failure.
    Failed(io::Error),
}

impl PartialEq for End {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What a receiver got.
#[derive(Debug)]
pub struct Received {
    /// Bytes, all of them right.
    pub bytes: u64,
    /// What came after them.
    pub end: End,
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Corrupt(what) => write!(f, "{} right bytes, then corruption {what}", self.bytes),
            end => write!(f, "{} bytes, then {end:?}", self.bytes),
        }
    }
}

/// What a sender got rid of.
#[derive(Debug)]
pub struct Sent {
    /// Bytes that the socket took.
    pub bytes: u64,
    /// Why it took no more, when it did not take all.
    pub error: Option<io::Error>,
}

impl From<TcpStream> for Peer {
    fn from(stream: TcpStream) -> Self {
        Self::new(stream.into())
    }
}

impl From<UnixStream> for Peer {
    fn from(stream: UnixStream) -> Self {
        Self::new(stream.into())
    }
}

impl Peer {
    /// Takes over a connected socket.
    ///
    /// # Panics
    /// When the socket takes no timeouts.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a read timeout");
        socket
            .set_write_timeout(Some(PATIENCE))
            .expect("a write timeout");
        Self {
            socket,
            finished: AtomicBool::new(false),
            stillborn: false,
        }
    }

    /// Connects from the calling thread's namespace. Whoever accepts may reset the connection before this returns;
    /// the peer then reads the reset, as it would have a moment later.
    ///
    /// # Errors
    /// When the connection is refused or takes too long.
    pub fn connect(to: SocketAddr, buffers: Buffers) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        buffers.apply(&socket)?;
        let stillborn = match socket.connect_timeout(&to.into(), PATIENCE) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => return Err(error),
        };
        socket.set_tcp_nodelay(true)?;
        Ok(Self {
            stillborn,
            ..Self::new(socket)
        })
    }

    /// The socket, for options and queries.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Gives the socket up.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// When the socket does not take them.
    pub fn write(&self, bytes: &[u8]) {
        (&self.socket).write_all(bytes).expect("send");
    }

    /// Receives exactly `count` bytes, whatever they are.
    ///
    /// # Errors
    /// When the stream ends before, or nothing comes for as long as a peer waits.
    pub fn read(&self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        match (&self.socket).read_exact(&mut bytes) {
            Err(error) if self.stillborn && error.kind() == ErrorKind::UnexpectedEof => {
                Err(ErrorKind::ConnectionReset.into())
            }
            other => other.map(|()| bytes),
        }
    }

    /// Receives to the end of the stream, whatever comes.
    #[must_use]
    pub fn read_to_end(&self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = match (&self.socket).read_to_end(&mut bytes) {
            Ok(_) if self.stillborn => End::Reset,
            Ok(_) => End::Eof,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Silence,
                _ => End::Failed(error),
            },
        };
        (bytes, end)
    }

    /// Sends `bytes` of `pattern` from `offset` on to `other`, which reads them meanwhile.
    ///
    /// # Panics
    /// When they do not arrive as they are.
    pub fn carry(&self, other: &Self, pattern: Pattern, offset: u64, bytes: u64) {
        thread::scope(|scope| {
            scope.spawn(|| self.send_all(pattern, offset, bytes));
            other.receive_exact(pattern, offset, bytes);
        });
    }

    /// Sends `bytes` of `pattern` from `offset` on; adds to `progress` as the socket takes them.
    pub fn send_counted(
        &self,
        pattern: Pattern,
        offset: u64,
        bytes: u64,
        segments: Segments,
        progress: &AtomicU64,
    ) -> Sent {
        let mut dice = Dice::new(offset ^ bytes);
        let mut buffer = vec![0; 256 * 1024];
        let mut sent = 0;
        while sent < bytes {
            let length = segments
                .next(&mut dice)
                .min(buffer.len())
                .min(usize::try_from(bytes - sent).unwrap_or(usize::MAX));
            let mut rest = &mut buffer[..length];
            pattern.fill(offset + sent, rest);
            while !rest.is_empty() {
                match (&self.socket).write(rest) {
                    Ok(written) => {
                        rest = &mut rest[written..];
                        sent += written as u64;
                        progress.fetch_add(written as u64, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => {
                        return Sent {
                            bytes: sent,
                            error: Some(error),
                        };
                    }
                }
            }
        }
        Sent {
            bytes: sent,
            error: None,
        }
    }

    /// Sends `bytes` of `pattern` from its start.
    pub fn send(&self, pattern: Pattern, bytes: u64, segments: Segments) -> Sent {
        self.send_counted(pattern, 0, bytes, segments, &AtomicU64::new(0))
    }

    /// Sends all of `bytes` of `pattern` from `offset` on.
    ///
    /// # Panics
    /// When the socket does not take them.
    pub fn send_all(&self, pattern: Pattern, offset: u64, bytes: u64) {
        let sent = self.send_counted(
            pattern,
            offset,
            bytes,
            Segments::Fixed(64 * 1024),
            &AtomicU64::new(0),
        );
        assert!(sent.error.is_none(), "sending {bytes} bytes: {sent:?}");
    }

    /// Receives from `offset` on until the stream ends or `most` bytes came; adds to `progress` as it goes.
    pub fn receive_counted(
        &self,
        pattern: Pattern,
        offset: u64,
        most: u64,
        progress: &AtomicU64,
    ) -> Received {
        let mut buffer = vec![0; 256 * 1024];
        let mut bytes = 0;
        while bytes < most {
            let room = buffer
                .len()
                .min(usize::try_from(most - bytes).unwrap_or(usize::MAX));
            match (&self.socket).read(&mut buffer[..room]) {
                Ok(0) => {
                    let end = if self.was_reset() {
                        End::Reset
                    } else {
                        End::Eof
                    };
                    return Received { bytes, end };
                }
                Ok(got) => {
                    if let Err(what) = pattern.check(offset + bytes, &buffer[..got]) {
                        return Received {
                            bytes: what.offset,
                            end: End::Corrupt(what),
                        };
                    }
                    bytes += got as u64;
                    progress.fetch_add(got as u64, Ordering::Relaxed);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        return Received {
                            bytes,
                            end: End::Reset,
                        };
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Received {
                            bytes,
                            end: End::Silence,
                        };
                    }
                    _ => {
                        return Received {
                            bytes,
                            end: End::Failed(error),
                        };
                    }
                },
            }
        }
        Received {
            bytes,
            end: End::Enough,
        }
    }

    /// Receives to the end of the stream.
    pub fn receive(&self, pattern: Pattern) -> Received {
        self.receive_counted(pattern, 0, u64::MAX, &AtomicU64::new(0))
    }

    /// Receives exactly `bytes` from `offset` on.
    ///
    /// # Panics
    /// When something else comes.
    pub fn receive_exact(&self, pattern: Pattern, offset: u64, bytes: u64) {
        let got = self.receive_counted(pattern, offset, bytes, &AtomicU64::new(0));
        assert!(
            got.end == End::Enough,
            "expected {bytes} bytes from {offset} on, got {got}"
        );
    }

    /// Reads the end of the stream.
    ///
    /// # Panics
    /// When bytes, a reset or nothing at all comes instead.
    pub fn expect_eof(&self) {
        let got = self.receive_counted(Pattern::new(0), 0, 1, &AtomicU64::new(0));
        assert!(
            got.bytes == 0 && got.end == End::Eof,
            "expected the end of the stream, got {got}"
        );
    }

    /// A reset is told to one call only: when a sender on another thread got it, a receiver reads an end. The state
    /// tells the two apart while this side has not ended its direction; after that nobody sends any more.
    fn was_reset(&self) -> bool {
        self.stillborn
            || !self.finished.load(Ordering::Relaxed)
                && sys::is_closed(self.socket.as_fd()).unwrap_or(false)
    }

    /// Sends FIN, keeping the other direction.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
        self.socket
            .shutdown(Shutdown::Write)
            .expect("shut down the sending side");
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// When the socket takes no linger time.
    pub fn abort(self) {
        self.socket
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
    }

    /// Bytes that this peer's socket holds for the other end, not yet acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        sys::unacknowledged(self.socket.as_fd()).unwrap_or_default()
    }

    /// Bytes that came and were not read.
    #[must_use]
    pub fn unread(&self) -> u64 {
        sys::unread(self.socket.as_fd()).unwrap_or_default()
    }
}

impl Segments {
    fn next(self, dice: &mut Dice) -> usize {
        match self {
            Self::Fixed(length) => length.max(1),
            Self::Random(most) => {
                let bits = u64::from(most.max(1).ilog2()) + 1;
                let top = 1 << dice.below(bits);
                let length = top + dice.below(top);
                usize::try_from(length).unwrap_or(1).min(most)
            }
        }
    }
}

/// What both ends of a flow send each other at once.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Seed of the contents.
    pub seed: u64,
    /// Bytes from client to server.
    pub up: u64,
    /// Bytes from server to client.
    pub down: u64,
    /// How they are cut.
    pub segments: Segments,
    /// Bytes of the contents that each direction has carried before.
    pub offset: u64,
}

impl Exchange {
    /// Both directions with random writes of up to 64 KB.
    #[must_use]
    pub fn new(seed: u64, up: u64, down: u64) -> Self {
        Self {
            seed,
            up,
            down,
            segments: Segments::Random(64 * 1024),
            offset: 0,
        }
    }

    /// The same with these writes.
    #[must_use]
    pub fn segments(self, segments: Segments) -> Self {
        Self { segments, ..self }
    }

    /// The same on a flow that has carried `offset` bytes of its contents each way.
    #[must_use]
    pub fn from(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Contents from client to server.
    #[must_use]
    pub fn up_pattern(&self) -> Pattern {
        Pattern::new(self.seed.wrapping_mul(2))
    }

    /// Contents from server to client.
    #[must_use]
    pub fn down_pattern(&self) -> Pattern {
        Pattern::new(self.seed.wrapping_mul(2).wrapping_add(1))
    }

    /// Sends both ways at once, each side ending with FIN, and checks that all arrives, then the end of the stream.
    ///
    /// # Panics
    /// When anything is missing, wrong, or reset.
    pub fn run(&self, client: &Peer, server: &Peer) {
        thread::scope(|scope| {
            scope.spawn(|| self.send(client, self.up_pattern(), self.up));
            scope.spawn(|| self.send(server, self.down_pattern(), self.down));
            scope.spawn(|| {
                let _hang_up = HangUp(vec![client, server]);
                self.receive("server", server, self.up_pattern(), self.up);
            });
            scope.spawn(|| {
                let _hang_up = HangUp(vec![client, server]);
                self.receive("client", client, self.down_pattern(), self.down);
            });
        });
    }

    fn send(&self, from: &Peer, pattern: Pattern, bytes: u64) {
        let sent = from.send_counted(
            pattern,
            self.offset,
            bytes,
            self.segments,
            &AtomicU64::new(0),
        );
        assert!(sent.error.is_none(), "sending {bytes} bytes: {sent:?}");
        from.finish();
    }

    fn receive(&self, who: &str, at: &Peer, pattern: Pattern, bytes: u64) {
        let got = at.receive_counted(pattern, self.offset, u64::MAX, &AtomicU64::new(0));
        assert!(
            got.bytes == bytes && got.end == End::Eof,
            "{who} expected {bytes} bytes and the end, got {got}"
        );
    }
}

/// Shuts peers down when it is dropped by a panic, so that the threads that serve them end, and the test with them.
pub struct HangUp<'a>(pub Vec<&'a Peer>);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for peer in &self.0 {
                let _ = peer.socket.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Waits until `progress` stands still: no change for `still`, looked at over at most `bound`. Gives its last value, and
/// whether it stood still.
pub fn settle(progress: &AtomicU64, still: Duration, bound: Duration) -> (u64, bool) {
    let end = Instant::now() + bound;
    let mut last = (progress.load(Ordering::Relaxed), Instant::now());
    loop {
        thread::sleep(crate::process::POLL);
        let now = progress.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed() >= still {
            return (now, true);
        }
        if Instant::now() >= end {
            return (now, false);
        }
    }
}
