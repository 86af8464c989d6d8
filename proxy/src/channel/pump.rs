//! Moves one direction's bytes in user space, as far as they go without waiting.

use std::io;
use std::task::{Context, Poll};

use super::pool::Pool;
use super::{Channel, Flags, Store};
use crate::conn::Connection;
use crate::conn::data::raw::{
    raw_sock_from_buf, raw_sock_from_pipe, raw_sock_to_buf, raw_sock_to_pipe,
};
use crate::conn::data::{Status, Transfer};

/// Bytes that one direction may move before the worker's other flows get a turn.
const TURN_BYTES: usize = 1 << 20;

/// What stopped a direction.
#[derive(Debug)]
pub enum Stop {
    /// It waits for its source or its target, and is subscribed.
    Waiting,
    /// It had its turn and wants another.
    Yielded,
    /// The target has been told of the end: nothing is left to do.
    Ended,
    /// The source failed.
    SourceFailed(io::Error),
    /// The target failed; [`Flags::ERR_OUT`] is set and what was held is discarded.
    TargetFailed(io::Error),
}

/// What one turn of a direction did.
#[derive(Debug)]
pub struct Turn {
    /// Bytes read from the source.
    pub read: usize,
    /// Bytes written to the target.
    pub written: usize,
    /// What stopped it.
    pub stop: Stop,
}

/// Moves bytes from `source` to `target` until one of them would block, the stream ends or fails,
/// or the turn is over. Subscribes `cx` to whatever it waits for. `closing`: the other direction is
/// shut, so that both connections are closed as soon as this one is.
///
/// # Errors
/// When the runtime is shutting down.
pub fn turn(
    channel: &mut Channel,
    source: &Connection,
    target: &Connection,
    pool: &Pool,
    closing: bool,
    cx: &mut Context<'_>,
) -> io::Result<Turn> {
    let mut turn = Turn {
        read: 0,
        written: 0,
        stop: Stop::Waiting,
    };
    turn.stop = loop {
        if channel.flags.contains(Flags::SHUT_OUT) {
            break Stop::Ended;
        }
        if channel.held() > 0 {
            match flush(channel, target, pool, cx, &mut turn.written)? {
                None => {}
                Some(stop) => break stop,
            }
        }
        if channel.flags.contains(Flags::SHUT_IN) {
            channel.release(pool);
            if channel.flags.contains(Flags::CUT) {
                channel.flags |= Flags::ERR_IN;
                break Stop::SourceFailed(io::ErrorKind::ConnectionReset.into());
            }
            // When the other direction is shut already, the close that follows sends the FIN.
            if !closing && let Err(error) = target.shutdown_write() {
                channel.flags |= Flags::ERR_OUT;
                break Stop::TargetFailed(error);
            }
            channel.flags |= Flags::SHUT_OUT;
            break Stop::Ended;
        }
        if turn.read >= TURN_BYTES {
            break Stop::Yielded;
        }
        match fill(channel, source, pool, cx, &mut turn.read)? {
            None => {}
            Some(stop) => {
                // Nothing is held here: an idle direction gives its memory back.
                channel.release(pool);
                break stop;
            }
        }
    };
    Ok(turn)
}

/// Writes what is held. `None`: all of it went.
fn flush(
    channel: &mut Channel,
    target: &Connection,
    pool: &Pool,
    cx: &mut Context<'_>,
    written: &mut usize,
) -> io::Result<Option<Stop>> {
    // A socket nearly always has room, so the write is tried before its readiness is asked for;
    // a guard is needed only once it has said that it is full.
    let mut guard = None;
    loop {
        let transfer = match &mut channel.store {
            Store::Nothing => return Ok(None),
            Store::Buffer(buffer) => raw_sock_from_buf(target.fd(), buffer, false),
            Store::Pipe(pipe) => raw_sock_from_pipe(target.fd(), pipe, false),
        };
        *written += transfer.bytes;
        channel.record.add_user(transfer.bytes);
        if let Some(error) = failure(&transfer, Status::ERR_OUT | Status::SHUT_OUT) {
            channel.flags |= Flags::ERR_OUT;
            channel.discard(pool);
            return Ok(Some(Stop::TargetFailed(error)));
        }
        if channel.held() == 0 {
            return Ok(None);
        }
        if transfer.bytes == 0
            && transfer.status.contains(Status::FULL_OUT)
            && let Some(guard) = guard.take()
        {
            clear(guard);
        }
        match target.poll_write_ready(cx) {
            Poll::Pending => return Ok(Some(Stop::Waiting)),
            Poll::Ready(ready) => guard = Some(ready?),
        }
    }
}

/// Reads into an empty store. `None`: something was read, or the end was seen.
fn fill(
    channel: &mut Channel,
    source: &Connection,
    pool: &Pool,
    cx: &mut Context<'_>,
    read: &mut usize,
) -> io::Result<Option<Stop>> {
    loop {
        let guard = match source.poll_read_ready(cx) {
            Poll::Pending => return Ok(Some(Stop::Waiting)),
            Poll::Ready(guard) => guard?,
        };
        channel.provide(pool);
        let transfer = match &mut channel.store {
            Store::Nothing => return Ok(Some(Stop::Waiting)),
            Store::Buffer(buffer) => raw_sock_to_buf(source.fd(), buffer),
            Store::Pipe(pipe) => raw_sock_to_pipe(source.fd(), pipe),
        };
        if transfer.status.contains(Status::EMPTY_IN) {
            clear(guard);
        }
        if let Some(error) = failure(&transfer, Status::ERR_IN) {
            channel.flags |= Flags::ERR_IN;
            return Ok(Some(Stop::SourceFailed(error)));
        }
        if transfer.status.contains(Status::SHUT_IN) {
            channel.flags |= Flags::SHUT_IN;
            return Ok(None);
        }
        if transfer.bytes > 0 {
            *read += transfer.bytes;
            channel.sizing.observe(transfer.bytes);
            return Ok(None);
        }
    }
}

fn clear(mut guard: tokio::io::unix::AsyncFdReadyGuard<'_, std::os::fd::OwnedFd>) {
    guard.clear_ready();
}

fn failure(transfer: &Transfer, mask: Status) -> Option<io::Error> {
    if !transfer.status.intersects(mask) {
        return None;
    }
    let code = transfer.error.as_ref().and_then(io::Error::raw_os_error);
    Some(code.map_or_else(
        || io::Error::from(io::ErrorKind::Other),
        io::Error::from_raw_os_error,
    ))
}
