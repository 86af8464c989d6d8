//! A TCP socket in the middle of a connection, as far as the relay depends on what it does.
//!
//! It takes and refuses what Linux does: time stamps that go back (PAWS), segments outside the
//! window, acknowledgements of what was not sent. Streams are counted from 0; only headers have
//! sequence numbers.

use std::collections::BTreeMap;

use underpass_common::relay::segment::{ACK, FIN, Header};
use underpass_common::relay::{after, ports};

use crate::wire::{Numbers, Wire, words};

/// What its connection has agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) numbers: Numbers,
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    /// Shift of the windows that it announces, and of those that it is told.
    pub(crate) scale: u8,
    pub(crate) others_scale: u8,
    /// Bytes that it takes before they are read.
    pub(crate) buffer: u32,
    /// The whole stream that it sends.
    pub(crate) stream: usize,
    /// Added to its clock.
    pub(crate) epoch: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Socket {
    pub(crate) manner: Manner,
    /// Bytes there are to be sent.
    pub(crate) written: u32,
    /// A FIN follows them.
    pub(crate) closes: bool,
    /// Bytes sent at least once, and acknowledged; the FIN counts one.
    pub(crate) sent: u32,
    pub(crate) acked: u32,
    /// How far it may send.
    pub(crate) allowed: u32,
    /// Bytes received without a gap; the FIN counts one.
    pub(crate) got: u32,
    /// Received behind a gap.
    pub(crate) aside: BTreeMap<u32, u32>,
    /// Where the other stream ends.
    pub(crate) end: Option<u32>,
    /// Bytes read by the application.
    pub(crate) read: u32,
    /// How far it has allowed the other to send.
    pub(crate) promised: u32,
    recent: u32,
    last_ack: u32,
    now: u32,
}

impl Socket {
    pub(crate) fn new(manner: Manner, allowed: u32, recent: u32) -> Self {
        Self {
            manner,
            written: 0,
            closes: false,
            sent: 0,
            acked: 0,
            allowed,
            got: 0,
            aside: BTreeMap::new(),
            end: None,
            read: 0,
            promised: manner.buffer,
            recent,
            last_ack: 0,
            now: 0,
        }
    }

    pub(crate) fn tick(&mut self, ticks: u32) {
        self.now += ticks;
    }

    /// What it would put into a time stamp now.
    pub(crate) fn clock(&self) -> u32 {
        self.manner.epoch.wrapping_add(self.now)
    }

    /// Number of the byte at `at` of its own stream.
    pub(crate) fn number(&self, at: u32) -> u32 {
        self.manner.numbers.own.wrapping_add(at)
    }

    /// Number of the byte at `at` of the stream that it receives.
    pub(crate) fn others_number(&self, at: u32) -> u32 {
        self.manner.numbers.others.wrapping_add(at)
    }

    /// All that there is has arrived, in both directions.
    pub(crate) fn is_done(&self) -> bool {
        self.closes && self.acked == self.written + 1 && self.end.is_some_and(|end| self.got > end)
    }

    /// Bytes received, without the FIN.
    pub(crate) fn received(&self) -> u32 {
        self.end.map_or(self.got, |end| self.got.min(end))
    }

    /// A segment with up to `most` bytes from `from` on, as far as it may be sent; the FIN goes
    /// with the last one.
    pub(crate) fn send(&mut self, from: u32, most: u32) -> Wire {
        let until = self
            .written
            .min(self.allowed.max(self.acked))
            .min(from.saturating_add(most));
        let from = from.min(self.written);
        let payload = until.saturating_sub(from);
        let fin = self.closes && from + payload == self.written;
        self.sent = self.sent.max(from + payload + u32::from(fin));
        self.segment(from, payload, if fin { FIN | ACK } else { ACK })
    }

    pub(crate) fn acknowledge(&mut self) -> Wire {
        // As Linux does when the window has shrunk.
        let at = self.sent.min(self.allowed.max(self.acked));
        self.segment(at, 0, ACK)
    }

    pub(crate) fn segment(&mut self, from: u32, payload: u32, flags: u8) -> Wire {
        let Manner {
            timestamps,
            sack,
            scale,
            stream,
            ..
        } = self.manner;
        let room = (self.read + self.manner.buffer).max(self.promised) - self.received();
        let field = (room >> scale).min(0xffff);
        self.promised = self.promised.max(self.received() + (field << scale));
        self.last_ack = self.got;
        let mut options = Vec::new();
        if timestamps {
            options.extend([1, 1, 8, 10]);
            options.extend(self.clock().to_be_bytes());
            options.extend(self.recent.to_be_bytes());
        }
        let mut blocks = Vec::new();
        if sack && !self.aside.is_empty() {
            let most = if timestamps { 3 } else { 4 };
            blocks = self
                .aside
                .iter()
                .map(|(&from, &to)| (from, to))
                .take(most)
                .collect();
            options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
            for &(from, to) in &blocks {
                options.extend(self.others_number(from).to_be_bytes());
                options.extend(self.others_number(to).to_be_bytes());
            }
        }
        let size = (20 + options.len() as u32) / 4;
        let control = size << 28 | u32::from(flags) << 16 | field;
        let mut wire = Wire {
            header: Header {
                base: [
                    ports(4711, 80),
                    self.number(from).to_be(),
                    self.others_number(self.got).to_be(),
                    control.to_be(),
                    0,
                ],
                options: words(&options),
            },
            options: options.len(),
            payload,
            stream,
            from,
            blocks,
            rest: (from ^ payload) as u16,
        };
        if payload == 0 {
            wire.rest = 0;
        }
        wire.seal();
        wire
    }

    /// Takes a segment; whether it calls for an acknowledgement. `honest`: it is no forgery, and
    /// must make sense.
    pub(crate) fn receive(&mut self, wire: &Wire, honest: bool) -> bool {
        let segment = wire.segment();
        let fin = u32::from(segment.flags & FIN != 0);
        // Linux answers refused ones without payload too, but not many of them.
        let is_more = segment.payload + fin > 0;
        let ack = segment.ack.wrapping_sub(self.manner.numbers.own);
        if honest {
            wire.check(self.manner.numbers);
            assert!(ack <= self.sent, "{ack} of {} acknowledged", self.sent);
            assert!(wire.payload == 0 || wire.stream != self.manner.stream);
        }
        let at = segment.seq.wrapping_sub(self.manner.numbers.others);
        if let Some((value, _)) = wire.stamps()
            && after(self.recent, value)
        {
            return is_more;
        }
        let end = at.wrapping_add(segment.payload + fin);
        if after(self.last_ack, end) || after(at, self.promised) {
            return is_more;
        }
        if ack > self.sent {
            return is_more;
        }
        if let Some((value, _)) = wire.stamps()
            && !after(at, self.last_ack)
        {
            self.recent = value;
        }
        if ack >= self.acked {
            self.acked = ack;
            self.allowed = ack + (u32::from(segment.window) << self.manner.others_scale);
        }
        if !is_more {
            return false;
        }
        self.take(at, segment.payload, fin == 1);
        true
    }

    fn take(&mut self, at: u32, payload: u32, fin: bool) {
        // A segment that lies before 0 ends before what is got: it was refused.
        let until = at.wrapping_add(payload);
        if fin && until <= self.promised {
            self.end = Some(until);
        }
        let until = until.min(self.promised);
        let at = if after(self.got, at) { self.got } else { at };
        if at < until {
            self.put_aside(at, until);
        }
        while let Some((&from, &to)) = self.aside.first_key_value() {
            if from > self.got {
                break;
            }
            self.aside.remove(&from);
            self.got = self.got.max(to);
        }
        if self.end == Some(self.got) {
            self.got += 1;
        }
    }

    fn put_aside(&mut self, mut from: u32, mut to: u32) {
        let touching: Vec<u32> = self
            .aside
            .range(..=to)
            .filter(|&(_, &end)| end >= from)
            .map(|(&start, _)| start)
            .collect();
        for start in touching {
            let end = self.aside.remove(&start).unwrap_or(start);
            from = from.min(start);
            to = to.max(end);
        }
        self.aside.insert(from, to);
    }
}
