//! The language of `log-format`, compiled.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rules::expr::Expr;

bitflags::bitflags! {
    /// How a value is written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Flags: u8 {
        /// `Q`: between double quotes, where it is text or an address.
        const QUOTE = 0x01;
        /// `X`: in hexadecimal, where it is an address, a port or one of a few numbers.
        const HEX = 0x02;
        /// `E`: `"`, `\` and `]` in it are escaped with `\`.
        const ESCAPE = 0x04;
    }
}

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// It is written as it is.
    Text(Box<str>),
    /// A space; none where one was just written, and none at the beginning.
    Space,
    /// A variable.
    Variable(Variable, Flags),
    /// The value of an expression, by its number in [`Formats::expressions`].
    Expression(usize, Flags),
}

/// A compiled format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Format {
    /// Its parts in order.
    pub pieces: Vec<Piece>,
}

impl Format {
    /// Whether something in it is known only when the stream has ended.
    #[must_use]
    pub fn waits_for_the_end(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Variable(variable, _) if variable.is_late()))
    }
}

/// An expression of a format.
#[derive(Debug)]
pub struct Expression {
    /// It.
    pub expr: Expr,
    /// It looks at the client's connection, which is gone when a stream has ended: its value is
    /// that of the moment when the server was reached.
    pub of_connection: bool,
}

bitflags::bitflags! {
    /// What formats show that has to be asked of the kernel.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Shows: u8 {
        /// Where the client connected to.
        const DESTINATION = 0x01;
        /// The ends of the connection to the server.
        const ENDS = 0x02;
    }
}

/// The formats of a frontend.
#[derive(Debug, Default)]
pub struct Formats {
    /// `log-format`; `None`: the line of `option tcplog`.
    pub stream: Option<Format>,
    /// `error-log-format`: of connections that fail before they are streams.
    pub error: Option<Format>,
    /// `log-format-sd`: the structured data of RFC 5424.
    pub structured: Option<Format>,
    /// `unique-id-format`.
    pub unique_id: Option<Format>,
    /// What they show that has to be asked of the kernel.
    pub shows: Shows,
    /// The expressions of all of them.
    pub expressions: Vec<Expression>,
    /// Lines written so far.
    pub written: AtomicU64,
}

impl Formats {
    /// All of them.
    fn all(&self) -> impl Iterator<Item = &Format> {
        let all = [&self.stream, &self.error, &self.structured, &self.unique_id];
        all.into_iter().flatten()
    }

    /// With [`Formats::shows`] as the formats are.
    #[must_use]
    pub fn settled(mut self) -> Self {
        let pieces = self.all().flat_map(|format| &format.pieces);
        let shows = pieces.fold(Shows::default(), |shows, piece| match piece {
            Piece::Variable(Variable::FrontendIp | Variable::FrontendPort, _) => {
                shows | Shows::DESTINATION
            }
            Piece::Variable(
                Variable::BackendSourceIp
                | Variable::BackendSourcePort
                | Variable::ServerIp
                | Variable::ServerPort,
                _,
            ) => shows | Shows::ENDS,
            _ => shows,
        });
        self.shows = shows;
        self
    }

    /// Counts a line; gives how many there were before it.
    pub fn count(&self) -> u64 {
        self.written.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether anything is to be evaluated.
    #[must_use]
    pub fn has_expressions(&self) -> bool {
        !self.expressions.is_empty()
    }
}

/// Makes [`Variable`] and what is known of each: its name, and whether only the end of a stream
/// tells it.
macro_rules! variables {
    ($($(#[$doc:meta])* $name:literal $variable:ident $when:ident,)+) => {
        /// What a format can show.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Variable {
            $($(#[$doc])* $variable,)+
        }

        impl Variable {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variable),+];

            /// Its name, without `%`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variable => $name,)+
                }
            }

            /// Whether only the end of a stream tells it.
            #[must_use]
            pub fn is_late(self) -> bool {
                match self {
                    $(Self::$variable => variables!(@$when),)+
                }
            }
        }
    };
    (@late) => { true };
    (@early) => { false };
}

variables! {
    /// Bytes from the server to the client.
    "B" BytesDown late,
    /// The host's name.
    "H" HostName early,
    /// The stream's `unique-id-format`.
    "ID" UniqueId late,
    /// When it was accepted, in universal time.
    "T" DateGmt early,
    /// Milliseconds that the connection to the server took.
    "Tc" ConnectTime late,
    /// Milliseconds in which data were carried.
    "Td" DataTime late,
    /// Milliseconds that the client's handshakes took.
    "Th" HandshakeTime late,
    /// When it was accepted, in local time.
    "Tl" DateLocal early,
    /// When it was accepted, in seconds since 1970.
    "Ts" Seconds early,
    /// Milliseconds from the accept to the end.
    "Tt" TotalTime late,
    /// The same as `Tt`, as a TCP stream has no idle time before its request.
    "Tu" UserTime late,
    /// Milliseconds from the accept to the first attempt to connect.
    "Tw" WaitTime late,
    /// Bytes from the client to the server.
    "U" BytesUp late,
    /// Connections of the process.
    "ac" ProcessConnections late,
    /// The backend.
    "b" Backend early,
    /// Connections of the backend.
    "bc" BackendConnections late,
    /// The address that the server sees.
    "bi" BackendSourceIp early,
    /// The port that the server sees.
    "bp" BackendSourcePort early,
    /// Streams before it in the backend's queue.
    "bq" BackendQueue late,
    /// The client's address.
    "ci" ClientIp early,
    /// The client's port.
    "cp" ClientPort early,
    /// The frontend.
    "f" Frontend early,
    /// Connections of the frontend.
    "fc" FrontendConnections late,
    /// The address that the client connected to.
    "fi" FrontendIp early,
    /// The port that the client connected to.
    "fp" FrontendPort early,
    /// The frontend, and `~` behind it where the client speaks TLS.
    "ft" FrontendTransport early,
    /// Lines that the frontend has logged.
    "lc" LogCount early,
    /// Milliseconds of the time of the accept, three digits.
    "ms" Millis early,
    /// The process's number.
    "pid" Pid early,
    /// Connection attempts beyond the first; `+` before it where another server got the stream.
    "rc" Retries late,
    /// The stream's number in the process.
    "rt" Number early,
    /// The server.
    "s" Server early,
    /// Connections of the server.
    "sc" ServerConnections late,
    /// The server's address.
    "si" ServerIp early,
    /// The server's port.
    "sp" ServerPort early,
    /// Streams before it in the server's queue.
    "sq" ServerQueue late,
    /// The cipher of the client's TLS.
    "sslc" TlsCipher early,
    /// The version of the client's TLS.
    "sslv" TlsVersion early,
    /// When it was accepted, in local time with milliseconds.
    "t" Date early,
    /// How it ended, two letters.
    "ts" Termination late,
    /// How it ended, and two dashes for the cookies that TCP does not have.
    "tsc" TerminationCookie early,

    // Those that HAProxy has not.
    /// What moved the bytes of each direction.
    "path" Paths late,
    /// What moved the client's bytes.
    "pathup" PathUp late,
    /// What moved the server's bytes.
    "pathdown" PathDown late,
    /// Bytes of each direction that the kernel moved.
    "kernel" Kernel late,
    /// The client's bytes that the kernel moved.
    "kernelup" KernelUp late,
    /// The server's bytes that the kernel moved.
    "kerneldown" KernelDown late,
    /// Changes of hands between kernel and user space, of each direction.
    "flips" Flips late,
    /// Changes of hands of the client's bytes.
    "flipsup" FlipsUp late,
    /// Changes of hands of the server's bytes.
    "flipsdown" FlipsDown late,
    /// Why it was not on the path that was asked for.
    "why" Why late,
    /// What ended in which layer of which connection.
    "end" Ends late,
    /// The flow's number, as diagnostics name it.
    "flow" Flow early,
}

/// Variables of HAProxy that only HTTP gives a meaning.
pub const HTTP_ONLY: &[&str] = &[
    "CC", "CS", "HM", "HP", "HPO", "HQ", "HU", "HV", "ST", "TR", "Ta", "Ti", "Tq", "Tr", "hr",
    "hrl", "hs", "hsl", "r", "tr", "trg", "trl",
];

/// What `option tcplog` writes.
pub const TCPLOG: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq \
    up=%U path=%path kernel=%kernel flips=%flips why=%why end=%end";

impl Variable {
    /// The variable of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}
