//! A model of what the kernel does around one redirected direction, driven at random together with
//! the machine and the verdict's own decision function. Bytes are numbered, so that a loss, a
//! duplicate or a reordering shows at once.

use std::collections::VecDeque;

use proptest::prelude::*;
use underpass_common::redirect::{self, Control, Segment, State, Target, Verdict};

use super::{Counts, Direction, Peeked, Step};

/// Bytes that one verdict decides on at most.
const LARGEST_SEGMENT: u64 = 100;

/// One direction as the kernel has it.
struct Kernel {
    control: Control,
    state: State,
    /// The first byte that the verdict is to see.
    first: u64,
    /// Bytes that the sender has not sent yet start here.
    next: u64,
    total: u64,
    fin_sent: bool,
    /// Received before the source was enrolled, and not seen by the verdict yet.
    unseen: VecDeque<u64>,
    /// Passed segments that a kernel worker has not queued for reading yet.
    passing: VecDeque<u64>,
    /// Readable by user space.
    readable: VecDeque<u64>,
    /// Redirected, not yet taken by the target's TCP.
    backlog: VecDeque<u64>,
    /// Taken by the target's TCP, not acknowledged.
    sending: VecDeque<u64>,
    sndbuf: usize,
    /// Acknowledged by the receiver.
    received: Vec<u64>,
    written: u64,
    fin_received: bool,
}

impl Kernel {
    /// Sequence numbers are byte numbers, near the wrap.
    fn verdict(&mut self, mut bytes: Vec<u64>) {
        let len = bytes.len() as u32;
        let seq = |byte: u64| (byte as u32).wrapping_sub(1000);
        let segment = Segment {
            len,
            seq: seq(bytes[0]),
            read_seq: seq(self.first),
        };
        let target = Target {
            acked: self.received.len() as u64,
            unacked: self.sending.len() as u32,
            queued: self.sending.len() as u32,
            limit: 2 * self.sndbuf as u32,
        };
        let repeated = redirect::repeated(&self.control, &mut self.state, segment).unwrap();
        bytes.drain(..repeated as usize);
        let len = len - repeated;
        match redirect::decide(&self.control, &mut self.state, len, Some(&target)) {
            Verdict::Ignore => {}
            Verdict::Redirect => {
                redirect::redirected(&mut self.state, len, 0);
                self.backlog.extend(bytes);
            }
            Verdict::Pass => {
                redirect::passed(&mut self.state, len, 0);
                self.passing.extend(bytes);
            }
        }
    }

    /// Receives `len` new bytes, behind up to `repeated` that came before.
    fn receive(&mut self, len: u64, repeated: u64) {
        let end = (self.next + len).min(self.total);
        let repeated = if end == self.next { 0 } else { repeated };
        let from = self.next.saturating_sub(repeated).max(self.first);
        let bytes: Vec<u64> = (from..end).collect();
        self.next = end;
        if !bytes.is_empty() {
            self.verdict(bytes);
        }
    }

    fn tcp_takes(&mut self) {
        while self.sending.len() < self.sndbuf {
            let Some(byte) = self.backlog.pop_front() else {
                break;
            };
            self.sending.push_back(byte);
            self.written += 1;
        }
    }

    fn acknowledge(&mut self, count: usize) {
        for _ in 0..count {
            match self.sending.pop_front() {
                Some(byte) => self.received.push(byte),
                None => break,
            }
        }
    }

    fn counts(&self) -> Counts {
        if self.state.epoch == self.control.epoch {
            Counts {
                passed: self.state.passed,
                redirected: self.state.redirected,
            }
        } else {
            Counts::default()
        }
    }
}

/// What happens next in the simulation.
#[derive(Debug, Clone)]
enum Event {
    Receive(u64, u64),
    TcpTakes,
    Acknowledge(usize),
    QueuePassed(usize),
    UserSteps(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u64..40).prop_map(|len| Event::Receive(len, 0)),
        1 => (1u64..40, 1u64..20).prop_map(|(len, repeated)| Event::Receive(len, repeated)),
        3 => Just(Event::TcpTakes),
        3 => (1usize..40).prop_map(Event::Acknowledge),
        4 => (1usize..60).prop_map(Event::QueuePassed),
        8 => (1usize..4).prop_map(Event::UserSteps),

    ]
}

/// Runs the machine for up to `steps` steps; true if it wants to do more.
fn user(machine: &mut Direction, kernel: &mut Kernel, held: &mut VecDeque<u64>, steps: usize) {
    for _ in 0..steps {
        match machine.step(kernel.counts()) {
            Step::Idle | Step::LookAgain | Step::Done => return,
            Step::ReadTarget => {
                machine.target_written(kernel.written);
            }
            Step::Write => {
                assert!(
                    kernel.backlog.is_empty(),
                    "user space writes while redirected bytes are queued"
                );
                let room = kernel.sndbuf.saturating_sub(kernel.sending.len());
                let count = room.min(held.len()).min(7);
                if count == 0 {
                    machine.write_blocked();
                } else {
                    for _ in 0..count {
                        let byte = held.pop_front().unwrap();
                        kernel.sending.push_back(byte);
                        kernel.written += 1;
                    }
                    machine.wrote(count);
                }
            }
            Step::AwaitRoom => {
                if kernel.sending.len() >= kernel.sndbuf {
                    return;
                }
                machine.writable();
            }
            Step::Peek => {
                if !kernel.readable.is_empty() {
                    held.clear();
                    held.extend(kernel.readable.iter().take(60));
                    machine.peeked(Peeked::Bytes(held.len()));
                } else if kernel.fin_sent && kernel.passing.is_empty() {
                    machine.peeked(Peeked::End);
                } else {
                    machine.peeked(Peeked::Nothing);
                }
            }
            Step::Publish { forwarded, consume } => {
                kernel.control.forwarded = forwarded;
                kernel.readable.drain(..consume);
            }
            Step::Barrier => machine.barrier_passed(),
            Step::Shutdown => {
                assert!(kernel.backlog.is_empty(), "FIN with a backlog truncates");
                assert!(kernel.passing.is_empty() && kernel.readable.is_empty());
                kernel.fin_received = true;
                machine.shut();
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    total: u64,
    cap: u64,
    sndbuf: usize,
    window: usize,
    taken: u64,
    unread: u64,
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        0u64..3000,
        1u64..400,
        1usize..100,
        1usize..200,
        0u64..100,
        0u64..100,
    )
        .prop_map(|(total, cap, sndbuf, window, taken, unread)| Shape {
            total,
            cap,
            sndbuf,
            window,
            taken,
            unread,
        })
}

fn run(shape: Shape, events: Vec<Event>) {
    let Shape {
        total,
        cap,
        sndbuf,
        window,
        taken,
        unread,
    } = shape;
    let taken = taken.min(total);
    let unread = unread.min(total - taken);
    let mut kernel = Kernel {
        control: Control {
            epoch: 7,
            want: 1,
            cap,
            base: taken,
            forwarded: Direction::initial_forwarded(taken as usize),
            ..Control::default()
        },
        state: State {
            epoch: 6,
            mode: redirect::MODE_KERNEL,
            passed: 99,
            redirected: 99,
            ..State::default()
        },
        first: taken,
        next: taken + unread,
        total,
        fin_sent: false,
        unseen: (taken..taken + unread).collect(),
        passing: VecDeque::new(),
        readable: VecDeque::new(),
        backlog: VecDeque::new(),
        sending: VecDeque::new(),
        sndbuf,
        received: Vec::new(),
        written: 0,
        fin_received: false,
    };
    let mut held: VecDeque<u64> = (0..taken).collect();
    let mut machine = Direction::new(0, taken as usize, true);
    // The kick after the insertion shows the verdict what was queued already.
    let unseen: Vec<u64> = kernel.unseen.drain(..).collect();
    if !unseen.is_empty() {
        kernel.verdict(unseen);
    }
    let finish = (0..10_000).flat_map(|_| {
        [
            Event::Receive(50, 0),
            Event::QueuePassed(100),
            Event::TcpTakes,
            Event::Acknowledge(100),
            Event::UserSteps(20),
        ]
    });
    for event in events.into_iter().chain(finish) {
        match event {
            Event::Receive(len, repeated) => {
                // The window: what user space has not read is not acknowledged by its reader.
                if kernel.passing.len() + kernel.readable.len() < window {
                    kernel.receive(len, repeated);
                }
            }
            Event::TcpTakes => kernel.tcp_takes(),
            Event::Acknowledge(count) => kernel.acknowledge(count),
            Event::QueuePassed(count) => {
                for _ in 0..count {
                    if let Some(byte) = kernel.passing.pop_front() {
                        kernel.readable.push_back(byte);
                    }
                }
            }
            Event::UserSteps(steps) => user(&mut machine, &mut kernel, &mut held, steps),
        }
        if kernel.next == kernel.total && !kernel.fin_sent {
            kernel.fin_sent = true;
            machine.source_ended();
        }
        let outstanding = kernel.backlog.len() + kernel.sending.len();
        assert!(
            outstanding as u64 <= cap + LARGEST_SEGMENT + sndbuf as u64,
            "{outstanding} bytes queued with a cap of {cap}"
        );
        if kernel.fin_received && kernel.sending.is_empty() {
            break;
        }
    }
    assert!(kernel.fin_received, "the end never came: {machine:?}");
    assert_eq!(kernel.received, (0..total).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]
    #[test]
    fn every_byte_once_in_order(
        shape in shape(),
        events in prop::collection::vec(event(), 0..600),
    ) {
        run(shape, events);
    }
}
