//! The protocol of one redirected direction, without any I/O.
//!
//! The verdict program redirects segments until the target is too far behind, then passes them to
//! user space. What it passed must reach the target after everything it redirected and before
//! everything it redirects later. The machine below says what to do next; whoever runs it does
//! that and reports the outcome. It never has more than one step under way.
//!
//! ```text
//!            passed or held bytes            all redirected bytes are out
//!  Carrying ----------------------> Draining -----------------------------> Copying
//!     ^  |                             ^                                       |
//!     |  | FIN of the source           | something was passed                  |
//!     |  v                             |                                       |
//!     | Barrier ----------------> Finishing: end of stream read, all drained --+--> Done
//!     +----------------------------- nothing left in user space --------------+
//! ```

/// What the verdict program has counted for the direction, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Handed to user space.
    pub passed: u64,
    /// Redirected to the target.
    pub redirected: u64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing until an event of the source or the program arrives.
    Idle,
    /// Read how much was ever written to the target, then call [`Direction::target_written`].
    ReadTarget,
    /// Nothing can be done yet and no event will say when: look again a little later.
    LookAgain,
    /// Write the held bytes to the target, then call [`Direction::wrote`] or
    /// [`Direction::write_blocked`].
    Write,
    /// Wait until the target has room, then call [`Direction::writable`].
    AwaitRoom,
    /// Peek at the source, then call [`Direction::peeked`].
    Peek,
    /// Publish the given count as forwarded, and only then remove this many bytes from the
    /// source's queue: the other way round, a segment that arrives in between would be passed.
    Publish {
        /// New value of the control record's `forwarded`.
        forwarded: u64,
        /// Bytes to take out of the source's queue.
        consume: usize,
    },
    /// Read the source's `TCP_INFO`, which waits for a verdict under way, then call
    /// [`Direction::barrier_passed`].
    Barrier,
    /// Send a FIN to the target, then call [`Direction::shut`].
    Shutdown,
    /// The FIN has been passed on.
    Done,
}

/// What a peek at the source found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peeked {
    /// So many bytes, now held.
    Bytes(usize),
    /// Nothing at the moment.
    Nothing,
    /// The end of the stream.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Carrying,
    /// Waiting until what was redirected has left the target's queue of the kernel.
    Draining,
    /// User space may write to the target.
    Copying,
    /// The FIN is known; what is left is read and drained.
    Finishing,
    /// Everything is out: the FIN may follow.
    Closing,
    Done,
}

/// Where the held bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// They were taken out of the source's queue before the hand-over.
    Taken(usize),
    /// They are still in the source's queue, of which `all` were peeked at and `left` are not
    /// written yet.
    Peeked { left: usize, all: usize },
}

/// One redirected direction.
#[derive(Debug)]
pub struct Direction {
    phase: Phase,
    /// Whether the verdict program sees the source's segments.
    enrolled: bool,
    /// Payload ever written to the target when it was handed over.
    base: u64,
    /// Bytes that user space wrote since.
    written: u64,
    /// Mirrors the control record's `forwarded`, wrapping.
    forwarded: u64,
    held: Held,
    blocked: bool,
    looked: bool,
    fin: bool,
    barrier: bool,
    ended: bool,
    publish: Option<(u64, usize)>,
    counts: Counts,
    /// What had been redirected when the target's queue was last found drained.
    drained: u64,
    readable: bool,
}

impl Direction {
    /// A direction of which user space holds `held` bytes that it took from the source, while
    /// `base` bytes were ever written to the target. `enrolled`: the verdict sees the source.
    #[must_use]
    pub fn new(base: u64, held: usize, enrolled: bool) -> Self {
        Self {
            phase: Phase::Carrying,
            enrolled,
            base,
            written: 0,
            forwarded: 0u64.wrapping_sub(held as u64),
            held: Held::Taken(held),
            blocked: false,
            looked: false,
            fin: false,
            barrier: false,
            ended: false,
            publish: None,
            counts: Counts::default(),
            drained: 0,
            readable: true,
        }
    }

    /// What `forwarded` must be when the verdict first sees the source.
    #[must_use]
    pub fn initial_forwarded(held: usize) -> u64 {
        0u64.wrapping_sub(held as u64)
    }

    /// The source's FIN (or its failure) has been seen.
    pub fn source_ended(&mut self) {
        self.fin = true;
        self.looked = false;
    }

    /// The source may have bytes to read; only meaningful for a source that is not enrolled.
    pub fn source_readable(&mut self) {
        self.readable = true;
    }

    /// Whether the FIN has been passed on.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether the source's window should be kept small: user space is fetching passed bytes, and
    /// only a sender that is held back lets it catch up.
    #[must_use]
    pub fn wants_small_window(&self) -> bool {
        self.enrolled && !self.fin && self.counts.passed != self.forwarded
    }

    /// Whether the verdict sees the source.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.enrolled
    }

    /// Whether the source's FIN is known.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.fin
    }

    fn held(&self) -> usize {
        match self.held {
            Held::Taken(left) | Held::Peeked { left, .. } => left,
        }
    }

    /// Whether user space has, or must fetch, bytes of this direction.
    fn owes(&self) -> bool {
        self.held() > 0 || self.counts.passed != self.forwarded || (!self.enrolled && self.readable)
    }

    /// What to do next, given the program's counters as they are now.
    pub fn step(&mut self, counts: Counts) -> Step {
        self.counts = counts;
        if let Some((forwarded, consume)) = self.publish.take() {
            return Step::Publish { forwarded, consume };
        }
        loop {
            match self.phase {
                Phase::Done => return Step::Done,
                Phase::Closing => return Step::Shutdown,
                Phase::Carrying => {
                    if self.owes() {
                        self.phase = Phase::Draining;
                        self.looked = false;
                    } else if self.fin {
                        if !self.barrier {
                            return Step::Barrier;
                        }
                        self.phase = Phase::Finishing;
                        self.looked = false;
                    } else {
                        return Step::Idle;
                    }
                }
                Phase::Draining => {
                    if self.looked {
                        self.looked = false;
                        return Step::LookAgain;
                    }
                    return Step::ReadTarget;
                }
                Phase::Copying => {
                    if self.blocked {
                        return Step::AwaitRoom;
                    }
                    if self.owes() && self.counts.redirected != self.drained {
                        // The program had its turn again, between a publication and now, and has
                        // passed bytes once more.
                        self.phase = Phase::Draining;
                        self.looked = false;
                    } else if self.held() > 0 {
                        return Step::Write;
                    } else if self.owes() {
                        if self.looked {
                            self.looked = false;
                            return Step::LookAgain;
                        }
                        return Step::Peek;
                    } else {
                        self.phase = Phase::Carrying;
                    }
                }
                Phase::Finishing => {
                    if self.owes() {
                        // Passed between the barrier and now.
                        self.phase = Phase::Draining;
                        self.looked = false;
                    } else if self.looked {
                        self.looked = false;
                        return Step::LookAgain;
                    } else if self.ended {
                        return Step::ReadTarget;
                    } else {
                        return Step::Peek;
                    }
                }
            }
        }
    }

    /// `total` payload bytes were ever written to the target. Returns whether everything that was
    /// redirected has left the kernel's queue.
    pub fn target_written(&mut self, total: u64) -> bool {
        let expected = self.counts.redirected.wrapping_add(self.written);
        if total.wrapping_sub(self.base) < expected {
            self.looked = true;
            return false;
        }
        self.looked = false;
        match self.phase {
            Phase::Draining => {
                self.phase = Phase::Copying;
                self.drained = self.counts.redirected;
            }
            Phase::Finishing if self.ended => self.phase = Phase::Closing,
            _ => {}
        }
        true
    }

    /// A peek at the source found this.
    pub fn peeked(&mut self, found: Peeked) {
        match found {
            Peeked::Bytes(count) => {
                self.held = Held::Peeked {
                    left: count,
                    all: count,
                };
                if self.phase == Phase::Finishing {
                    // Bytes that no verdict saw: they go the way of passed ones.
                    self.phase = Phase::Draining;
                    self.looked = false;
                }
            }
            Peeked::Nothing => {
                if self.enrolled || self.fin {
                    // Passed bytes that cannot be read yet: they queue behind the opposite
                    // direction's egress, or a worker of the kernel has not got to them.
                    self.looked = true;
                } else {
                    self.readable = false;
                }
            }
            Peeked::End => {
                self.fin = true;
                if !self.enrolled {
                    self.readable = false;
                    self.ended = true;
                } else if self.counts.passed == self.forwarded {
                    self.ended = true;
                } else {
                    self.looked = true;
                }
            }
        }
    }

    /// `count` of the held bytes were written to the target.
    pub fn wrote(&mut self, count: usize) {
        self.written += count as u64;
        match &mut self.held {
            Held::Taken(left) => {
                *left -= count;
                self.forwarded = self.forwarded.wrapping_add(count as u64);
                self.publish = Some((self.forwarded, 0));
            }
            Held::Peeked { left, all } => {
                *left -= count;
                if *left == 0 {
                    // All at once: only while nothing is consumed does the window stay shut, and
                    // only then is there a moment at which nothing more is being passed.
                    if self.enrolled {
                        self.forwarded = self.forwarded.wrapping_add(*all as u64);
                    }
                    self.publish = Some((self.forwarded, *all));
                }
            }
        }
    }

    /// The target has no room.
    pub fn write_blocked(&mut self) {
        self.blocked = true;
    }

    /// The target may have room again.
    pub fn writable(&mut self) {
        self.blocked = false;
    }

    /// The barrier is passed: every verdict on bytes before the FIN has been counted.
    pub fn barrier_passed(&mut self) {
        self.barrier = true;
    }

    /// The FIN was sent to the target.
    pub fn shut(&mut self) {
        self.phase = Phase::Done;
    }
}

#[cfg(test)]
#[path = "direction_sim.rs"]
mod sim;
