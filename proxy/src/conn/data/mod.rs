//! The data layer: how a connection's bytes are coded, and the operations that move them between
//! its socket and a channel's buffer or pipe.

pub mod raw;
pub mod ssl;

use std::io;
use std::os::fd::BorrowedFd;

use crate::channel::buffer::Buffer;

/// Kind of a connection's data layer, with its state.
#[derive(Debug)]
pub enum Data {
    /// What is on the socket is the stream.
    Raw,
    /// What is on the socket are TLS records.
    Ssl(Box<ssl::SslSock>),
}

impl Data {
    /// Receives into the buffer's free room.
    pub fn to_buf(&mut self, socket: BorrowedFd<'_>, buffer: &mut Buffer) -> Transfer {
        match self {
            Self::Raw => raw::raw_sock_to_buf(socket, buffer),
            Self::Ssl(ssl) => ssl::ssl_sock_to_buf(socket, ssl, buffer),
        }
    }
}

bitflags::bitflags! {
    /// What a transfer operation found, besides the bytes it moved.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Status: u8 {
        /// The source failed.
        const ERR_IN = 0x01;
        /// The target failed.
        const ERR_OUT = 0x02;
        /// The source has ended.
        const SHUT_IN = 0x04;
        /// The target takes no more, for good.
        const SHUT_OUT = 0x08;
        /// The source has nothing more for now.
        const EMPTY_IN = 0x10;
        /// The target has no more room for now.
        const FULL_OUT = 0x20;
    }
}

/// The outcome of one transfer operation.
#[derive(Debug, Default)]
pub struct Transfer {
    /// Bytes moved.
    pub bytes: usize,
    /// What was found.
    pub status: Status,
    /// The failure behind `ERR_IN` or `ERR_OUT`.
    pub error: Option<io::Error>,
}

impl Transfer {
    fn moved(bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn found(status: Status) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn failed(status: Status, error: io::Error) -> Self {
        Self {
            bytes: 0,
            status,
            error: Some(error),
        }
    }

    fn with(mut self, status: Status) -> Self {
        self.status |= status;
        self
    }
}
