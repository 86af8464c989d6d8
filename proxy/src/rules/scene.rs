//! What rules may look at, at one moment.

use std::fmt;
use std::net::SocketAddr;

use bumpalo::Bump;

use super::table::{Tables, Tracked};
use super::vars::Variables;
use crate::conn::data::ssl::SslSock;
use crate::handshake::proxy_protocol::Header;
use crate::sys::tcp;

bitflags::bitflags! {
    /// What there is to look at where a rule stands. A fetch that needs more cannot be used there.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Needs: u8 {
        /// The client's connection.
        const CONNECTION = 0x01;
        /// Its handshakes are done: PROXY header and TLS.
        const SESSION = 0x02;
        /// A stream: a backend may be known.
        const STREAM = 0x04;
        /// Bytes that the client sent.
        const REQUEST = 0x08;
        /// Bytes that the server sent, and which server it is.
        const RESPONSE = 0x10;
    }
}

/// Milliseconds since the process began: the clock of counters and expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// Its lower half, which wraps around after 49.7 days: enough for windows and ages.
    #[must_use]
    pub fn low(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }
}

/// Bytes of one direction, as far as they have come; none has been passed on.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// No more will come: its sender has ended, or there is no room for more.
    pub complete: bool,
}

/// Counts that only the running proxy knows; by default, those of one in which nothing happens. Indices are those of the configuration's frontends,
/// backends, and a backend's servers.
pub trait Census: fmt::Debug {
    /// Living streams of a frontend.
    fn frontend_connections(&self, frontend: usize) -> u64 {
        let _ = frontend;
        0
    }
    /// The `id` of a frontend, or the number that its place gives it.
    fn frontend_number(&self, frontend: usize) -> u64 {
        frontend as u64 + 1
    }
    /// That of a backend.
    fn backend_number(&self, backend: usize) -> u64 {
        backend as u64 + 1
    }
    /// That of a server.
    fn server_number(&self, backend: usize, server: usize) -> u64 {
        let _ = backend;
        server as u64 + 1
    }
    /// Living streams of a listening address of a frontend, by its `id`.
    fn listener_connections(&self, frontend: usize, listener: u32) -> u64 {
        let _ = (frontend, listener);
        0
    }
    /// Sessions that a frontend accepted in the last second.
    fn frontend_rate(&self, frontend: usize) -> u64 {
        let _ = frontend;
        0
    }
    /// Living streams of a backend.
    fn backend_connections(&self, backend: usize) -> u64 {
        let _ = backend;
        0
    }
    /// Sessions that a backend got in the last second.
    fn backend_rate(&self, backend: usize) -> u64 {
        let _ = backend;
        0
    }
    /// Streams that wait for a backend's servers.
    fn queued(&self, backend: usize) -> u64 {
        let _ = backend;
        0
    }
    /// Servers of a backend that take new streams.
    fn servers_up(&self, backend: usize) -> u64 {
        let _ = backend;
        0
    }
    /// Streams that a backend's usable servers could take at once; `None`: one of them is not
    /// limited.
    fn free_places(&self, backend: usize) -> Option<u64> {
        let _ = backend;
        None
    }
    /// Places in a backend's usable servers and their queues; `None`: one of them is not limited.
    fn free_slots(&self, backend: usize) -> Option<i64> {
        let _ = backend;
        None
    }
    /// Whether a server takes new streams.
    fn server_is_up(&self, backend: usize, server: usize) -> bool {
        let _ = (backend, server);
        false
    }
    /// Living streams of a server.
    fn server_connections(&self, backend: usize, server: usize) -> u64 {
        let _ = (backend, server);
        0
    }
}

/// Asks the kernel about the client's connection.
pub trait ClientTcp: fmt::Debug {
    /// TCP's state of it; `None`: it is not TCP, or is gone.
    fn info(&self) -> Option<tcp::Info>;
    /// The address that the client connected to; `None`: it is no IP address.
    fn local_address(&self) -> Option<SocketAddr>;
}

/// A proxy, as a stream knows it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its index among frontends, or among backends.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
}

/// What rules may look at, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The time.
    pub now: Millis,
    /// Scratch memory for values that converters make; emptied after the evaluation.
    pub arena: &'a Bump,
    /// A number that nobody can foresee, another one for each evaluation.
    pub random: u64,
    /// Nothing more is waited for (`inspect-delay` is over, or cannot apply): what may change counts
    /// as it is.
    pub last_look: bool,
    /// The source that rules see: the socket's peer, a PROXY header's, or what `set-src` made of it.
    /// `None`: no IP address.
    pub source: Option<SocketAddr>,
    /// What a PROXY header or `set-dst` made of the destination; `None`: it is the socket's. See
    /// [`Scene::destination`].
    pub new_destination: Option<SocketAddr>,
    /// The client's socket; asked only when a rule looks at what it knows.
    pub client_tcp: Option<&'a dyn ClientTcp>,
    /// The frontend.
    pub frontend: Place<'a>,
    /// The `id` and `name` of the listening address.
    pub listener: (u32, &'a str),
    /// The PROXY header that came in.
    pub proxy: Option<&'a Header>,
    /// The client's TLS session.
    pub tls: Option<&'a SslSock>,
    /// The backend, once chosen.
    pub backend: Option<Place<'a>>,
    /// The server, once chosen: its index and name.
    pub server: Option<Place<'a>>,
    /// What the client sent.
    pub request: Option<Payload<'a>>,
    /// What the server sent.
    pub response: Option<Payload<'a>>,
    /// The entries that `track-sc0` to `track-sc2` hold.
    pub tracked: [Option<&'a Tracked>; 3],
    /// The stick tables.
    pub tables: &'a Tables,
    /// Variables.
    pub vars: Variables<'a>,
    /// The running proxy's counts.
    pub census: &'a dyn Census,
}

impl Scene<'_> {
    /// The destination that rules see: the socket's own address, a PROXY header's, or what `set-dst`
    /// made of it. `None`: no IP address.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.new_destination
            .or_else(|| self.client_tcp.and_then(ClientTcp::local_address))
    }
}
