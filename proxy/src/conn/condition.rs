//! How far a connection is and what has become of it, kept beside it: what it decides nothing from,
//! and what the debug log says of it when it ends in disorder.

use std::fmt;

use super::end::{End, Handler, Layer, Reason};
use super::legal;
use super::shutdown::Closes;
use super::state::{ConnMove, ConnState, Internal, LayerFlags, SocketMove, SocketState};

/// The states of a connection, of its socket and of its two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    socket: SocketState,
    connection: ConnState,
    layers: Internal,
}

impl Condition {
    /// A socket that was accepted: TCP's part is done.
    pub(super) fn accepted() -> Self {
        let mut condition = Self::new(ConnMove::Accept);
        condition.ctrl_connected();
        condition
    }

    /// A socket that is connecting.
    pub(super) fn connecting() -> Self {
        Self::new(ConnMove::Connect)
    }

    fn new(how: ConnMove) -> Self {
        let mut condition = Self {
            socket: SocketState::Closed,
            connection: ConnState::Closed,
            layers: Internal {
                fd_allocated: true,
                ctrl: LayerFlags::INITIALIZED,
                data: LayerFlags::INITIALIZED,
            },
        };
        condition.socket_moves(SocketMove::Open);
        condition.moves(how);
        condition
    }

    fn moves(&mut self, what: ConnMove) {
        match self.connection.after(what) {
            Ok(state) => self.connection = state,
            Err(error) => legal::<(), _>(Err(error)),
        }
    }

    fn socket_moves(&mut self, what: SocketMove) {
        match self.socket.after(what) {
            Ok(state) => self.socket = state,
            Err(error) => legal::<(), _>(Err(error)),
        }
    }

    /// The socket is connected.
    pub(super) fn ctrl_connected(&mut self) {
        self.layers.ctrl |= LayerFlags::CONNECTED;
    }

    /// The data layer has had its own handshake.
    pub(super) fn data_connected(&mut self) {
        self.layers.data |= LayerFlags::CONNECTED;
    }

    /// Every handler is done, of whichever layer.
    pub(super) fn established(&mut self) {
        self.moves(ConnMove::Establish);
        let up = LayerFlags::CONNECTED | LayerFlags::HANDLERS_DONE;
        self.layers.ctrl |= up;
        self.layers.data |= up;
    }

    /// It failed there, for that reason. Only the first failure counts.
    pub(super) fn failed(&mut self, end: &End) {
        if matches!(self.connection, ConnState::Error | ConnState::Closed) {
            return;
        }
        self.moves(ConnMove::Fail);
        match end.layer {
            Layer::Data | Layer::Handshake(Handler::Ssl) => {
                self.layers.data |= LayerFlags::FAILED;
            }
            Layer::Ctrl | Layer::Handshake(_) => self.layers.ctrl |= LayerFlags::FAILED,
            Layer::Socket | Layer::Stream => {}
        }
        // Whoever finds it: these can only come from below.
        let below = matches!(
            end.reason,
            Reason::PeerReset
                | Reason::Timeout
                | Reason::Refused
                | Reason::Unreachable
                | Reason::Os(_)
        );
        if end.layer == Layer::Socket || (below && end.layer != Layer::Stream) {
            self.socket_moves(SocketMove::Fail);
        }
    }

    /// These close operations are done.
    pub(super) fn closes(&mut self, done: Closes) {
        self.layers = self.layers.with_closes(done);
        if done.contains(Closes::SOCKET_CLOSE) && self.connection != ConnState::Closed {
            self.moves(ConnMove::Close);
            self.socket_moves(SocketMove::Close);
        }
    }

    /// The socket is gone, without the steps that would have come first.
    pub(super) fn lost(&mut self) {
        self.closes(Closes::RELEASES);
    }
}

/// `ESTABLISHED socket=READY ctrl=INITIALIZED|CONNECTED data=-`, for logs.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} socket={}", self.connection, self.socket)?;
        for (name, layer) in [("ctrl", self.layers.ctrl), ("data", self.layers.data)] {
            write!(f, " {name}=")?;
            for (index, (flag, _)) in layer.iter_names().enumerate() {
                let bar = if index == 0 { "" } else { "|" };
                write!(f, "{bar}{flag}")?;
            }
            if layer.is_empty() {
                f.write_str("-")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(layer: Layer, reason: Reason) -> End {
        End { layer, reason }
    }

    #[test]
    fn a_life_in_order() {
        let mut condition = Condition::connecting();
        assert_eq!(
            condition.to_string(),
            "CONNECTING socket=READY ctrl=INITIALIZED data=INITIALIZED"
        );
        condition.ctrl_connected();
        condition.data_connected();
        assert_eq!(
            condition.to_string(),
            "CONNECTING socket=READY ctrl=INITIALIZED|CONNECTED data=INITIALIZED|CONNECTED"
        );
        condition.established();
        condition.closes(Closes::DSHW | Closes::CSHW);
        assert_eq!(
            condition.to_string(),
            "ESTABLISHED socket=READY ctrl=INITIALIZED|CONNECTED|HANDLERS_DONE|SHUTW \
             data=INITIALIZED|CONNECTED|HANDLERS_DONE|SHUTW"
        );
        condition.closes(Closes::all());
        assert!(condition.to_string().starts_with("CLOSED socket=CLOSED "));
        // Being told again changes nothing.
        let closed = condition;
        condition.closes(Closes::all());
        condition.failed(&end(Layer::Data, Reason::PeerReset));
        assert_eq!(condition, closed);
    }

    #[test]
    fn where_it_failed() {
        let ssl = Layer::Handshake(Handler::Ssl);
        let header = Layer::Handshake(Handler::AcceptProxy);
        // Whether the socket, the ctrl layer and the data layer have.
        let table = [
            (Layer::Data, Reason::Truncated, [false, false, true]),
            (Layer::Data, Reason::PeerReset, [true, false, true]),
            (Layer::Socket, Reason::DrainLimit, [true, false, false]),
            (Layer::Ctrl, Reason::Refused, [true, true, false]),
            (ssl, Reason::Alert(40), [false, false, true]),
            (header, Reason::PeerClosed, [false, true, false]),
            (Layer::Stream, Reason::Timeout, [false, false, false]),
        ];
        for (layer, reason, failed) in table {
            let mut condition = Condition::accepted();
            let failure = end(layer, reason);
            condition.failed(&failure);
            let found = [
                condition.socket == SocketState::Error,
                condition.layers.ctrl.contains(LayerFlags::FAILED),
                condition.layers.data.contains(LayerFlags::FAILED),
            ];
            assert_eq!(found, failed, "{failure}");
            assert_eq!(condition.connection, ConnState::Error);
            // The first failure is the one that is kept.
            let first = condition;
            condition.failed(&end(Layer::Socket, Reason::PeerReset));
            assert_eq!(condition, first);
            condition.lost();
            assert_eq!(condition.connection, ConnState::Closed);
            assert_eq!(condition.socket, SocketState::Closed);
        }
    }

    #[test]
    fn there_is_one_per_connection_so_it_is_small() {
        assert!(size_of::<Condition>() <= 8, "{}", size_of::<Condition>());
    }
}
