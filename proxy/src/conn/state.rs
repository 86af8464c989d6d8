//! What a connection is at the moment: its socket, itself, its layers, and how little of that the
//! layers above get to see.

use std::fmt;

use super::shutdown::Closes;

/// The socket's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum SocketState {
    /// There is none, or no more.
    #[default]
    Closed,
    /// It can be read from and written to.
    Ready,
    /// It has failed; it is still there, and has to be closed.
    Error,
    /// It accepts.
    Listen,
}

impl fmt::Display for SocketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "CLOSED",
            Self::Ready => "READY",
            Self::Error => "ERROR",
            Self::Listen => "LISTEN",
        })
    }
}

/// What can happen to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketMove {
    /// A socket for bytes was made or accepted.
    Open,
    /// A socket was made that accepts.
    Listen,
    /// It failed.
    Fail,
    /// Its descriptor was given back.
    Close,
}

impl SocketState {
    /// The state after `what`.
    ///
    /// # Errors
    /// When that cannot happen in this state.
    pub fn after(self, what: SocketMove) -> Result<Self, IllegalMove<Self, SocketMove>> {
        match (self, what) {
            (Self::Closed, SocketMove::Open) => Ok(Self::Ready),
            (Self::Closed, SocketMove::Listen) => Ok(Self::Listen),
            (Self::Ready | Self::Listen, SocketMove::Fail) => Ok(Self::Error),
            (Self::Ready | Self::Listen | Self::Error, SocketMove::Close) => Ok(Self::Closed),
            _ => Err(IllegalMove { from: self, what }),
        }
    }
}

/// The connection's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum ConnState {
    /// It has no socket, or no more.
    #[default]
    Closed,
    /// The peer connected to us; what it owes before data is not done.
    Accepted,
    /// We connect to the peer; what we owe before data is not done.
    Connecting,
    /// Data may flow.
    Established,
    /// It failed, and has to be closed.
    Error,
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "CLOSED",
            Self::Accepted => "ACCEPTED",
            Self::Connecting => "CONNECTING",
            Self::Established => "ESTABLISHED",
            Self::Error => "ERROR",
        })
    }
}

/// What can happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnMove {
    /// It was accepted.
    Accept,
    /// A connection attempt began.
    Connect,
    /// Every handshake handler is done.
    Establish,
    /// It failed.
    Fail,
    /// It was closed.
    Close,
}

impl ConnState {
    /// The state after `what`.
    ///
    /// # Errors
    /// When that cannot happen in this state.
    pub fn after(self, what: ConnMove) -> Result<Self, IllegalMove<Self, ConnMove>> {
        match (self, what) {
            (Self::Closed, ConnMove::Accept) => Ok(Self::Accepted),
            (Self::Closed, ConnMove::Connect) => Ok(Self::Connecting),
            (Self::Accepted | Self::Connecting, ConnMove::Establish) => Ok(Self::Established),
            (Self::Accepted | Self::Connecting | Self::Established, ConnMove::Fail) => {
                Ok(Self::Error)
            }
            (
                Self::Accepted | Self::Connecting | Self::Established | Self::Error,
                ConnMove::Close,
            ) => Ok(Self::Closed),
            _ => Err(IllegalMove { from: self, what }),
        }
    }
}

/// Something that cannot happen in the state at hand, which is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what:?} cannot happen while {from:?}")]
pub struct IllegalMove<S: fmt::Debug, M: fmt::Debug> {
    /// The state.
    pub from: S,
    /// What was to happen.
    pub what: M,
}

bitflags::bitflags! {
    /// A connection as the layers above see it. There is no flag for "closed": whoever closes a
    /// connection lets go of it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct View: u8 {
        /// Nothing more will be read: the peer ended, or we were told to stop reading (even if
        /// what still comes has to be drained).
        const SHR = 0x01;
        /// Nothing more may be written.
        const SHW = 0x02;
        /// It failed. What was received before may still be readable.
        const ERR = 0x04;
    }
}

bitflags::bitflags! {
    /// What has happened to one layer of a connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct LayerFlags: u8 {
        /// It exists, and will have to be closed.
        const INITIALIZED = 0x01;
        /// Its own connection is up.
        const CONNECTED = 0x02;
        /// The handshake handlers that need it are done.
        const HANDLERS_DONE = 0x04;
        /// It failed.
        const FAILED = 0x08;
        /// Its read side is shut.
        const SHUTR = 0x10;
        /// Its write side is shut.
        const SHUTW = 0x20;
    }
}

/// What a connection knows of itself and need not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Internal {
    /// It has a descriptor.
    pub fd_allocated: bool,
    /// How it is established and shut.
    pub ctrl: LayerFlags,
    /// How its bytes are coded.
    pub data: LayerFlags,
}

impl Internal {
    /// The same with the shut flags that `done` implies: the shutdown sequencer is who knows them.
    #[must_use]
    pub fn with_closes(mut self, done: Closes) -> Self {
        self.data
            .set(LayerFlags::SHUTR, done.contains(Closes::DSHR));
        self.data
            .set(LayerFlags::SHUTW, done.contains(Closes::DSHW));
        self.ctrl
            .set(LayerFlags::SHUTR, done.contains(Closes::CSHR));
        self.ctrl
            .set(LayerFlags::SHUTW, done.contains(Closes::CSHW));
        if done.contains(Closes::DATA_CLOSE) {
            self.data.remove(LayerFlags::INITIALIZED);
        }
        if done.contains(Closes::CTRL_CLOSE) {
            self.ctrl.remove(LayerFlags::INITIALIZED);
        }
        if done.contains(Closes::SOCKET_CLOSE) {
            self.fd_allocated = false;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_moves_only_where_it_can() {
        use SocketMove as M;
        use SocketState as S;
        let legal = [
            (S::Closed, M::Open, S::Ready),
            (S::Closed, M::Listen, S::Listen),
            (S::Ready, M::Fail, S::Error),
            (S::Listen, M::Fail, S::Error),
            (S::Ready, M::Close, S::Closed),
            (S::Listen, M::Close, S::Closed),
            (S::Error, M::Close, S::Closed),
        ];
        for from in [S::Closed, S::Ready, S::Error, S::Listen] {
            for what in [M::Open, M::Listen, M::Fail, M::Close] {
                let to = legal
                    .iter()
                    .find(|(f, w, _)| (*f, *w) == (from, what))
                    .map(|(_, _, to)| *to);
                assert_eq!(from.after(what).ok(), to, "{what:?} while {from:?}");
            }
        }
    }

    #[test]
    fn a_connection_moves_only_where_it_can() {
        use ConnMove as M;
        use ConnState as S;
        let legal = [
            (S::Closed, M::Accept, S::Accepted),
            (S::Closed, M::Connect, S::Connecting),
            (S::Accepted, M::Establish, S::Established),
            (S::Connecting, M::Establish, S::Established),
            (S::Accepted, M::Fail, S::Error),
            (S::Connecting, M::Fail, S::Error),
            (S::Established, M::Fail, S::Error),
            (S::Accepted, M::Close, S::Closed),
            (S::Connecting, M::Close, S::Closed),
            (S::Established, M::Close, S::Closed),
            (S::Error, M::Close, S::Closed),
        ];
        for from in [
            S::Closed,
            S::Accepted,
            S::Connecting,
            S::Established,
            S::Error,
        ] {
            for what in [M::Accept, M::Connect, M::Establish, M::Fail, M::Close] {
                let to = legal
                    .iter()
                    .find(|(f, w, _)| (*f, *w) == (from, what))
                    .map(|(_, _, to)| *to);
                assert_eq!(from.after(what).ok(), to, "{what:?} while {from:?}");
            }
        }
        assert_eq!(
            S::Established.after(M::Accept).unwrap_err().to_string(),
            "Accept cannot happen while Established"
        );
    }

    #[test]
    fn the_internal_flags_follow_the_closes() {
        let open = Internal {
            fd_allocated: true,
            ctrl: LayerFlags::INITIALIZED | LayerFlags::CONNECTED,
            data: LayerFlags::INITIALIZED | LayerFlags::HANDLERS_DONE,
        };
        assert_eq!(open.with_closes(Closes::empty()), open);
        let half = open.with_closes(Closes::DSHW | Closes::CSHW | Closes::DSHR);
        assert_eq!(half.data, open.data | LayerFlags::SHUTR | LayerFlags::SHUTW);
        assert_eq!(half.ctrl, open.ctrl | LayerFlags::SHUTW);
        assert!(half.fd_allocated);
        let shut = open.with_closes(Closes::all());
        assert!(!shut.fd_allocated);
        assert!(!shut.data.contains(LayerFlags::INITIALIZED));
        assert!(!shut.ctrl.contains(LayerFlags::INITIALIZED));
    }
}
