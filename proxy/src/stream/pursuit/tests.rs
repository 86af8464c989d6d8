use super::*;

const S: Duration = Duration::from_secs(1);

fn manner() -> Manner {
    Manner {
        retries: 3,
        redispatch: None,
        connect: Some(5 * S),
        queue: None,
        any_server: true,
    }
}

fn refused(servers: usize) -> Event {
    Event::Failed {
        ending: Termination::SERVER_REFUSED,
        hopeless: false,
        outlook: Outlook { servers, up: true },
    }
}

/// The states that a way passes, given what happens.
fn states(manner: Manner, wanted: Option<usize>, events: &[Event]) -> (Vec<State>, Todo) {
    let now = Instant::now();
    let mut way = Pursuit::new(manner, wanted);
    let mut todo = way.start();
    let mut states = vec![way.state()];
    for event in events {
        todo = way.on(*event, now);
        states.push(way.state());
    }
    (states, todo)
}

#[test]
fn a_refused_connection_is_tried_again_after_a_turn_around() {
    use State::{Clo, Con, Req, Tar};
    let again = [refused(1), Event::Elapsed];
    let mut events = vec![Event::Assigned(0)];
    for _ in 0..3 {
        events.extend(again);
    }
    events.push(refused(1));
    let (states, todo) = states(manner(), None, &events);
    assert_eq!(states, [Req, Con, Tar, Con, Tar, Con, Tar, Con, Clo]);
    assert_eq!(todo, Todo::Over(Termination::SERVER_REFUSED));
}

#[test]
fn the_turn_around_is_the_connect_timeout_or_a_second() {
    for (connect, expected) in [(Some(5 * S), S), (Some(S / 5), S / 5), (None, S)] {
        let now = Instant::now();
        let mut way = Pursuit::new(
            Manner {
                connect,
                ..manner()
            },
            None,
        );
        way.start();
        way.on(Event::Assigned(0), now);
        assert_eq!(way.on(refused(1), now), Todo::Pause(now + expected));
    }
}

#[test]
fn redispatch_moves_at_once_where_any_server_will_do() {
    let redispatch = Manner {
        redispatch: Some(-1),
        ..manner()
    };
    let events = [Event::Assigned(0), refused(2)];
    let (_, todo) = states(redispatch, None, &events);
    let elsewhere = Todo::Assign {
        wanted: None,
        avoid: Some(0),
    };
    assert_eq!(todo, elsewhere);
    // Not where a rule chose the server, nor where balance would choose the same again.
    for (manner, wanted) in [
        (redispatch, Some(0)),
        (
            Manner {
                any_server: false,
                ..redispatch
            },
            None,
        ),
    ] {
        let (_, todo) = states(manner, wanted, &events);
        assert!(matches!(todo, Todo::Pause(_)), "{todo:?}");
    }
}

#[test]
fn redispatch_counts_from_the_end_or_in_steps() {
    let at = |redispatch: Option<i32>| {
        let manner = Manner {
            redispatch,
            ..manner()
        };
        [1, 2, 3].map(|made| manner.redispatches(made))
    };
    assert_eq!(at(Some(-1)), [false, false, true]);
    assert_eq!(at(Some(-2)), [false, true, false]);
    assert_eq!(at(Some(-4)), [false, false, false]);
    assert_eq!(at(Some(1)), [true, true, true]);
    assert_eq!(at(Some(2)), [false, true, false]);
    assert_eq!(at(None), [false, false, false]);
}

#[test]
fn a_way_from_the_queue() {
    use State::{Clo, Con, Est, Que, Req};
    let (passed, todo) = states(
        manner(),
        None,
        &[Event::Queued, Event::Assigned(1), Event::Connected],
    );
    assert_eq!((passed, todo), (vec![Req, Que, Con, Est], Todo::Reached));
    for (event, ending) in [
        (Event::Elapsed, Termination::QUEUE_TIMEOUT),
        (Event::ClientLeft, Termination::CLIENT_GONE_QUEUED),
        (Event::ClientIdle, Termination::CLIENT_IDLE_QUEUED),
    ] {
        let (passed, todo) = states(manner(), None, &[Event::Queued, event]);
        assert_eq!((passed, todo), (vec![Req, Que, Clo], Todo::Over(ending)));
    }
}

#[test]
fn a_full_queue_is_left_only_for_another_server() {
    let direct = Manner {
        redispatch: Some(-1),
        ..manner()
    };
    let (_, todo) = states(direct, Some(2), &[Event::QueueFull]);
    let anywhere = Todo::Assign {
        wanted: None,
        avoid: None,
    };
    assert_eq!(todo, anywhere);
    for (manner, wanted) in [(manner(), Some(2)), (direct, None)] {
        let (_, todo) = states(manner, wanted, &[Event::QueueFull]);
        assert_eq!(todo, Todo::Over(Termination::QUEUE_FULL));
    }
}

#[test]
fn whoever_leaves_is_told_apart() {
    for (event, ending) in [
        (Event::ClientLeft, Termination::CLIENT_GONE_CONNECTING),
        (Event::ClientIdle, Termination::CLIENT_IDLE_RETRYING),
    ] {
        let connecting = [Event::Assigned(0), event];
        let retrying = [Event::Assigned(0), refused(1), event];
        for events in [&connecting[..], &retrying[..]] {
            let (_, todo) = states(manner(), None, events);
            assert_eq!(todo, Todo::Over(ending));
        }
    }
}
