use super::*;
use crate::backend::balance::{self, Member};
use crate::config::model::Environment;
use crate::config::model::balance::{Algorithm as Kind, Balance};
use crate::config::{self, Source};

fn limits(most: Option<u32>) -> Limits {
    Limits {
        most,
        least: most.unwrap_or(0),
        queue: None,
    }
}

fn with(kind: Kind, servers: &[Recruit], full: u32) -> Dispatcher<u32> {
    let settings = Balance {
        algorithm: kind,
        ..Balance::default()
    };
    let members = (1..).zip(servers).map(|(id, _)| Member { id, weight: 1 });
    let algorithm = balance::make(&settings, members);
    Dispatcher::new(algorithm, servers.iter().copied(), full, false)
}

fn assign(dispatcher: &mut Dispatcher<u32>, waiter: u32) -> Verdict<u32> {
    dispatcher.assign(None, &Ask::default(), waiter)
}

fn ticket(verdict: Verdict<u32>) -> Ticket {
    match verdict {
        Verdict::Wait { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    }
}

fn serves(waiter: u32, server: usize) -> Option<Grant<u32>> {
    Some(Grant {
        waiter,
        turn: Turn::Serve(server),
    })
}

#[test]
fn whoever_came_first_is_first() {
    let mut d = with(Kind::RoundRobin, &[(limits(Some(1)), false, up(1)); 2], 1);
    assert_eq!(assign(&mut d, 0), Verdict::Serve(0, 0));
    assert_eq!(assign(&mut d, 1), Verdict::Serve(1, 1));
    for waiter in 2..5 {
        let before = [0, waiter - 2];
        let Verdict::Wait { before: found, .. } = assign(&mut d, waiter) else {
            panic!("there is no room");
        };
        assert_eq!(found, before);
    }
    assert_eq!(d.pump(), None);
    d.release(1);
    assert_eq!(d.pump(), serves(2, 1));
    assert_eq!(d.pump(), None);
    d.release(0);
    assert_eq!(d.pump(), serves(3, 0));
    assert_eq!(d.queued(), (1, 1));
}

#[test]
fn those_of_a_server_and_those_of_any_stand_in_one_line() {
    let mut d = with(Kind::RoundRobin, &[(limits(Some(1)), false, up(1))], 1);
    assert_eq!(assign(&mut d, 0), Verdict::Serve(0, 0));
    ticket(assign(&mut d, 1));
    ticket(d.assign(Some(0), &Ask::default(), 2));
    ticket(assign(&mut d, 3));
    for waiter in 1..4 {
        d.release(0);
        assert_eq!(d.pump(), serves(waiter, 0));
    }
}

#[test]
fn who_leaves_a_queue_is_forgotten() {
    let mut d = with(Kind::RoundRobin, &[(limits(Some(1)), false, up(1))], 1);
    assert_eq!(assign(&mut d, 0), Verdict::Serve(0, 0));
    let first = ticket(assign(&mut d, 1));
    ticket(assign(&mut d, 2));
    assert_eq!(d.abandon(first), Some(1));
    assert_eq!(d.abandon(first), None);
    d.release(0);
    assert_eq!(d.pump(), serves(2, 0));
    assert_eq!(d.queued(), (0, 0));
}

#[test]
fn a_full_queue_is_said() {
    let bounded = Limits {
        queue: Some(1),
        ..limits(Some(1))
    };
    let mut d = with(Kind::Source, &[(bounded, false, up(1))], 1);
    let ask = Ask {
        key: Some(&[127, 0, 0, 1]),
        ..Ask::default()
    };
    assert_eq!(d.assign(None, &ask, 0), Verdict::Serve(0, 0));
    ticket(d.assign(None, &ask, 1));
    assert_eq!(d.assign(None, &ask, 2), Verdict::QueueFull(0));
    assert_eq!(d.queued(), (0, 1));
}

#[test]
fn limits_follow_the_streams_of_the_backend() {
    let dynamic = Limits {
        most: Some(10),
        least: 2,
        queue: None,
    };
    let mut d = with(Kind::RoundRobin, &[(dynamic, false, up(1))], 20);
    let mut served = 0;
    for waiter in 0..40 {
        if matches!(assign(&mut d, waiter), Verdict::Serve(..)) {
            served += 1;
        }
        while let Some(grant) = d.pump() {
            assert_eq!(grant.turn, Turn::Serve(0));
            served += 1;
        }
        let members = waiter + 1;
        // Half as many as there are streams, at least two and at most ten.
        let limit = (members / 2).clamp(2, 10);
        assert_eq!(served, limit.min(members), "{members} streams");
    }
}

#[test]
fn backups_serve_without_the_others_only() {
    let down = Takes {
        weight: 0,
        open: false,
        warm: 100,
    };
    let recruit = |backup| (limits(Some(1)), backup, up(1));
    let mut d = with(
        Kind::RoundRobin,
        &[recruit(false), recruit(true), recruit(true)],
        1,
    );
    assert_eq!(assign(&mut d, 0), Verdict::Serve(0, 0));
    ticket(assign(&mut d, 1));
    assert_eq!(d.pump(), None, "a backup helps nobody");
    assert!(d.set_takes(0, down).is_empty());
    assert_eq!(d.pump(), serves(1, 1));
    // The first backup only.
    ticket(assign(&mut d, 2));
    assert_eq!(d.pump(), None);
    assert_eq!(d.in_force().collect::<Vec<_>>(), [1]);
}

#[test]
fn nobody_waits_for_nobody() {
    let down = Takes {
        weight: 0,
        open: false,
        warm: 100,
    };
    let mut d = with(Kind::RoundRobin, &[(limits(Some(1)), false, up(1))], 1);
    assert_eq!(assign(&mut d, 0), Verdict::Serve(0, 0));
    ticket(assign(&mut d, 1));
    ticket(d.assign(Some(0), &Ask::default(), 2));
    let mut told: Vec<_> = d.set_takes(0, down).into_iter().collect();
    told.sort_by_key(|grant| grant.waiter);
    let again = |waiter| Grant {
        waiter,
        turn: Turn::Again,
    };
    assert_eq!(told, [again(1), again(2)]);
    assert_eq!(d.queued(), (0, 0));
    assert_eq!(assign(&mut d, 3), Verdict::NoServer);
    assert_eq!(d.assign(Some(0), &Ask::default(), 3), Verdict::NoServer);
}

#[test]
fn a_drained_server_serves_whoever_has_to_go_there() {
    let drained = Takes {
        weight: 0,
        open: true,
        warm: 100,
    };
    let mut d = with(Kind::RoundRobin, &[(limits(None), false, up(1)); 2], 1);
    d.set_takes(0, drained);
    for waiter in 0..4 {
        assert_eq!(assign(&mut d, waiter), Verdict::Serve(1, waiter));
    }
    assert_eq!(d.assign(Some(0), &Ask::default(), 4), Verdict::Serve(0, 4));
}

#[test]
fn another_limit_makes_room() {
    let mut d = with(Kind::RoundRobin, &[(limits(Some(1)), false, up(1))], 1);
    assert_eq!(assign(&mut d, 0), Verdict::Serve(0, 0));
    for waiter in 1..4 {
        ticket(assign(&mut d, waiter));
    }
    d.set_limit(0, Some(2));
    assert_eq!(d.pump(), serves(1, 0));
    assert_eq!(d.pump(), None);
    d.set_limit(0, None);
    assert_eq!(d.pump(), serves(2, 0));
    assert_eq!(d.pump(), serves(3, 0));
}

#[test]
fn one_of_two_limits_stands_for_both() {
    let line = |words: &str| {
        let text = format!("backend b\n  server s 127.0.0.1:1 {words}\n");
        let outcome = config::load(&[Source::new("test", text)], &Environment::default());
        let config = outcome.config.expect("the line is right");
        Limits::new(&config.backends[0].servers[0])
    };
    assert_eq!(line("maxconn 5"), limits(Some(5)));
    assert_eq!(line("minconn 5"), limits(Some(5)));
    let both = line("maxconn 9 minconn 5");
    assert_eq!((both.most, both.least), (Some(9), 5));
    assert_eq!(line("maxqueue 3").queue, Some(3));
}
