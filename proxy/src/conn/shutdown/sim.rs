//! A model of the layers under a sequencer, of the layers above it, of its peer and of time, all
//! driven at random. The model keeps its own account of what is shut, failed and owed, and objects
//! to an action that comes too early, twice, or too late.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{AbortLimits, Action, Closes, Outcome, Sequencer};
use crate::conn::end::{Layer, Reason};
use crate::conn::state::View;

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    /// The layer above asks; what needs all output to be out is asked only then.
    ShutWrite,
    ShutRead,
    Close,
    Reset,
    Abort {
        bytes: u64,
        milliseconds: u64,
    },
    /// Bytes of output leave.
    Output(u64),
    /// The layer above reads everything that has come.
    Read,
    PeerSends(u64),
    PeerEnds,
    PeerFails,
    /// The peer acknowledges everything.
    Acknowledge,
    Wait(u64),
    /// Postponed steps are tried again.
    Resume,
    /// So many actions are tried, with these outcomes.
    Work(Vec<Try>),
}

/// How an attempt goes.
#[derive(Debug, Clone, Copy)]
enum Try {
    /// So far as it can; a layer's last words may need several.
    Goes,
    Waits,
    Fails,
}

fn attempt() -> impl Strategy<Value = Try> {
    prop_oneof![8 => Just(Try::Goes), 3 => Just(Try::Waits), 1 => Just(Try::Fails)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::ShutWrite),
        1 => Just(Event::ShutRead),
        1 => Just(Event::Close),
        1 => Just(Event::Reset),
        3 => (0u64..60, 0u64..300).prop_map(|(bytes, milliseconds)| Event::Abort {
            bytes,
            milliseconds
        }),
        4 => (1u64..20).prop_map(Event::Output),
        3 => Just(Event::Read),
        4 => (1u64..20).prop_map(Event::PeerSends),
        1 => Just(Event::PeerEnds),
        1 => Just(Event::PeerFails),
        3 => Just(Event::Acknowledge),
        2 => (0u64..100).prop_map(Event::Wait),
        6 => Just(Event::Resume),
        10 => prop::collection::vec(attempt(), 1..6).prop_map(Event::Work),
    ]
}

/// What the model knows of an abort.
#[derive(Debug, Clone, Copy)]
struct Aborting {
    deadline: Instant,
    limit: u64,
    drained: u64,
}

/// Everything around the sequencer.
#[derive(Debug)]
struct World {
    sequencer: Sequencer,
    now: Instant,
    /// Done by the layers themselves.
    shut: Closes,
    /// Each release, with the number of times that it was done.
    released: [(Closes, u32); 3],
    /// Bytes that the layer above still has to write.
    output: u64,
    /// Attempts that the data layer's last words still need, and the ctrl layer's.
    words: [u8; 2],
    /// Bytes received, and not read yet.
    input: u64,
    peer_fin: bool,
    peer_acked: bool,
    end_told: bool,
    read_asked: bool,
    write_asked: bool,
    failed: bool,
    aborting: Option<Aborting>,
    fin_sent: bool,
}

impl World {
    fn new(output: u64, words: [u8; 2]) -> Self {
        Self {
            sequencer: Sequencer::new(),
            now: Instant::now(),
            shut: Closes::empty(),
            released: [
                (Closes::DATA_CLOSE, 0),
                (Closes::CTRL_CLOSE, 0),
                (Closes::SOCKET_CLOSE, 0),
            ],
            output,
            words,
            input: 0,
            peer_fin: false,
            peer_acked: false,
            end_told: false,
            read_asked: false,
            write_asked: false,
            failed: false,
            aborting: None,
            fin_sent: false,
        }
    }

    fn read_shut(&self) -> bool {
        self.read_asked || self.end_told
    }

    fn closing(&self) -> bool {
        self.read_shut() && self.write_asked
    }

    fn is_released(&self, what: Closes) -> bool {
        self.released
            .iter()
            .any(|(layer, times)| *layer == what && *times > 0)
    }

    fn closed(&self) -> bool {
        self.is_released(Closes::SOCKET_CLOSE)
    }

    /// A failure while nobody wants to read any more lets go of everything.
    fn note_failure(&mut self) {
        self.failed = true;
        if self.aborting.is_some() {
            self.ask_both();
        }
    }

    fn ask_both(&mut self) {
        self.read_asked = true;
        self.write_asked = true;
    }

    /// An acknowledged FIN ends an abort.
    fn note_acknowledgement(&mut self) {
        if self.aborting.is_some() && self.peer_acked {
            self.read_asked = true;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ShutWrite if self.output == 0 => {
                self.sequencer.shut_write();
                self.write_asked = true;
            }
            Event::Close if self.output == 0 => {
                self.sequencer.close();
                self.ask_both();
            }
            Event::ShutWrite | Event::Close => {}
            Event::ShutRead => {
                self.sequencer.shut_read();
                self.read_asked = true;
            }
            Event::Reset => {
                self.sequencer.reset(Reason::Timeout);
                self.note_failure();
                self.ask_both();
            }
            Event::Abort {
                bytes,
                milliseconds,
            } => {
                let time = Duration::from_millis(milliseconds);
                self.sequencer
                    .abort_read(self.now, AbortLimits { bytes, time });
                self.note_abort(Aborting {
                    deadline: self.now + time,
                    limit: bytes,
                    drained: 0,
                });
            }
            Event::Output(count) => {
                if self.output > 0 && !self.failed && !self.closed() {
                    self.output = self.output.saturating_sub(count);
                    if self.output == 0 {
                        self.all_is_out();
                    }
                }
            }
            Event::Read => {
                if !self.read_asked && self.aborting.is_none() && !self.closed() {
                    self.input = 0;
                    self.tell_end();
                }
            }
            Event::PeerSends(count) => {
                if !self.peer_fin {
                    self.input += count;
                }
            }
            Event::PeerEnds => self.peer_fin = true,
            Event::PeerFails => {
                let closed = self.closed();
                self.sequencer.peer_failed(Layer::Socket, Reason::PeerReset);
                if !closed {
                    self.note_failure();
                }
            }
            Event::Acknowledge => {
                self.sequencer.fin_acknowledged();
                if self.fin_sent {
                    self.peer_acked = true;
                    self.note_acknowledgement();
                }
            }
            Event::Wait(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.sequencer.time(self.now);
                if let Some(aborting) = self.aborting
                    && aborting.deadline <= self.now
                    && !self.closed()
                {
                    self.note_failure();
                }
            }
            Event::Resume => self.sequencer.resume(),
            Event::Work(tries) => {
                for attempt in tries {
                    if !self.work(attempt) {
                        break;
                    }
                }
            }
        }
        self.check_view();
    }

    fn note_abort(&mut self, aborting: Aborting) {
        if self.closed() {
            return;
        }
        if self.failed {
            self.ask_both();
            return;
        }
        self.aborting.get_or_insert(aborting);
        self.note_acknowledgement();
        if self.output == 0 {
            self.all_is_out();
        }
    }

    fn all_is_out(&mut self) {
        self.sequencer.output_done();
        if self.aborting.is_some() {
            self.write_asked = true;
        }
    }

    fn tell_end(&mut self) {
        if self.peer_fin && self.input == 0 && !self.end_told {
            self.sequencer.peer_ended();
            self.end_told = true;
            self.shut |= Closes::READ;
        }
    }

    fn check_view(&self) {
        let mut view = View::empty();
        view.set(View::SHR, self.read_shut() || self.aborting.is_some());
        view.set(View::SHW, self.write_asked);
        view.set(View::ERR, self.failed);
        assert_eq!(self.sequencer.view(), view, "{self:?}");
        assert_eq!(self.sequencer.is_closed(), self.closed());
        if self.failed || self.closed() {
            assert_eq!(self.sequencer.deadline(), None);
        } else {
            assert_eq!(
                self.sequencer.deadline(),
                self.aborting.map(|aborting| aborting.deadline)
            );
        }
    }

    /// Tries one action; false where there is none.
    fn work(&mut self, attempt: Try) -> bool {
        let Some(action) = self.sequencer.next() else {
            return false;
        };
        assert!(!self.closed(), "{action:?} after the end");
        let outcome = match action.closes() {
            None => self.drain(attempt),
            Some(step) if Closes::RELEASES.contains(step) => self.release(action, step, attempt),
            Some(step) => self.shut(step, attempt),
        };
        let failed = matches!(outcome, Outcome::Failed(_));
        self.sequencer.report(action, outcome);
        if failed {
            self.note_failure();
        }
        self.check_view();
        true
    }

    fn drain(&mut self, attempt: Try) -> Outcome {
        assert!(!self.failed && !self.read_shut(), "nothing to drain for");
        let mut aborting = self.aborting.expect("a drain without an abort");
        match attempt {
            Try::Fails => return Outcome::Failed(Reason::PeerReset),
            Try::Waits => return Outcome::Postponed,
            Try::Goes => {}
        }
        if self.input == 0 {
            self.tell_end();
            return if self.end_told {
                Outcome::Done
            } else {
                Outcome::Postponed
            };
        }
        assert!(
            aborting.drained <= aborting.limit,
            "more was drained than may be"
        );
        let got = self.input.min(7);
        self.input -= got;
        aborting.drained += got;
        self.aborting = Some(aborting);
        self.sequencer.drained(usize::try_from(got).unwrap());
        if aborting.drained > aborting.limit {
            self.note_failure();
        }
        Outcome::Done
    }

    fn shut(&mut self, step: Closes, attempt: Try) -> Outcome {
        let reads = Closes::READ.contains(step);
        assert!(!self.failed, "{step:?} after a failure");
        assert!(!self.shut.contains(step), "{step:?} twice");
        if reads {
            assert!(self.read_asked, "{step:?} unasked");
        } else {
            assert!(self.write_asked, "{step:?} unasked");
            assert_eq!(self.output, 0, "{step:?} with output on its way");
        }
        let below = match step {
            Closes::DSHR | Closes::DSHW => Closes::empty(),
            Closes::CSHR => Closes::DSHR,
            Closes::CSHW => Closes::DSHW,
            Closes::SSHR => Closes::DSHR | Closes::CSHR,
            _ => Closes::DSHW | Closes::CSHW,
        };
        assert!(self.shut.contains(below), "{step:?} before {below:?}");
        let data = (Closes::DSHR | Closes::DSHW).contains(step);
        let ctrl = (Closes::CSHR | Closes::CSHW).contains(step);
        if data {
            assert!(!self.is_released(Closes::DATA_CLOSE));
        }
        assert!(!self.is_released(Closes::CTRL_CLOSE));
        if self.closing() {
            assert!(data || ctrl, "{step:?}, where the close says it");
            assert_eq!(
                ctrl,
                self.is_released(Closes::DATA_CLOSE),
                "{step:?} on the wrong side of the data layer's release"
            );
        }
        match attempt {
            Try::Fails => return Outcome::Failed(Reason::Os(libc::EIO)),
            Try::Waits => return Outcome::Postponed,
            Try::Goes => {}
        }
        let words = match step {
            Closes::DSHW => Some(0),
            Closes::CSHW => Some(1),
            _ => None,
        };
        if let Some(layer) = words
            && self.words[layer] > 0
        {
            self.words[layer] -= 1;
            if self.words[layer] > 0 {
                return Outcome::Postponed;
            }
        }
        self.shut |= step;
        self.fin_sent |= step == Closes::SSHW;
        Outcome::Done
    }

    fn release(&mut self, action: Action, step: Closes, attempt: Try) -> Outcome {
        assert!(self.closing(), "{action:?} while a direction is open");
        let index = self.released.iter().position(|(l, _)| *l == step).unwrap();
        for (layer, times) in &self.released[..index] {
            assert_eq!(*times, 1, "{action:?} before {layer:?}");
        }
        for (layer, times) in &self.released[index..] {
            assert_eq!(*times, 0, "{action:?} after {layer:?}");
        }
        if !self.failed {
            let mut before = Closes::DSHR | Closes::DSHW;
            if step != Closes::DATA_CLOSE {
                before |= Closes::CSHR | Closes::CSHW;
            }
            assert!(self.shut.contains(before), "{action:?} before {before:?}");
            assert_eq!(self.output, 0, "{action:?} with output on its way");
            assert_eq!(self.words[0], 0, "{action:?} within the last words");
            if step != Closes::DATA_CLOSE {
                assert_eq!(self.words, [0, 0], "{action:?} within the last words");
            }
        }
        if let Action::SocketClose { graceful } = action {
            assert_eq!(graceful, !self.failed);
        }
        match attempt {
            Try::Waits => return Outcome::Postponed,
            Try::Goes | Try::Fails => self.released[index].1 += 1,
        }
        if matches!(attempt, Try::Fails) {
            Outcome::Failed(Reason::Os(libc::EIO))
        } else {
            Outcome::Done
        }
    }

    /// Nothing goes wrong any more; the peer says nothing. The layer above asks for the end unless
    /// a delayed abort is to bring it.
    fn finish(&mut self) {
        for _ in 0..100 {
            if self.closed() {
                break;
            }
            self.happen(Event::Output(u64::MAX));
            if self.aborting.is_none() {
                // What was not written because of a failure never will be.
                if self.failed {
                    self.happen(Event::Reset);
                } else {
                    self.happen(Event::Close);
                }
            }
            self.happen(Event::Resume);
            self.happen(Event::Work(vec![Try::Goes; 50]));
            self.happen(Event::Wait(100));
        }
        assert!(self.closed(), "it never ends: {self:?}");
        for (layer, times) in self.released {
            assert_eq!(times, 1, "{layer:?}");
        }
        self.sequencer.resume();
        assert_eq!(self.sequencer.next(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn every_layer_is_released_once_in_order_and_not_too_early(
        output in 0u64..40,
        words in [0u8..4, 0u8..4],
        events in prop::collection::vec(event(), 0..40),
    ) {
        let mut world = World::new(output, words);
        for event in events {
            world.happen(event);
        }
        world.finish();
    }
}
