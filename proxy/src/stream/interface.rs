//! One side of a stream, from the wish for a connection to its end, without any I/O.
//!
//! ```text
//!         request        assign       connect        connected       disconnect       close
//!   INI ──────────> REQ ───────> ASS ────────> CON ───────────> EST ───────────> DIS ───────> CLO
//!                  ^ │ ^          ^             │ └──────────────────────────────^
//!            queue │ │ │ redisp.  │ retry       │ connect failed  (the stream ends meanwhile)
//!                  │ v └──────┐   │             v
//!                  QUE        └── TAR <─────── CER       close: from INI, REQ, QUE, TAR, ASS, CER, DIS
//! ```

use std::fmt;

/// Where one side of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum State {
    /// Nothing was asked of it.
    #[default]
    Ini,
    /// A connection is wanted, and needs a server.
    Req,
    /// It waits until a server has room.
    Que,
    /// It waits a moment before it tries again.
    Tar,
    /// It has a server.
    Ass,
    /// The connection is being established.
    Con,
    /// The attempt failed, and it has to be decided what follows.
    Cer,
    /// The connection is established.
    Est,
    /// The connection has ended, and what it held has to be given back.
    Dis,
    /// It is over.
    Clo,
}

impl State {
    /// All of them, in the order of a life without trouble.
    pub const ALL: [Self; 10] = [
        Self::Ini,
        Self::Req,
        Self::Que,
        Self::Tar,
        Self::Ass,
        Self::Con,
        Self::Cer,
        Self::Est,
        Self::Dis,
        Self::Clo,
    ];

    /// The state after `what`; `None` where that cannot happen.
    #[must_use]
    pub const fn after(self, what: Move) -> Option<Self> {
        use State::{Ass, Cer, Clo, Con, Dis, Est, Ini, Que, Req, Tar};
        Some(match (what, self) {
            (Move::Request, Ini) => Req,
            (Move::Queue, Req) => Que,
            (Move::Assign, Req | Que) => Ass,
            (Move::Connect, Ass) => Con,
            (Move::Connected, Con) => Est,
            // An attempt may also fail before it has begun: no port, no descriptor.
            (Move::ConnectFailed, Ass | Con) => Cer,
            (Move::Pause, Cer) => Tar,
            (Move::Retry, Cer | Tar) => Ass,
            (Move::Redispatch, Cer | Tar | Que) => Req,
            (Move::Disconnect, Con | Est) => Dis,
            (Move::Close, Ini | Req | Que | Tar | Ass | Cer | Dis) => Clo,
            _ => return None,
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ini => "INI",
            Self::Req => "REQ",
            Self::Que => "QUE",
            Self::Tar => "TAR",
            Self::Ass => "ASS",
            Self::Con => "CON",
            Self::Cer => "CER",
            Self::Est => "EST",
            Self::Dis => "DIS",
            Self::Clo => "CLO",
        })
    }
}

/// What can happen to one side of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// A connection is wanted.
    Request,
    /// No server has room.
    Queue,
    /// A server was chosen, or has room now.
    Assign,
    /// The attempt begins.
    Connect,
    /// The attempt succeeded.
    Connected,
    /// The attempt failed.
    ConnectFailed,
    /// There will be another attempt, in a moment.
    Pause,
    /// There is another attempt, at the same server.
    Retry,
    /// There is another attempt, at whatever server is chosen.
    Redispatch,
    /// The connection ended, or its attempt was given up.
    Disconnect,
    /// Nothing is held any more, and nothing follows.
    Close,
}

impl Move {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Request,
        Self::Queue,
        Self::Assign,
        Self::Connect,
        Self::Connected,
        Self::ConnectFailed,
        Self::Pause,
        Self::Retry,
        Self::Redispatch,
        Self::Disconnect,
        Self::Close,
    ];
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Queue => "queue",
            Self::Assign => "assign",
            Self::Connect => "connect",
            Self::Connected => "connected",
            Self::ConnectFailed => "connect failed",
            Self::Pause => "pause",
            Self::Retry => "retry",
            Self::Redispatch => "redispatch",
            Self::Disconnect => "disconnect",
            Self::Close => "close",
        })
    }
}

/// Something that cannot happen in the state at hand, which is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: impossible in {from}")]
pub struct IllegalMove {
    /// The state.
    pub from: State,
    /// What was to happen.
    pub what: Move,
}

/// One side of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamInterface {
    state: State,
}

impl StreamInterface {
    /// A side that will connect.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Ini }
    }

    /// The side that connected to us: it is established as soon as there is a stream.
    #[must_use]
    pub const fn accepted() -> Self {
        Self { state: State::Est }
    }

    /// Where it is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Goes on to the state after `what`, which is known to be possible: otherwise it is a mistake
    /// of this program, which tests find.
    pub(crate) fn pass(&mut self, what: Move) {
        let gone = self.go(what);
        debug_assert!(gone.is_ok(), "{gone:?}");
    }

    /// The side after `what`, as [`StreamInterface::pass`].
    pub(crate) fn passed(mut self, what: Move) -> Self {
        self.pass(what);
        self
    }

    /// Goes on to the state after `what`.
    ///
    /// # Errors
    /// When that cannot happen now; nothing changes then.
    pub fn go(&mut self, what: Move) -> Result<(), IllegalMove> {
        self.state = self.state.after(what).ok_or(IllegalMove {
            from: self.state,
            what,
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Move as M;
    use State as S;

    fn go(side: &mut StreamInterface, moves: &[Move]) -> Vec<State> {
        moves
            .iter()
            .map(|what| {
                side.go(*what).unwrap();
                side.state()
            })
            .collect()
    }

    #[test]
    fn lives_with_and_without_trouble() {
        let mut side = StreamInterface::new();
        assert_eq!(
            go(
                &mut side,
                &[
                    M::Request,
                    M::Assign,
                    M::Connect,
                    M::Connected,
                    M::Disconnect,
                    M::Close
                ]
            ),
            [S::Req, S::Ass, S::Con, S::Est, S::Dis, S::Clo]
        );
        let mut side = StreamInterface::new();
        assert_eq!(
            go(
                &mut side,
                &[
                    M::Request,
                    M::Queue,
                    M::Assign,
                    M::Connect,
                    M::ConnectFailed,
                    M::Pause,
                    M::Retry,
                    M::Connect,
                    M::ConnectFailed,
                    M::Redispatch,
                    M::Assign,
                    M::ConnectFailed,
                    M::Close
                ]
            ),
            [
                S::Req,
                S::Que,
                S::Ass,
                S::Con,
                S::Cer,
                S::Tar,
                S::Ass,
                S::Con,
                S::Cer,
                S::Req,
                S::Ass,
                S::Cer,
                S::Clo
            ]
        );
        assert_eq!(
            go(&mut StreamInterface::accepted(), &[M::Disconnect, M::Close]),
            [S::Dis, S::Clo]
        );
    }

    #[test]
    fn every_other_move_is_refused_and_changes_nothing() {
        // One row per state: what each of Move::ALL leads to, in its order.
        let table: [(State, &str); 10] = [
            (S::Ini, "REQ - - - - - - - - - CLO"),
            (S::Req, "- QUE ASS - - - - - - - CLO"),
            (S::Que, "- - ASS - - - - - REQ - CLO"),
            (S::Tar, "- - - - - - - ASS REQ - CLO"),
            (S::Ass, "- - - CON - CER - - - - CLO"),
            (S::Con, "- - - - EST CER - - - DIS -"),
            (S::Cer, "- - - - - - TAR ASS REQ - CLO"),
            (S::Est, "- - - - - - - - - DIS -"),
            (S::Dis, "- - - - - - - - - - CLO"),
            (S::Clo, "- - - - - - - - - - -"),
        ];
        for (state, row) in table {
            let cells: Vec<&str> = row.split(' ').collect();
            assert_eq!(cells.len(), Move::ALL.len(), "{state}");
            for (what, expected) in Move::ALL.into_iter().zip(cells) {
                let mut side = StreamInterface { state };
                let outcome = side.go(what);
                if expected == "-" {
                    assert_eq!(outcome, Err(IllegalMove { from: state, what }));
                    assert_eq!(side.state(), state);
                } else {
                    assert_eq!(outcome, Ok(()), "{what} in {state}");
                    assert_eq!(side.state().to_string(), expected, "{what} in {state}");
                }
            }
        }
    }

    #[test]
    fn every_state_is_reached_and_can_end() {
        let next = |state: State| {
            Move::ALL
                .into_iter()
                .filter_map(move |what| state.after(what))
        };
        let reached_from = |start: State| {
            let mut known = vec![start];
            let mut index = 0;
            while index < known.len() {
                for state in next(known[index]) {
                    if !known.contains(&state) {
                        known.push(state);
                    }
                }
                index += 1;
            }
            known
        };
        assert_eq!(reached_from(State::Ini).len(), State::ALL.len());
        for state in State::ALL {
            assert!(reached_from(state).contains(&State::Clo), "{state}");
        }
    }

    #[test]
    fn a_refusal_says_what_and_where() {
        let error = StreamInterface::new().go(Move::Connected).unwrap_err();
        assert_eq!(error.to_string(), "connected: impossible in INI");
    }
}
