//! Where a target's lines go out: nothing here waits, and what is kept back is bounded.

mod backlog;
mod connection;
mod datagram;
mod descriptor;

use std::time::Instant;

use crate::config::model::{LogAddress, LogFraming};
use backlog::Backlog;
use connection::Connection;
use datagram::Datagrams;
use descriptor::Descriptor;

/// The way out to one address.
#[derive(Debug)]
pub(super) struct Outlet {
    backlog: Backlog,
    framing: Framing,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Datagrams(Datagrams),
    Connection(Connection),
    Descriptor(Descriptor),
}

/// How one line is told from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    LineFeed,
    OctetCount,
}

impl From<LogFraming> for Framing {
    fn from(framing: LogFraming) -> Self {
        match framing {
            LogFraming::LineFeed => Self::LineFeed,
            LogFraming::OctetCount => Self::OctetCount,
        }
    }
}

impl Outlet {
    /// The way out to `address`. What has to be opened is opened when it is needed.
    #[must_use]
    pub(super) fn new(address: &LogAddress) -> Self {
        let mut framing = Framing::LineFeed;
        let way = match address {
            LogAddress::Udp(to) => Way::Datagrams(Datagrams::udp(*to)),
            LogAddress::Unix(path) => Way::Datagrams(Datagrams::unix(path)),
            LogAddress::Abstract(name) => Way::Datagrams(Datagrams::abstract_unix(name)),
            LogAddress::Tcp(to, how) => {
                framing = (*how).into();
                Way::Connection(Connection::tcp(*to))
            }
            LogAddress::UnixStream(path, how) => {
                framing = (*how).into();
                Way::Connection(Connection::unix(path))
            }
            LogAddress::Stdout => Way::Descriptor(Descriptor::new(1)),
            LogAddress::Stderr => Way::Descriptor(Descriptor::new(2)),
            LogAddress::Fd(fd) => Way::Descriptor(Descriptor::new(*fd)),
        };
        Self {
            backlog: Backlog::default(),
            framing,
            way,
        }
    }

    /// Takes a line that has its header, and changes it as its transport needs it; `false`: it is
    /// dropped.
    pub(super) fn put(&mut self, line: &mut Vec<u8>) -> bool {
        match self.framing {
            Framing::LineFeed => {
                line.push(b'\n');
                self.backlog.push(&[line])
            }
            Framing::OctetCount => {
                let length = format!("{} ", line.len());
                self.backlog.push(&[length.as_bytes(), line])
            }
        }
    }

    /// Bytes that wait to go out.
    #[must_use]
    pub(super) fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// Sends what can be sent now; gives how many lines were lost.
    pub(super) fn flush(&mut self, now: Instant) -> u64 {
        if self.backlog.len() == 0 {
            return 0;
        }
        match &mut self.way {
            Way::Datagrams(way) => way.flush(&mut self.backlog),
            Way::Connection(way) => {
                way.flush(&mut self.backlog, now);
                0
            }
            Way::Descriptor(way) => way.flush(&mut self.backlog),
        }
    }
}
