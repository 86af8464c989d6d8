//! The order of things, case by case.

use std::time::{Duration, Instant};

use super::Action::{self, *};
use super::{AbortLimits, Closes, Outcome, Sequencer};
use crate::conn::end::{EndHistory, Layer, Reason};
use crate::conn::state::View;

const GRACEFUL: Action = SocketClose { graceful: true };
const RESET: Action = SocketClose { graceful: false };

/// Does whatever is asked for, and says what it was. A drain finds nothing.
fn run(sequencer: &mut Sequencer) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(action) = sequencer.next() {
        assert!(actions.len() < 50, "no end: {actions:?}");
        actions.push(action);
        let outcome = match action {
            Drain => Outcome::Postponed,
            _ => Outcome::Done,
        };
        sequencer.report(action, outcome);
    }
    actions
}

fn history(sequencer: &Sequencer) -> String {
    let mut history = EndHistory::new();
    sequencer.conclude(&mut history);
    history.to_string()
}

fn limits(bytes: u64, seconds: u64) -> AbortLimits {
    AbortLimits {
        bytes,
        time: Duration::from_secs(seconds),
    }
}

#[test]
fn one_direction_is_shut_from_data_to_socket() {
    let mut write = Sequencer::new();
    assert_eq!(write.next(), None);
    write.shut_write();
    assert_eq!(write.view(), View::SHW);
    assert_eq!(
        run(&mut write),
        [DataShutWrite, CtrlShutWrite, SocketShutWrite]
    );
    assert_eq!(write.done(), Closes::WRITE);

    let mut read = Sequencer::new();
    read.shut_read();
    assert_eq!(read.view(), View::SHR);
    assert_eq!(run(&mut read), [DataShutRead, CtrlShutRead, SocketShutRead]);
    assert_eq!(read.done(), Closes::READ);
    assert!(!read.is_closed() && !write.is_closed());
}

#[test]
fn the_second_direction_closes_instead() {
    let mut sequencer = Sequencer::new();
    sequencer.shut_read();
    run(&mut sequencer);
    sequencer.shut_write();
    assert_eq!(
        run(&mut sequencer),
        [DataShutWrite, DataClose, CtrlShutWrite, CtrlClose, GRACEFUL]
    );
    assert!(sequencer.is_closed());
    assert_eq!(history(&sequencer), "socket:closed");

    let mut sequencer = Sequencer::new();
    sequencer.shut_write();
    run(&mut sequencer);
    sequencer.shut_read();
    assert_eq!(
        run(&mut sequencer),
        [DataShutRead, DataClose, CtrlShutRead, CtrlClose, GRACEFUL]
    );
}

#[test]
fn the_peers_end_counts_as_a_read_shut_and_needs_no_step_of_ours() {
    let mut sequencer = Sequencer::new();
    sequencer.peer_ended();
    assert_eq!(run(&mut sequencer), []);
    assert_eq!(sequencer.view(), View::SHR);
    sequencer.shut_write();
    assert_eq!(
        run(&mut sequencer),
        [DataShutWrite, DataClose, CtrlShutWrite, CtrlClose, GRACEFUL]
    );
    assert_eq!(history(&sequencer), "socket:peer-closed");

    // The other way round: a half-closed connection is released as soon as its peer has ended.
    let mut sequencer = Sequencer::new();
    sequencer.shut_write();
    run(&mut sequencer);
    sequencer.peer_ended();
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, GRACEFUL]);
}

#[test]
fn a_close_is_both() {
    let mut sequencer = Sequencer::new();
    sequencer.close();
    assert_eq!(
        run(&mut sequencer),
        [
            DataShutWrite,
            DataShutRead,
            DataClose,
            CtrlShutWrite,
            CtrlShutRead,
            CtrlClose,
            GRACEFUL
        ]
    );
    sequencer.close();
    sequencer.shut_write();
    sequencer.reset(Reason::Timeout);
    sequencer.resume();
    assert_eq!(sequencer.next(), None, "nothing follows a close");
}

#[test]
fn a_postponed_step_remembers_what_it_was_a_part_of() {
    let mut sequencer = Sequencer::new();
    sequencer.shut_write();
    sequencer.report(DataShutWrite, Outcome::Postponed);
    assert_eq!(sequencer.next(), None, "it waits");
    // The other direction does not.
    sequencer.shut_read();
    assert_eq!(run(&mut sequencer), [DataShutRead]);
    sequencer.resume();
    assert_eq!(
        run(&mut sequencer),
        [
            DataShutWrite,
            DataClose,
            CtrlShutWrite,
            CtrlShutRead,
            CtrlClose,
            GRACEFUL
        ]
    );
}

#[test]
fn every_step_can_wait() {
    let all = [
        DataShutWrite,
        DataShutRead,
        DataClose,
        CtrlShutWrite,
        CtrlShutRead,
        CtrlClose,
        GRACEFUL,
    ];
    for waiting in all {
        let mut sequencer = Sequencer::new();
        sequencer.close();
        let mut seen = Vec::new();
        for _ in 0..3 {
            while let Some(action) = sequencer.next() {
                let postpone = action == waiting && !seen.contains(&action);
                seen.push(action);
                let outcome = if postpone {
                    Outcome::Postponed
                } else {
                    Outcome::Done
                };
                sequencer.report(action, outcome);
            }
            sequencer.resume();
        }
        assert!(sequencer.is_closed());
        let tries = |action| seen.iter().filter(|tried| **tried == action).count();
        for action in all {
            let expected = if action == waiting { 2 } else { 1 };
            assert_eq!(tries(action), expected, "{action:?}, {waiting:?} waits");
        }
    }
}

#[test]
fn a_failed_step_leaves_the_releases_and_a_reset() {
    let cases = [
        (
            DataShutWrite,
            Layer::Data,
            vec![DataClose, CtrlClose, RESET],
        ),
        (DataShutRead, Layer::Data, vec![DataClose, CtrlClose, RESET]),
        (DataClose, Layer::Data, vec![CtrlClose, RESET]),
        (CtrlShutWrite, Layer::Ctrl, vec![CtrlClose, RESET]),
        (CtrlShutRead, Layer::Ctrl, vec![CtrlClose, RESET]),
        (CtrlClose, Layer::Ctrl, vec![RESET]),
        (GRACEFUL, Layer::Socket, vec![]),
    ];
    for (failing, layer, rest) in cases {
        let mut sequencer = Sequencer::new();
        sequencer.close();
        while let Some(action) = sequencer.next() {
            if action == failing {
                break;
            }
            sequencer.report(action, Outcome::Done);
        }
        sequencer.report(failing, Outcome::Failed(Reason::Os(libc::EIO)));
        assert!(sequencer.view().contains(View::ERR));
        assert_eq!(run(&mut sequencer), rest, "after {failing:?}");
        assert!(sequencer.is_closed());
        assert_eq!(history(&sequencer), format!("{layer}:errno-5"));
    }
}

#[test]
fn what_was_received_before_a_failure_stays_readable() {
    let mut sequencer = Sequencer::new();
    sequencer.shut_write();
    sequencer.report(DataShutWrite, Outcome::Failed(Reason::PeerReset));
    assert_eq!(sequencer.view(), View::SHW | View::ERR);
    assert_eq!(run(&mut sequencer), [], "the read side is still open");
    // The first failure is the cause; what follows from it is not kept.
    sequencer.peer_failed(Layer::Socket, Reason::Timeout);
    sequencer.peer_ended();
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);
    assert_eq!(history(&sequencer), "data:peer-reset");
}

#[test]
fn a_failure_wakes_what_waits() {
    let mut sequencer = Sequencer::new();
    sequencer.close();
    sequencer.report(DataShutWrite, Outcome::Postponed);
    sequencer.report(DataShutRead, Outcome::Done);
    assert_eq!(sequencer.next(), None);
    sequencer.reset(Reason::Timeout);
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);
    assert_eq!(history(&sequencer), "stream:timeout");
}

#[test]
fn a_reset_skips_every_word() {
    let mut sequencer = Sequencer::new();
    sequencer.reset(Reason::Local(&"stopped"));
    assert_eq!(sequencer.view(), View::all());
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);
    assert_eq!(history(&sequencer), "stream:stopped");
}

/// Steps 2 to 4 of a delayed abort, up to our FIN.
fn aborted(now: Instant, limits: AbortLimits) -> Sequencer {
    let mut sequencer = Sequencer::new();
    sequencer.abort_read(now, limits);
    assert!(sequencer.read_abort_pending());
    assert_eq!(sequencer.view(), View::SHR, "reported at once");
    assert_eq!(sequencer.next(), Some(Drain));
    sequencer.drained(10);
    sequencer.report(Drain, Outcome::Done);
    assert_eq!(run(&mut sequencer), [Drain], "input and output go on");
    sequencer.resume();
    assert_eq!(run(&mut sequencer), [Drain]);
    sequencer.output_done();
    assert_eq!(
        run(&mut sequencer),
        [DataShutWrite, CtrlShutWrite, SocketShutWrite]
    );
    sequencer.resume();
    assert_eq!(run(&mut sequencer), [Drain], "open until the peer has all");
    sequencer
}

#[test]
fn a_delayed_abort_ends_with_the_peers_end() {
    let mut sequencer = aborted(Instant::now(), limits(100, 5));
    sequencer.peer_ended();
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, GRACEFUL]);
    assert_eq!(history(&sequencer), "socket:drained");
}

#[test]
fn a_delayed_abort_ends_with_the_acknowledgement_of_our_fin() {
    let mut sequencer = aborted(Instant::now(), limits(100, 5));
    sequencer.fin_acknowledged();
    assert_eq!(
        run(&mut sequencer),
        [DataShutRead, DataClose, CtrlShutRead, CtrlClose, GRACEFUL]
    );
    assert_eq!(history(&sequencer), "socket:drained");
}

#[test]
fn an_acknowledgement_counts_also_when_it_came_before_the_abort() {
    let mut sequencer = Sequencer::new();
    sequencer.fin_acknowledged();
    sequencer.shut_write();
    run(&mut sequencer);
    sequencer.fin_acknowledged();
    assert_eq!(run(&mut sequencer), [], "the peer may still send");
    sequencer.abort_read(Instant::now(), limits(0, 0));
    assert_eq!(
        run(&mut sequencer),
        [DataShutRead, DataClose, CtrlShutRead, CtrlClose, GRACEFUL]
    );

    // An acknowledgement of something else.
    let mut sequencer = Sequencer::new();
    sequencer.abort_read(Instant::now(), limits(0, 0));
    sequencer.fin_acknowledged();
    assert_eq!(run(&mut sequencer), [Drain]);
}

#[test]
fn a_peer_that_has_ended_has_nothing_to_drain() {
    let mut sequencer = Sequencer::new();
    sequencer.peer_ended();
    sequencer.abort_read(Instant::now(), limits(0, 5));
    assert_eq!(run(&mut sequencer), [], "output goes on");
    sequencer.output_done();
    assert_eq!(
        run(&mut sequencer),
        [DataShutWrite, DataClose, CtrlShutWrite, CtrlClose, GRACEFUL]
    );
}

#[test]
fn a_drain_is_bounded_in_bytes() {
    let mut sequencer = aborted(Instant::now(), limits(100, 5));
    sequencer.drained(90);
    assert!(!sequencer.view().contains(View::ERR), "exactly the limit");
    sequencer.drained(1);
    assert!(!sequencer.read_abort_pending());
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);
    assert_eq!(history(&sequencer), "socket:drain-limit");
}

#[test]
fn a_drain_is_bounded_in_time() {
    let start = Instant::now();
    let mut sequencer = aborted(start, limits(100, 5));
    let deadline = sequencer.deadline().unwrap();
    assert_eq!(deadline, start + Duration::from_secs(5));
    sequencer.time(deadline - Duration::from_nanos(1));
    assert!(!sequencer.view().contains(View::ERR));
    sequencer.time(deadline);
    assert_eq!(sequencer.deadline(), None);
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);
    assert_eq!(history(&sequencer), "socket:timeout");
}

#[test]
fn a_failure_ends_a_delayed_abort() {
    let mut sequencer = Sequencer::new();
    sequencer.abort_read(Instant::now(), limits(100, 5));
    sequencer.report(Drain, Outcome::Failed(Reason::PeerReset));
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);

    // Where it has failed already, there is nothing to wait for.
    let mut sequencer = Sequencer::new();
    sequencer.peer_failed(Layer::Data, Reason::Alert(40));
    sequencer.abort_read(Instant::now(), limits(100, 5));
    assert_eq!(run(&mut sequencer), [DataClose, CtrlClose, RESET]);
    assert_eq!(history(&sequencer), "data:alert-40");
}

#[test]
fn without_an_abort_nothing_is_drained_and_nothing_is_timed() {
    let mut sequencer = Sequencer::new();
    sequencer.output_done();
    sequencer.drained(1 << 30);
    sequencer.time(Instant::now());
    assert_eq!(sequencer.deadline(), None);
    assert_eq!(sequencer.view(), View::empty());
    assert_eq!(sequencer.next(), None);
}

#[test]
fn there_is_one_per_connection_so_it_is_small() {
    assert!(size_of::<Sequencer>() <= 64, "{}", size_of::<Sequencer>());
}
