//! Raw bytes: the four transfer operations between a socket and a buffer or a pipe.
//!
//! Each tries once and reports; none waits and none retries. A read that got less than it had
//! room for has emptied the socket, and a write that took less than it was given has filled it:
//! both are reported at once, which saves the call that would only say "would block".

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;

use super::{Status, Transfer};
use crate::channel::buffer::Buffer;
use crate::channel::pipe::Pipe;
use crate::sys;

/// Receives from the socket into the buffer's free room.
pub fn raw_sock_to_buf(socket: BorrowedFd<'_>, buffer: &mut Buffer) -> Transfer {
    let room = buffer.room();
    if room.is_empty() {
        return Transfer::found(Status::FULL_OUT);
    }
    let wanted = room.len();
    match sys::socket::recv(socket, room) {
        Ok(0) => Transfer::found(Status::SHUT_IN),
        Ok(got) => {
            buffer.filled(got);
            let transfer = Transfer::moved(got);
            if got < wanted {
                transfer.with(Status::EMPTY_IN)
            } else {
                transfer.with(Status::FULL_OUT)
            }
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Transfer::found(Status::EMPTY_IN),
        Err(error) if error.kind() == ErrorKind::Interrupted => Transfer::default(),
        Err(error) => Transfer::failed(Status::ERR_IN, error),
    }
}

/// Sends what the buffer holds to the socket. `more` says that more follows at once.
pub fn raw_sock_from_buf(socket: BorrowedFd<'_>, buffer: &mut Buffer, more: bool) -> Transfer {
    let held = buffer.held();
    if held.is_empty() {
        return Transfer::found(Status::EMPTY_IN);
    }
    let wanted = held.len();
    match sys::socket::send(socket, held, more) {
        Ok(sent) => {
            buffer.taken(sent);
            let transfer = Transfer::moved(sent);
            if sent < wanted {
                transfer.with(Status::FULL_OUT)
            } else {
                transfer.with(Status::EMPTY_IN)
            }
        }
        Err(error) => failed_send(error),
    }
}

/// Splices from the socket into the pipe's free room.
///
/// "Would block" on a pipe that holds something may mean that either is at its limit; it is
/// reported as `FULL_OUT`, so that the pipe is emptied before the socket is called empty.
pub fn raw_sock_to_pipe(socket: BorrowedFd<'_>, pipe: &mut Pipe) -> Transfer {
    match sys::pipe::splice(socket, pipe.write_end(), pipe.capacity(), false) {
        Ok(0) => Transfer::found(Status::SHUT_IN),
        Ok(got) => {
            pipe.filled(got);
            Transfer::moved(got)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            if pipe.is_empty() {
                Transfer::found(Status::EMPTY_IN)
            } else {
                Transfer::found(Status::FULL_OUT)
            }
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Transfer::default(),
        Err(error) => Transfer::failed(Status::ERR_IN, error),
    }
}

/// Splices what the pipe holds to the socket. `more` says that more follows at once.
pub fn raw_sock_from_pipe(socket: BorrowedFd<'_>, pipe: &mut Pipe, more: bool) -> Transfer {
    if pipe.is_empty() {
        return Transfer::found(Status::EMPTY_IN);
    }
    match sys::pipe::splice(pipe.read_end(), socket, pipe.held(), more) {
        Ok(sent) => {
            pipe.taken(sent);
            let transfer = Transfer::moved(sent);
            if pipe.is_empty() {
                transfer.with(Status::EMPTY_IN)
            } else {
                transfer.with(Status::FULL_OUT)
            }
        }
        Err(error) => failed_send(error),
    }
}

fn failed_send(error: std::io::Error) -> Transfer {
    match error.kind() {
        ErrorKind::WouldBlock => Transfer::found(Status::FULL_OUT),
        ErrorKind::Interrupted => Transfer::default(),
        ErrorKind::BrokenPipe => Transfer::failed(Status::ERR_OUT | Status::SHUT_OUT, error),
        _ => Transfer::failed(Status::ERR_OUT, error),
    }
}
