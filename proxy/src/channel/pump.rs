//! Moves one direction's bytes in user space, as far as they go without waiting.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use super::pool::Pool;
use super::{Channel, Flags, Store};
use crate::conn::Connection;
use crate::conn::data::raw::{
    raw_sock_from_buf, raw_sock_from_pipe, raw_sock_to_buf, raw_sock_to_pipe,
};
use crate::conn::data::ssl::{ssl_sock_from_buf, ssl_sock_to_buf};
use crate::conn::data::{Data, Status, Transfer};

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
/// or the turn is over. Subscribes `cx` to whatever it waits for. When the other direction has been
/// shut before, shutting this one closes its connections.
///
/// # Errors
/// When the runtime is shutting down.
pub fn turn(
    channel: &mut Channel,
    source: &mut Connection,
    target: &mut Connection,
    pool: &Pool,
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
        if channel.held() > 0 || target.owes_output() {
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
            match target.poll_shut_write(cx) {
                Poll::Pending => break Stop::Waiting,
                Poll::Ready(Ok(())) => {}
                // Every byte was taken, and the target is gone before it could be told the end. If
                // that was no orderly end of its own, reading from it says so.
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "a target left before it was told the end");
                }
            }
            // Everything that the source sent is passed on, and so is its end.
            source.shut_read();
            channel.flags |= Flags::SHUT_OUT;
            break Stop::Ended;
        }
        if turn.read >= TURN_BYTES {
            break Stop::Yielded;
        }
        let owed = source.owes_output();
        match fill(channel, source, pool, cx, &mut turn.read)? {
            None => {}
            Some(stop) => {
                // Nothing is held here: an idle direction gives its memory back.
                channel.release(pool);
                if !owed && source.owes_output() && matches!(stop, Stop::Waiting) {
                    // Reading made the data layer write (a key update): the direction to the source
                    // sees to it that it goes out.
                    break Stop::Yielded;
                }
                break stop;
            }
        }
    };
    Ok(turn)
}

/// Writes what is held. `None`: all of it went.
fn flush(
    channel: &mut Channel,
    target: &mut Connection,
    pool: &Pool,
    cx: &mut Context<'_>,
    written: &mut usize,
) -> io::Result<Option<Stop>> {
    // A socket nearly always has room, so the write is tried before its readiness is asked for.
    let mut asked = false;
    loop {
        let payload = channel.held();
        let transfer = target.try_now(|data, socket| send(data, socket, &mut channel.store));
        *written += transfer.bytes;
        channel.record.add_user(payload - channel.held());
        let full = transfer.bytes == 0 && transfer.status.contains(Status::FULL_OUT);
        if let Some(error) = failure(transfer, Status::ERR_OUT | Status::SHUT_OUT) {
            channel.flags |= Flags::ERR_OUT;
            channel.discard(pool);
            return Ok(Some(Stop::TargetFailed(error)));
        }
        if channel.held() == 0 && !target.owes_output() {
            return Ok(None);
        }
        match target.poll_room(cx, asked && full) {
            Poll::Pending => return Ok(Some(Stop::Waiting)),
            Poll::Ready(ready) => ready?,
        }
        asked = true;
    }
}

/// The transfer operation of this data layer and this store.
fn send(data: &mut Data, socket: BorrowedFd<'_>, store: &mut Store) -> Transfer {
    match (data, store) {
        (Data::Raw, Store::Nothing) => Transfer::default(),
        (Data::Raw, Store::Buffer(buffer)) => raw_sock_from_buf(socket, buffer, false),
        (Data::Raw, Store::Pipe(pipe)) => raw_sock_from_pipe(socket, pipe, false),
        (Data::Ssl(ssl), Store::Buffer(buffer)) => ssl_sock_from_buf(socket, ssl, buffer),
        (Data::Ssl(ssl), Store::Nothing) => ssl.flush(socket),
        // A channel with a TLS side takes no pipe; bytes in one could not be encrypted.
        (Data::Ssl(_), Store::Pipe(_)) => {
            Transfer::failed(Status::ERR_OUT, io::ErrorKind::Unsupported.into())
        }
    }
}

/// Reads into an empty store. `None`: something was read, or the end was seen.
fn fill(
    channel: &mut Channel,
    source: &mut Connection,
    pool: &Pool,
    cx: &mut Context<'_>,
    read: &mut usize,
) -> io::Result<Option<Stop>> {
    loop {
        let received = source.poll_in(cx, |data, socket| match data {
            Data::Raw => {
                channel.provide(pool);
                match &mut channel.store {
                    Store::Nothing => Transfer::default(),
                    Store::Buffer(buffer) => raw_sock_to_buf(socket, buffer),
                    Store::Pipe(pipe) => raw_sock_to_pipe(socket, pipe),
                }
            }
            Data::Ssl(ssl) => ssl_sock_to_buf(socket, ssl, channel.provide_buffer(pool)),
        });
        let transfer = match received {
            Poll::Pending => return Ok(Some(Stop::Waiting)),
            Poll::Ready(transfer) => transfer?,
        };
        if transfer.status.contains(Status::SHUT_IN) {
            channel.flags |= Flags::SHUT_IN;
            return Ok(None);
        }
        if transfer.bytes > 0 {
            *read += transfer.bytes;
            channel.sizing.observe(transfer.bytes);
            return Ok(None);
        }
        if let Some(error) = failure(transfer, Status::ERR_IN) {
            channel.flags |= Flags::ERR_IN;
            return Ok(Some(Stop::SourceFailed(error)));
        }
    }
}

fn failure(transfer: Transfer, mask: Status) -> Option<io::Error> {
    if !transfer.status.intersects(mask) {
        return None;
    }
    Some(
        transfer
            .error
            .unwrap_or_else(|| io::ErrorKind::Other.into()),
    )
}
